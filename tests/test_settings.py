"""Options become settings: how options go together."""

from __future__ import annotations

from pathlib import Path

from tests.settings_harness import HERE, TLS, SettingsCase, settings
from txetcd.engine import Engine
from txetcd.settings import Address, Settings
from txetcd.settings.values import MAIN_LOG, shown
from txetcd.tls.policy import SUITES, Policy


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
