"""Options become settings: each source, their precedence, each value, and how options go together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txetcd.engine import Engine
from txetcd.settings import Address, Settings, build, foreign, options
from txetcd.settings.options import SettingsError, parse_arguments, parse_environment, parse_file
from txetcd.settings.values import MAIN_LOG, shown
from txetcd.tls.policy import SUITES, Policy

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


class DefaultsTests(SettingsCase):
    def test_defaults(self) -> None:
        self.assertEqual(
            settings(),
            Settings(
                name="host",
                data_dir=HERE / "host.etcd",
                engine=None,
                engine_timeout=5.0,
                engine_user_file=None,
                force=False,
                bind=(Address("127.0.0.1", 4001, False),),
                listen=(),
                metrics=(),
                advertise_client_urls=("http://127.0.0.1:4001",),
                cert_file=None,
                key_file=None,
                ca_file=None,
                crl_file=None,
                close_revoked=False,
                policy=Policy(),
                handshake_timeout=10.0,
                cors=(),
                dashboard=True,
                max_request_bytes=1_572_864,
                max_header_bytes=65_536,
                max_headers=100,
                max_connections=10_000,
                max_connections_per_address=5_000,
                idle_timeout=60.0,
                history_size=1000,
                access_log=None,
                audit_log=None,
                log_format="text",
                warnings=(),
            ),
        )

    def test_paths_start_from_the_directory(self) -> None:
        made = settings("--data-dir", "d", "--ca-file=/ca", *TLS)
        self.assertEqual((made.data_dir, made.ca_file), (HERE / "d", Path("/ca")))
        self.assertEqual((made.cert_file, made.key_file), (HERE / "a.crt", HERE / "a.key"))

    def test_data_dir_is_named_after_the_server(self) -> None:
        self.assertEqual(settings("--name", "machine0").data_dir, HERE / "machine0.etcd")


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


class ValuesTests(SettingsCase):
    def test_numbers(self) -> None:
        for option, low, high in (
            ("history-size", 1, 10_000_000),
            ("max-connections", 0, 1_000_000),
            ("max-connections-per-address", 0, 1_000_000),
            ("max-headers", 1, 10_000),
            ("max-header-bytes", 1024, 1 << 24),
            ("max-request-bytes", 1, 1 << 30),
        ):
            for good in (low, high):
                made = settings(f"--{option}", str(good))
                self.assertEqual(getattr(made, option.replace("-", "_")), good)
            for bad in (str(low - 1), str(high + 1), "+5", "1_0", "\u0667", " 5", "5\n", "0x5", "9" * 5000):
                self.assert_refused(f"must be a whole number from {low} to {high}", f"--{option}={bad}")

    def test_seconds(self) -> None:
        self.assertEqual(settings("--idle-timeout=1.5").idle_timeout, 1.5)
        for bad in ("0", "0.9", "86401", "nan", "inf", "1e3", "-1", "1.", ".5", "5s"):
            self.assert_refused("must be a number of seconds from 1 to 86400", f"--idle-timeout={bad}")

    def test_addr(self) -> None:
        for text, host in (("[::1]:5", "::1"), ("[0:0::1]:5", "::1"), ("127.0.0.1:5", "127.0.0.1")):
            self.assertEqual(settings("--addr", text).bind, (Address(host, 5, False),), text)
        self.assertEqual(settings("--addr", "[::1]:5").advertise_client_urls, ("http://[::1]:5",))

    def test_addr_refused(self) -> None:
        for message, text in (
            ("must be host:port", "127.0.0.1"),
            ("must be host:port", ":4001"),
            ("must be host:port", "127.0.0.1:0"),
            ("must be host:port", "127.0.0.1:http"),
            ("must be host:port", "http://127.0.0.1:4001"),
            ("must have a port of 65535 at most", "127.0.0.1:65536"),
            ("no IP address in it: 127.0.0.256", "127.0.0.256:4001"),
            ("no host name or IP address in it: a b", "a b:4001"),
            ("in brackets", "::1:4001"),
            ("no IPv6 address between the brackets", "[127.0.0.1]:4001"),
        ):
            self.assert_refused(message, "--addr", text)

    def test_bind_addr(self) -> None:
        for text, host, port in (
            ("0.0.0.0:5", "0.0.0.0", 5),
            ("0.0.0.0", "0.0.0.0", 4001),
            ("[::]", "::", 4001),
            ("localhost:0", "127.0.0.1", 0),
        ):
            self.assertEqual(settings("--bind-addr", text).bind, (Address(host, port, False),), text)
        self.assertEqual(settings("-addr=a.example:7", "-bind-addr=[::]").bind, (Address("::", 7, False),))

    def test_bind_addr_refused(self) -> None:
        self.assert_refused("write 0.0.0.0:4005, or [::]:4005, to listen on all", "--bind-addr", ":4005")
        self.assert_refused("must have an IP address", "--bind-addr", "example.com:4001")

    def test_client_urls(self) -> None:
        made = settings("--advertise-client-urls", "http://a:1, https://[::1]:2/")
        self.assertEqual(made.advertise_client_urls, ("http://a:1", "https://[::1]:2"))
        for bad in (
            "a:1",
            "ftp://a:1",
            "http://a",
            "http://:1",
            "http://a:1/p",
            "http://u@a:1",
            "http://a:1,",
        ):
            self.assert_refused("--advertise-client-urls", "--advertise-client-urls", bad)

    def test_cors(self) -> None:
        self.assertEqual(settings("--cors", "*").cors, ("*",))
        self.assertEqual(settings("--cors", "http://a, https://b:1").cors, ("http://a", "https://b:1"))
        for bad in ("a.example", "http://a/", "http://a,", ""):
            self.assert_refused("--cors", f"--cors={bad}")

    def test_name(self) -> None:
        for bad in ("a/b", "..", "a b", "a\nb", "a\0b"):
            self.assert_refused("must be a name without spaces and slashes", f"--name={bad}")

    def test_listen(self) -> None:
        self.assertEqual(settings("--listen", "tcp:1", "--listen", "tcp:2").listen, ("tcp:1", "tcp:2"))
        self.assert_refused("must be a Twisted endpoint string", "--listen", "127.0.0.1")

    def test_path(self) -> None:
        self.assert_refused("must be a path", "--data-dir=a\0b")


class AddressesTests(SettingsCase):
    """Where to listen, and what clients are told."""

    def test_listen_replaces_addr(self) -> None:
        made = settings("--listen", "unix:/s", "--addr", "a.example:80")
        self.assertEqual((made.bind, made.listen), ((), ("unix:/s",)))
        self.assertEqual(made.advertise_client_urls, ("http://a.example:80",))
        made = settings("--listen", "unix:/s", "--bind-addr", "127.0.0.1")
        self.assertEqual(made.bind, (Address("127.0.0.1", 4001, False),))

    def test_listen_client_urls(self) -> None:
        made = settings("--listen-client-urls", "https://0.0.0.0:2379,http://localhost:4001", *TLS)
        self.assertEqual(made.bind, (Address("0.0.0.0", 2379, True), Address("127.0.0.1", 4001, False)))
        self.assertEqual(made.advertise_client_urls, ("https://127.0.0.1:2379", "http://127.0.0.1:4001"))

    def test_listen_client_urls_refused(self) -> None:
        for message, arguments in (
            ("https:// needs a certificate", ["https://127.0.0.1:1"]),
            ("must have an IP address", ["http://example.com:1"]),
            ("--listen unix:", ["unix:///run/etcd.sock"]),
            ("say the same; give one of them", ["http://127.0.0.1:1", "--bind-addr", "127.0.0.1:1"]),
        ):
            self.assert_refused(message, "--listen-client-urls", *arguments)

    def test_addr_of_a_name_needs_an_address_to_listen_on(self) -> None:
        self.assert_refused("--addr a.example:80: is a name", "--addr", "a.example:80")

    def test_advertised(self) -> None:
        for arguments, expected in (
            (["-bind-addr=127.0.0.1:7"], "http://127.0.0.1:7"),
            (["-bind-addr=0.0.0.0", "-addr=a.example:7"], "http://a.example:7"),
            (["-addr=[::1]:7", *TLS], "https://[::1]:7"),
            (["-advertise-client-urls=https://lb:7", "-addr=127.0.0.1:7"], "https://lb:7"),
            (["-listen=ssl:7"], "https://127.0.0.1:4001"),
        ):
            self.assertEqual(settings(*arguments).advertise_client_urls, (expected,), arguments)

    def test_clients_elsewhere_are_thought_of(self) -> None:
        for all_of_them, one in (("0.0.0.0", "127.0.0.1"), ("[::]", "::1")):
            (warning,) = settings("--bind-addr", all_of_them).warnings
            self.assertIn(f"clients are told to use {one}", warning)
            self.assertEqual(settings("--bind-addr", all_of_them, "--addr", "a:1").warnings, ())


class TLSTests(SettingsCase):
    def test_a_certificate_makes_it_https(self) -> None:
        self.assertEqual(settings(*TLS).bind, (Address("127.0.0.1", 4001, True),))

    def test_trusted_ca_file(self) -> None:
        self.assertEqual(settings("--trusted-ca-file", "ca", *TLS).ca_file, HERE / "ca")
        self.assertEqual(settings("--trusted-ca-file=ca", "--ca-file=ca", *TLS).ca_file, HERE / "ca")
        self.assert_refused(
            "--ca-file and --trusted-ca-file: are the same option", "--trusted-ca-file=a", "--ca-file=b", *TLS
        )

    def test_client_cert_auth(self) -> None:
        self.assertEqual(settings("--client-cert-auth", "--ca-file=ca", *TLS).ca_file, HERE / "ca")
        self.assert_refused("--client-cert-auth: needs the CA", "--client-cert-auth", *TLS)
        self.assert_refused("leave one out", "--client-cert-auth=false", "--ca-file=ca", *TLS)

    def test_a_certificate_that_serves_nobody(self) -> None:
        for where in (["--listen-client-urls", "http://127.0.0.1:1"], ["--listen", "tcp:1"]):
            self.assert_refused("--cert-file: would serve nobody", *where, *TLS)

    def test_what_is_not_guarded_is_said(self) -> None:
        made = settings(
            "--ca-file=ca",
            "--listen-client-urls=https://127.0.0.1:1,http://127.0.0.1:2",
            "--listen=ssl:3",
            "--listen=mtls:4",
            *TLS,
        )
        self.assertEqual(
            made.warnings,
            (
                "127.0.0.1:2 speaks plain HTTP and asks no client for a certificate",
                "ssl:3 asks no client for a certificate",
            ),
        )

    def test_revoked_certificates(self) -> None:
        made = settings("--client-crl-file=crl", "--close-revoked", "--ca-file=ca", *TLS)
        self.assertEqual((made.crl_file, made.close_revoked), (HERE / "crl", True))
        self.assert_refused("--close-revoked: needs what is revoked", "--close-revoked", "--ca-file=ca", *TLS)

    def test_names_of_clients(self) -> None:
        made = settings(
            "--client-cert-allowed-cn=alice, bob",
            "--client-cert-allowed-hostname=a.example.org,192.0.2.1,::1",
            "--ca-file=ca",
            *TLS,
        )
        self.assertEqual(made.policy.common_names, ("alice", "bob"))
        self.assertEqual(made.policy.host_names, ("a.example.org", "192.0.2.1", "::1"))
        for name in ("client-cert-allowed-cn", "client-cert-allowed-hostname"):
            self.assert_refused(f"--{name}: needs the CA", f"--{name}=a", *TLS)
            self.assert_refused(f"--{name} a,: must be a list", f"--{name}=a,", "--ca-file=ca", *TLS)
        for host in ("a:1", "a/b", "[::1]:1", "300.1.1.1"):
            self.assert_refused(
                "must be host names or IP addresses", f"--client-cert-allowed-hostname={host}"
            )

    def test_versions(self) -> None:
        self.assertEqual(settings("--tls-min-version=TLS1.3", *TLS).policy.minimum, "TLS1.3")
        for text in ("TLS1.1", "1.2", "tls1.2"):
            self.assert_refused("must be TLS1.2 or TLS1.3", f"--tls-min-version={text}", *TLS)

    def test_cipher_suites(self) -> None:
        """By the names of IANA, Go and OpenSSL."""
        made = settings(
            "--cipher-suites",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305,"
            "ECDHE-ECDSA-AES256-GCM-SHA384,TLS_AES_128_GCM_SHA256",
            *TLS,
        )
        self.assertEqual(
            [suite.name for suite in made.policy.suites],
            [
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-RSA-CHACHA20-POLY1305",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "TLS_AES_128_GCM_SHA256",
            ],
        )
        self.assertEqual(len(made.policy.offered("TLS1.2")), 3)
        only_old = settings("--cipher-suites=ECDHE-RSA-AES128-GCM-SHA256", *TLS).policy
        self.assertEqual(len(only_old.offered("TLS1.3")), 3)
        self.assertEqual(len(SUITES), 9)
        for text in ("ALL", "TLS_RSA_WITH_AES_128_CBC_SHA", "DHE-RSA-AES128-GCM-SHA256", "ALL@SECLEVEL=0"):
            self.assert_refused(f"{text} is none", f"--cipher-suites={text}", *TLS)

    def test_handshake_timeout(self) -> None:
        self.assertEqual(settings("--tls-handshake-timeout=2.5").handshake_timeout, 2.5)
        self.assert_refused("from 0.1 to 3600", "--tls-handshake-timeout=0")

    def test_metrics_urls(self) -> None:
        made = settings("--listen-metrics-urls=http://0.0.0.0:2381,https://[::1]:2382", *TLS)
        self.assertEqual(made.metrics, (Address("0.0.0.0", 2381, False), Address("::1", 2382, True)))
        self.assertEqual(made.bind, (Address("127.0.0.1", 4001, True),))
        self.assertEqual(made.advertise_client_urls, ("https://127.0.0.1:4001",))
        self.assert_refused("https:// needs a certificate", "--listen-metrics-urls=https://127.0.0.1:1")
        self.assert_refused("choose another port", "--listen-metrics-urls=http://127.0.0.1:4001")

    def test_logs(self) -> None:
        made = settings("--access-log=-", "--audit-log=audit.log", "--log-format=json")
        self.assertEqual((made.access_log, made.audit_log), (MAIN_LOG, HERE / "audit.log"))
        self.assertEqual(made.log_format, "json")
        self.assertEqual(settings("--data-dir=-").data_dir, HERE / "-")
        self.assert_refused("--log-format console: must be text or json", "--log-format=console")


class EngineTests(SettingsCase):
    """An etcd v3 cluster in place of a data directory."""

    def engine(self, *arguments: str) -> Engine:
        engine = settings(*arguments).engine
        assert engine is not None
        return engine

    def test_urls(self) -> None:
        for url, endpoints, prefix in (
            ("etcd://a", ["http://a:2379"], "/txetcd"),
            ("etcd://a/", ["http://a:2379"], "/txetcd"),
            ("etcd://a:1,b:2/x", ["http://a:1", "http://b:2"], "/x"),
            ("etcd://10.0.0.1,[::1]:2/x/y/", ["http://10.0.0.1:2379", "http://[::1]:2"], "/x/y"),
            ("etcd+https://a:1,b", ["https://a:1", "https://b:2379"], "/txetcd"),
        ):
            engine = self.engine("--engine", url)
            self.assertEqual((list(engine.endpoints), engine.prefix), (endpoints, prefix), url)
            self.assertEqual(engine.tls, url.startswith("etcd+https"), url)

    def test_urls_refused(self) -> None:
        for message, url in (
            ("write etcd://HOST:PORT", "10.0.0.1:2379"),
            ("write etcd://HOST:PORT", "http://10.0.0.1:2379"),
            ("write etcd://HOST:PORT", "etcd:10.0.0.1"),
            ("write HOST:PORT", "etcd://"),
            ("write HOST:PORT", "etcd://a,,b"),
            ("write HOST:PORT", "etcd://a:"),
            ("write HOST:PORT", "etcd://a:x"),
            ("write HOST:PORT", "etcd://a:65536"),
            ("write HOST:PORT", "etcd://::1:2379"),
            ("write HOST:PORT", "etcd://a b"),
            ("is no prefix", "etcd://a//x"),
            ("is no prefix", "etcd://a/x?y"),
            ("is no prefix", "etcd://a/x#y"),
            ("is no prefix", "etcd://a/x\ty"),
        ):
            self.assert_refused(f"--engine {shown(url)}: ", "--engine", url)
            self.assert_refused(message, "--engine", url)

    def test_no_password_on_the_command_line(self) -> None:
        for url in ("etcd://root:secret@a", "etcd+https://root@a/x"):
            self.assert_refused("leave user and password out of the URL", "--engine", url)

    def test_files(self) -> None:
        files = ["--peer-cert-file=a.crt", "--peer-key-file=/a.key", "--peer-trusted-ca-file=ca.crt"]
        engine = self.engine("--engine=etcd+https://a", *files)
        self.assertEqual((engine.cert_file, engine.key_file), (HERE / "a.crt", Path("/a.key")))
        self.assertEqual(engine.ca_file, HERE / "ca.crt")
        for file in files:
            name = file.partition("=")[0]
            self.assert_refused(f"{name}: is for an engine; give --engine", file)
            self.assert_refused(
                f"{name}: --engine has no TLS; write etcd+https://", "--engine=etcd://a", file
            )

    def test_user_file(self) -> None:
        made = settings("--engine=etcd://a", "--engine-user-file=user")
        self.assertEqual(made.engine_user_file, HERE / "user")
        self.assert_refused("--engine-user-file: is for an engine; give --engine", "--engine-user-file=user")

    def test_timeout(self) -> None:
        self.assertEqual(settings("--engine-timeout=0.5").engine_timeout, 0.5)
        self.assert_refused("from 0.1 to 3600", "--engine-timeout=0")

    def test_one_place_for_everything(self) -> None:
        for arguments in (["--data-dir=d"], ["-f"], ["--force", "--data-dir=d"]):
            self.assert_refused("everything is in --engine", "--engine=etcd://a", *arguments)
        self.assert_refused(
            "ETCD_DATA_DIR: everything is in etcd.toml: engine",
            environment={"ETCD_DATA_DIR": "/d"},
            file='engine = "etcd://a"',
        )


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
        text = options.usage()
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
