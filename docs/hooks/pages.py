"""What MkDocs is told beside mkdocs.yml: the pages from outside docs/, and where links lead on the site.

The Markdown has the links of somebody who reads it in the repository.  On the site those to README.md and its
kin lead to their pages, and those to anything else outside docs/ become their text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

CHECKOUT = Path(__file__).parent.parent.parent

# What is not in docs/, and the page that it becomes.
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}

_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(CHECKOUT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page to where the site has their targets."""
    folder = "" if page.file.src_uri in PAGES.values() else "docs"
    parts = _FENCE.split(markdown)
    # Every other part is a block of code.
    parts[::2] = [_LINK.sub(lambda match: _link(folder, *match.groups("")), part) for part in parts[::2]]
    return "".join(parts)


def _link(folder: str, text: str, target: str, anchor: str) -> str:
    path = posixpath.normpath(posixpath.join(folder, target))
    page = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    return f"[{text}]({page}{anchor})" if page else text
