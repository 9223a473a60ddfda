"""Where options come from: command line, environment, file, their precedence; and what is said of them."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.settings_harness import HERE, TLS, SettingsCase, settings
from txetcd.settings import foreign, options
from txetcd.settings.sources import parse_arguments, parse_environment
from txetcd.settings.usage import usage_text


class ArgumentsTests(SettingsCase):
    def test_spellings(self) -> None:
        for arguments in (["-name", "x"], ["--name", "x"], ["-name=x"], ["--name=x"], ["-name=y", "-name=x"]):
            self.assertEqual(settings(*arguments).name, "x", arguments)

    def test_switches(self) -> None:
        for arguments, force in (
            (["-f"], True),
            (["-force"], True),
            (["--force=true"], True),
            (["-f=1"], True),
            (["--force=false"], False),
            (["-f", "-f=F"], False),
        ):
            self.assertEqual(settings(*arguments).force, force, arguments)

    def test_the_seed_command(self) -> None:
        made = settings("-f", "-name", "machine0", "-data-dir", "machine0", "-ca-file=./ca.crt", *TLS)
        self.assertEqual((made.name, made.force, made.data_dir), ("machine0", True, HERE / "machine0"))
        self.assertEqual(made.ca_file, HERE / "ca.crt")
        self.assertEqual(made.advertise_client_urls, ("https://127.0.0.1:4001",))

    def test_refused(self) -> None:
        for message, arguments in (
            ("--nmae: unknown option", ["--nmae", "x"]),
            ("-x: unknown option", ["-x"]),
            ("stray: is not an option", ["stray"]),
            ("-: is not an option", ["-"]),
            ("--: is not an option", ["--"]),
            ("'a\\nb': is not an option", ["a\nb"]),
            ("--name: needs a value", ["--name"]),
            ("--name: is empty", ["--name="]),
            ("--ca-file: is empty", ["--ca-file", "", *TLS]),
            ("--force maybe: must be true or false", ["--force=maybe"]),
        ):
            self.assert_refused(message, *arguments)

    def test_abbreviations_are_none(self) -> None:
        self.assert_refused("--cert: unknown option", "--cert", "x")

    def test_help_and_version(self) -> None:
        for argument in ("-h", "-help", "--help"):
            self.assertTrue(parse_arguments([argument]).get(options.HELP))
        for argument in ("-version", "--version"):
            self.assertTrue(parse_arguments([argument]).get(options.VERSION))


class EnvironmentTests(SettingsCase):
    def test_every_option_has_a_variable(self) -> None:
        for option in options.TABLE:
            variable = "ETCD_" + option.name.upper().replace("-", "_")
            given = parse_environment({variable: SAMPLES.get(option.name, "1")})
            self.assertEqual(option.name in given.values, not option.command_line_only, variable)

    def test_empty_is_unset(self) -> None:
        self.assertEqual(settings(environment={"ETCD_NAME": ""}).name, "host")

    def test_any_word_but_no_is_yes(self) -> None:
        for text, expected in (("1", True), ("yes", True), ("true", True), ("0", False), ("false", False)):
            given = parse_environment({"ETCD_CLIENT_CERT_AUTH": text})
            self.assertEqual(given.get(options.CLIENT_CERT_AUTH), expected, text)

    def test_messages_name_the_variable(self) -> None:
        self.assert_refused("ETCD_HISTORY_SIZE 0: must be", environment={"ETCD_HISTORY_SIZE": "0"})
        self.assert_refused("ETCD_DISCOVERY: ", environment={"ETCD_DISCOVERY": "http://x"})

    def test_unknown_is_ignored_with_a_warning(self) -> None:
        made = settings(environment={"ETCD_CERT_FIEL": "x", "ETCD_PORT": "tcp://10.0.0.1:2379", "HOME": "/"})
        self.assertEqual(
            made.warnings,
            (
                "ETCD_CERT_FIEL is ignored: it is no option of txetcd's",
                "ETCD_PORT is ignored: it is no option of txetcd's",
            ),
        )

    def test_force_is_for_the_command_line(self) -> None:
        # In the environment it would throw the data away at every restart.
        made = settings(environment={"ETCD_FORCE": "1", "ETCD_F": "1"})
        self.assertFalse(made.force)
        self.assertEqual(len(made.warnings), 2)


class FileTests(SettingsCase):
    def test_dashes_and_underscores(self) -> None:
        self.assertEqual(settings(file='data_dir = "/d"').data_dir, Path("/d"))
        self.assertEqual(settings(file='data-dir = "/d"').data_dir, Path("/d"))

    def test_types(self) -> None:
        made = settings(
            file='history_size = 5\nidle_timeout = 2.5\ncors = ["http://a", "http://b"]\n'
            'listen = ["tcp:1", "unix:/s"]\nmax-headers = 7'
        )
        self.assertEqual((made.history_size, made.idle_timeout, made.max_headers), (5, 2.5, 7))
        self.assertEqual(made.cors, ("http://a", "http://b"))
        self.assertEqual(made.listen, ("tcp:1", "unix:/s"))
        self.assertEqual(settings(file='cors = "http://a,http://b"').cors, ("http://a", "http://b"))
        self.assertEqual(settings(file="cors = []").cors, ())
        self.assertEqual(settings(file="idle_timeout = 2").idle_timeout, 2.0)

    def test_refused(self) -> None:
        for message, file in (
            ("etcd.toml: is not TOML", "name = "),
            ("etcd.toml: nmae: unknown key", 'nmae = "x"'),
            ("etcd.toml: peer: unknown key", '[peer]\naddr = "x"'),
            ("etcd.toml: force: unknown key", "force = true"),
            ("etcd.toml: config: unknown key", 'config = "x"'),
            ("etcd.toml: 'a\\nb': unknown key", '"a\\nb" = 1'),
            ("etcd.toml: history_size: must be a whole number", 'history_size = "5"'),
            ("etcd.toml: history_size: must be a whole number", "history_size = true"),
            ("etcd.toml: history_size -1: must be a whole number from 1", "history_size = -1"),
            ("etcd.toml: idle_timeout: must be a number", "idle_timeout = true"),
            ("etcd.toml: idle_timeout inf: must be a number of seconds", "idle_timeout = inf"),
            ("etcd.toml: name: must be a string", "name = 1"),
            ("etcd.toml: client_cert_auth: must be true or false", 'client_cert_auth = "yes"'),
            ("etcd.toml: cors: must be a string or a list of strings", "cors = [1]"),
            ("etcd.toml: ca_file: is empty", 'ca_file = ""'),
            ("etcd.toml: discovery: ", 'discovery = "http://x"'),
        ):
            self.assert_refused(message, file=file)

    def test_ignored_with_a_warning(self) -> None:
        self.assertEqual(
            settings(file="snapshot = true\nmax_result_buffer = 1024").warnings,
            (
                "etcd.toml: snapshot is ignored: it means nothing to txetcd",
                "etcd.toml: max_result_buffer is ignored: it means nothing to txetcd",
            ),
        )


class PrecedenceTests(SettingsCase):
    def test_command_line_then_environment_then_file(self) -> None:
        environment, file = {"ETCD_NAME": "e"}, 'name = "f"'
        self.assertEqual(settings("--name", "c", environment=environment, file=file).name, "c")
        self.assertEqual(settings(environment=environment, file=file).name, "e")
        self.assertEqual(settings(file=file).name, "f")

    def test_lists_replace_lists(self) -> None:
        made = settings("--listen", "tcp:1", environment={"ETCD_LISTEN": "tcp:2"}, file='listen = ["tcp:3"]')
        self.assertEqual(made.listen, ("tcp:1",))


class ForeignTests(SettingsCase):
    """etcd's other options."""

    def test_harmless_ones_are_ignored(self) -> None:
        for name in sorted(foreign.IGNORED):
            value = [] if name in foreign.SWITCHES else ["1"]
            made = settings(f"-{name}", *value, "-name", "x")
            self.assertEqual(made.name, "x")
            dashes = "-" if len(name) == 1 else "--"
            self.assertEqual(made.warnings, (f"{dashes}{name} is ignored: it means nothing to txetcd",))

    def test_others_are_refused(self) -> None:
        for name in ("peers", "peers-file", "discovery", "proxy", "peer-crl-file", "tls-max-version"):
            self.assert_refused(f"--{name}: ", f"-{name}", "x")
        self.assert_refused("--auto-tls: txetcd makes no certificates", "--auto-tls")

    def test_a_refused_one_that_asks_for_nothing(self) -> None:
        for argument in ("--proxy=off", "--auto-tls=false", "--initial-cluster=a=http://a:1"):
            self.assertEqual(len(settings(argument).warnings), 1, argument)
        self.assert_refused("names several members", "--initial-cluster=a=http://a:1,b=http://b:1")

    def test_tables_agree(self) -> None:
        for name in foreign.SWITCHES:
            self.assertTrue(foreign.is_known(name), name)
        for option in options.TABLE:
            for name in (option.name, *option.aliases):
                self.assertFalse(foreign.is_known(name), name)


class UsageTests(SynchronousTestCase):
    def test_usage(self) -> None:
        text = usage_text()
        self.assertEqual([line for line in text.splitlines() if len(line) > 80 or line != line.rstrip()], [])
        for option in options.TABLE:
            self.assertIn(f"--{option.name}", text)
        for expected in ("  -f, --force", "[default: 1572864]", "[default: 127.0.0.1:4001]", "[default: 60]"):
            self.assertIn(expected, text)
        self.assertNotIn("None", text)


# A good value for each option that would not take "1".
SAMPLES = {
    "addr": "127.0.0.1:1",
    "engine": "etcd://127.0.0.1:1",
    "bind-addr": "127.0.0.1:1",
    "listen": "tcp:1",
    "listen-client-urls": "http://127.0.0.1:1",
    "advertise-client-urls": "http://127.0.0.1:1",
    "cors": "*",
    "max-header-bytes": "2048",
    "listen-metrics-urls": "http://127.0.0.1:1",
    "tls-min-version": "TLS1.3",
    "client-cert-allowed-hostname": "a.example.org",
    "cipher-suites": "TLS_AES_128_GCM_SHA256",
    "log-format": "json",
}
