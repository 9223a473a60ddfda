"""What the tests of settings share: settings made of options, and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txetcd.settings import Settings, build
from txetcd.settings.sources import SettingsError, parse_arguments, parse_environment, parse_file

HERE = Path("/somewhere")
TLS = ("--cert-file", "a.crt", "--key-file", "a.key")


def settings(*arguments: str, environment: Mapping[str, str] | None = None, file: str = "") -> Settings:
    """The settings that a command line, an environment and a file make together."""
    given = parse_arguments(arguments).over(parse_environment(environment or {}))
    return build(given.over(parse_file(file, "etcd.toml")), "host", HERE)


class SettingsCase(SynchronousTestCase):
    """What the classes below have in common."""

    def assert_refused(
        self, message: str, *arguments: str, environment: Mapping[str, str] | None = None, file: str = ""
    ) -> None:
        """There are no settings, and one line says why."""
        error = self.assertRaises(
            SettingsError, settings, *arguments, environment=environment or {}, file=file
        )
        self.assertIn(message, str(error))
        self.assertTrue(str(error).isprintable() and len(str(error)) < 400, str(error))
