"""The txetcd-ca command, run in a directory of its own: what it writes, says and refuses."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import io
import os
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

import txetcd
from txetcd.ca import command, directory
from txetcd.ca.certificates import common_name, hosts

NOW = datetime.datetime.now(datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)
SERVER_AND_CLIENT = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class CommandCase(SynchronousTestCase):
    """Runs txetcd-ca in a directory of its own."""

    def setUp(self) -> None:
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(temporary.name)

    def run_command(self, *arguments: str) -> str:
        """What it says when all is well."""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
            command.main(arguments)
        return out.getvalue()

    def assert_fails(self, pattern: str, *arguments: str) -> None:
        """It ends with status 1 and one line, which tells the remedy too."""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
            error = self.assertRaises(SystemExit, command.main, arguments)
        self.assertEqual(out.getvalue(), "")
        self.assertIsInstance(error.code, str)  # which Python prints, and exits with status 1
        self.assertRegex(str(error.code), rf"\Atxetcd-ca: (?=.*; )[^\n]*{pattern}[^\n]*\Z")

    def certificate(self, path: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(Path(path).read_bytes())

    def revoked(self) -> set[int]:
        """The serial numbers on the list."""
        crl = x509.load_pem_x509_crl(Path("ca/ca.crl").read_bytes())
        self.assertTrue(crl.is_signature_valid(self.certificate("ca/ca.crt").public_key()))  # type: ignore[arg-type]
        return {entry.serial_number for entry in crl}


class CommandTests(CommandCase):
    def test_files_and_their_modes(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        self.run_command("init")
        self.run_command("server", "::1")
        self.run_command("client", "alice")
        files = {str(path): path.stat().st_mode & 0o777 for path in Path("ca").rglob("*") if path.is_file()}
        record = {str(path): 0o644 for path in Path("ca/issued").iterdir()}
        self.assertEqual(len(record), 2)
        certificates = ("ca/ca.crt", "ca/ca.crl", "ca/servers/__1.crt", "ca/clients/alice.crt")
        keys = ("ca/ca.key", "ca/servers/__1.key", "ca/clients/alice.key")
        self.assertEqual(
            files, {**record, **dict.fromkeys(certificates, 0o644), **dict.fromkeys(keys, 0o600)}
        )
        for path in (Path("ca"), *Path("ca").iterdir()):
            if path.is_dir():
                self.assertEqual(path.stat().st_mode & 0o777, 0o755)

    def test_pairs_fit(self) -> None:
        self.run_command("init")
        self.run_command("server", "localhost")
        self.run_command("client", "alice")
        for stem in ("ca", "servers/localhost", "clients/alice"):
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"ca/{stem}.crt", f"ca/{stem}.key")

    def test_names_and_days(self) -> None:
        self.run_command("init", "--dir", "a/b", "--name", "Zoë's CA", "--days", "20")
        self.run_command("server", "a", "127.0.0.1", "--dir=a/b", "--days=3")
        self.run_command("client", "bob", "--dir=a/b")
        ca = self.certificate("a/b/ca.crt")
        server, client = self.certificate("a/b/servers/a.crt"), self.certificate("a/b/clients/bob.crt")
        self.assertEqual([common_name(c) for c in (ca, server, client)], ["Zoë's CA", "a", "bob"])
        self.assertEqual(hosts(server), ["a", "127.0.0.1"])
        days = [(c.not_valid_after_utc - c.not_valid_before_utc + HOUR).days for c in (ca, server)]
        self.assertEqual(days, [20, 3])
        self.assertEqual(client.not_valid_after_utc, ca.not_valid_after_utc)

    def test_it_says_which_command_comes_next(self) -> None:
        for where, more in (("ca", ""), ("my ca", " --dir 'my ca'")):
            directory_option = ("--dir", where)
            said = self.run_command("init", *directory_option)
            self.assertIn(f"\n  txetcd-ca server{more} localhost 127.0.0.1 ::1\n", said)
            said = self.run_command("server", *directory_option, "localhost", "127.0.0.1", "::1")
            self.assertIn(f"\n  txetcd-ca client{more} client1\n", said)

    def test_engine(self) -> None:
        """A member is server and client, and neither it nor a gateway has a common name."""
        self.run_command("init", "--dir=engine-ca")
        member = self.run_command("member", "--dir=engine-ca", "10.0.0.7", "a.lan", "--days=3")
        gateway = self.run_command("gateway", "--dir=engine-ca", "gateway1")
        ca = self.certificate("engine-ca/ca.crt")
        for said, stem, both in (
            (member, "engine-ca/members/10.0.0.7", True),
            (gateway, "engine-ca/gateways/gateway1", False),
        ):
            self.assertTrue(said.startswith(f"{stem}.crt: the "), said)
            certificate = self.certificate(f"{stem}.crt")
            certificate.verify_directly_issued_by(ca)
            self.assertEqual(certificate.subject.rfc4514_string(), f"O={Path(stem).name}")
            purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            self.assertEqual(set(purposes), {*SERVER_AND_CLIENT[not both :]})
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"{stem}.crt", f"{stem}.key")
            self.assertEqual(Path(f"{stem}.key").stat().st_mode & 0o777, 0o600)
        self.assertEqual(hosts(self.certificate("engine-ca/members/10.0.0.7.crt")), ["10.0.0.7", "a.lan"])
        self.assertIn("\n  txetcd-ca gateway --dir engine-ca gateway1\n", member)

    def test_options_of_the_engine(self) -> None:
        """A member's for etcd, clients and peers alike; a gateway's for the server."""
        self.run_command("init")
        said = self.run_command("member", "::1")
        (line,) = (line.split() for line in said.splitlines() if line.startswith("  etcd "))
        pair = ["--cert-file", "ca/members/__1.crt", "--key-file", "ca/members/__1.key"]
        clients = ["--client-cert-auth", "--trusted-ca-file", "ca/ca.crt", *pair]
        peers = [word.replace("--", "--peer-") for word in clients]
        crls = ["--client-crl-file", "ca/ca.crl", "--peer-crl-file", "ca/ca.crl"]
        self.assertEqual(line, ["etcd", *clients, *crls[:2], *peers, *crls[2:]])
        said = self.run_command("gateway", "g")
        self.assertIn(
            "\n  --peer-ca-file ca/ca.crt"
            " --peer-cert-file ca/gateways/g.crt --peer-key-file ca/gateways/g.key\n",
            said,
        )

    def test_a_member_is_not_whom_clients_ask(self) -> None:
        self.run_command("init")
        self.run_command("member", "a.lan")
        self.assertIn("https://HOST:4001/", self.run_command("client", "a"))

    def test_where_the_server_listens(self) -> None:
        self.run_command("init")
        self.assertIn("https://HOST:4001/", self.run_command("client", "early"))
        for number, (host, addresses, url) in enumerate(
            (
                ("localhost", "--addr localhost:4001 --bind-addr 127.0.0.1:4001", "https://localhost:4001"),
                ("127.0.0.1", "--addr 127.0.0.1:4001", "https://127.0.0.1:4001"),
                ("::1", "--addr '[::1]:4001'", "'https://[::1]:4001"),
                ("a.lan", "--addr a.lan:4001 --bind-addr 0.0.0.0:4001", "https://a.lan:4001"),
                ("10.0.0.5", "--addr 10.0.0.5:4001 --bind-addr 0.0.0.0:4001", "https://10.0.0.5:4001"),
                (
                    "2001:db8::5",
                    "--addr '[2001:db8::5]:4001' --bind-addr '[::]:4001'",
                    "'https://[2001:db8::5]:",
                ),
                ("*.b.lan", "--addr HOST.b.lan:4001 --bind-addr 0.0.0.0:4001", "https://HOST.b.lan:4001"),
            )
        ):
            now = NOW + number * HOUR  # the client is told of the newest server
            server = command.run(["server", host], now)
            self.assertTrue(
                any(f"txetcd {addresses} --ca-file ca/ca.crt " in line for line in server), server
            )
            client = command.run(["client", f"client{number}"], now)
            self.assertTrue(any(f" {url}" in line for line in client), client)

    def test_never_overwrites(self) -> None:
        self.run_command("init")
        self.assert_fails("ca/ca.key is there already", "init")
        for kind in "server", "client", "member", "gateway":
            arguments, stem = (kind, "a"), f"ca/{kind}s/a"
            self.run_command(*arguments)
            before = self.certificate(f"{stem}.crt")
            self.assert_fails(f"{stem}.crt is there already", *arguments)
            self.assertEqual(self.certificate(f"{stem}.crt"), before)
            said = self.run_command(*arguments, "--force")
            self.assertNotEqual(self.certificate(f"{stem}.crt"), before)
            self.assertIn(f"\n  txetcd-ca revoke {directory.serial(before)}\n", said)
            Path(f"{stem}.crt").unlink()
            self.assert_fails(f"{stem}.key is there already", *arguments)
        self.assertEqual(len(list(Path("ca/issued").iterdir())), 8)

    def test_a_failed_write_leaves_what_was_there(self) -> None:
        self.run_command("init")
        self.run_command("client", "a")
        before = Path("ca/clients/a.key").read_bytes()
        Path("ca/clients/.a.key.new").mkdir()
        self.assert_fails("ca/clients/a.key: cannot be written", "client", "a", "--force")
        self.assertEqual(Path("ca/clients/a.key").read_bytes(), before)

    def test_what_a_killed_run_has_left_behind(self) -> None:
        Path("ca").mkdir()
        Path("ca/.ca.key.new").write_text("half")
        self.run_command("init")
        self.assertEqual(list(Path("ca").glob(".*")), [])

    def test_one_at_a_time(self) -> None:
        self.run_command("init")
        descriptor = os.open("ca", os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        with directory.opened(Path("ca")):
            self.assertRaises(BlockingIOError, fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_help_and_version(self) -> None:
        for arguments, words in (
            (["--help"], ["init", "server", "client", "member", "gateway", "revoke"]),
            (["server", "--help"], ["--force", "--days", "--dir", "(default: 825 days)"]),
            (["init", "--help"], ["--name", "(default: txetcd CA)", "(default: 3650 days)"]),
            (["--version"], [f"txetcd-ca {txetcd.__version__}\n"]),
        ):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                error = self.assertRaises(SystemExit, command.main, arguments)
            self.assertEqual(error.code, 0)
            for word in words:
                self.assertIn(word, out.getvalue())


class RevokeTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.run_command("init")

    def make(self, *arguments: str) -> int:
        """Make a certificate; its serial number."""
        known = set(Path("ca").glob("issued/*"))
        self.run_command(*arguments)
        (new,) = set(Path("ca").glob("issued/*")) - known
        return self.certificate(str(new)).serial_number

    def test_by_name(self) -> None:
        first, second = self.make("client", "a"), self.make("client", "a", "--force")
        other = self.make("client", "b")
        said = self.run_command("revoke", "a")
        self.assertEqual(self.revoked(), {first, second})
        for serial in (first, second):
            self.assertRegex(said, rf"(?m)^a, serial number {serial:040x}, valid until [\d-]+: revoked$")
        self.assertIn("\nca/ca.crl: the list of revoked certificates, 2 by now\n", said)
        self.assertTrue(said.endswith("\n  --client-crl-file ca/ca.crl\n"))
        self.run_command("revoke", "b")
        self.assertEqual(self.revoked(), {first, second, other})

    def test_again(self) -> None:
        serial = self.make("client", "a")
        self.run_command("revoke", "a")
        before = Path("ca/ca.crl").read_bytes()
        said = self.run_command("revoke", "a")
        self.assertIn(f"{serial:040x}", said)
        self.assertIn(": had been revoked before\n", said)
        self.assertEqual(Path("ca/ca.crl").read_bytes(), before)

    def test_by_serial_number(self) -> None:
        first, _ = self.make("client", "a"), self.make("client", "a", "--force")
        by_colons = self.make("client", "b")
        self.run_command("revoke", f"{first:X}")
        self.assertEqual(self.revoked(), {first})
        self.run_command("revoke", by_colons.to_bytes(20, "big").hex(":"))
        self.assertEqual(self.revoked(), {first, by_colons})

    def test_by_file(self) -> None:
        # Without a record of it, which somebody has cleared away.
        serial = self.make("client", "a")
        for path in Path("ca/issued").iterdir():
            path.unlink()
        Path("ca/clients/a.crt").rename("copy")
        self.run_command("revoke", "./copy")
        self.assertEqual(self.revoked(), {serial})

    def test_server_by_name(self) -> None:
        serial = self.make("server", "a", "localhost")
        self.make("server", "localhost")
        self.run_command("revoke", "a")
        self.assertEqual(self.revoked(), {serial})

    def test_server_and_client_of_one_name(self) -> None:
        server, client = self.make("server", "a"), self.make("client", "a")
        self.assert_fails(rf"a server and a client; .*{server:040x} \(server\)", "revoke", "a")
        self.assertEqual(self.revoked(), set())
        self.run_command("revoke", f"{client:x}")
        self.assertEqual(self.revoked(), {client})

    def test_members_and_gateways(self) -> None:
        """By the names that they were made for, as the others."""
        member, gateway = self.make("member", "a", "b"), self.make("gateway", "a")
        self.assert_fails(rf"a member and a gateway; .*{gateway:040x} \(gateway\)", "revoke", "a")
        self.make("client", "a")
        self.assert_fails(r"a member and a gateway and a client; ", "revoke", "a")
        self.run_command("revoke", f"{member:x}")
        other = self.make("gateway", "c")
        self.assertRegex(self.run_command("revoke", "c"), r"\Ac, serial number ")
        self.assertEqual(self.revoked(), {member, other})

    def test_what_cannot_be_revoked(self) -> None:
        self.run_command("init", "--dir=other")
        self.run_command("client", "b", "--dir=other")
        self.make("client", "a")
        self.assert_fails("neither a name nor a serial number", "revoke", "b")
        self.assert_fails("neither a name nor a serial number", "revoke", "12ab")
        self.assert_fails("the CA in ca has not signed it", "revoke", "other/clients/b.crt")
        self.assert_fails("the CA in ca has not signed it", "revoke", "ca/ca.crt")
        self.assert_fails("holds no certificate in PEM form", "revoke", "ca/clients/a.key")
        self.assert_fails("cannot be read", "revoke", "ca")
        self.assertEqual(self.revoked(), set())

    def test_a_list_that_is_not_ours_is_not_replaced(self) -> None:
        self.make("client", "a")
        self.run_command("init", "--dir=other")
        for content in (Path("other/ca.crl").read_bytes(), b"", b"garbage"):
            Path("ca/ca.crl").write_bytes(content)
            self.assert_fails("ca/ca.crl is not a list that this CA has signed", "revoke", "a")
            self.assertEqual(Path("ca/ca.crl").read_bytes(), content)
        Path("ca/ca.crl").unlink()
        self.assert_fails("ca/ca.crl: cannot be read", "revoke", "a")
        self.assertFalse(Path("ca/ca.crl").exists())


class MisuseTests(CommandCase):
    def test_arguments(self) -> None:
        for pattern, *arguments in (
            ("required: COMMAND", *()),
            ("invalid choice: 'make'", "make"),
            ("required: NAME", "client"),
            ("required: HOST", "server"),
            ("required: HOST", "member"),
            ("required: NAME", "gateway"),
            ("unrecognized arguments: b", "client", "a", "b"),
            ("unrecognized arguments: --forc", "client", "a", "--forc"),
            ("'0' is not a number of days from 1 to 36500", "client", "a", "--days", "0"),
            ("'1.5' is not a number of days", "client", "a", "--days", "1.5"),
            ("'99999' is not a number of days", "init", "--days", "99999"),
            ("'' does not fit into a certificate", "init", "--name", ""),
        ):
            self.assert_fails(pattern, *arguments)
        self.assertEqual(os.listdir(), [])

    def test_no_ca_yet(self) -> None:
        for arguments in (("server", "a"), ("client", "a"), ("revoke", "a")):
            self.assert_fails("ca: there is no CA yet; make one with txetcd-ca init", *arguments)
        self.assertEqual(os.listdir(), [])

    def test_unfit_names(self) -> None:
        self.run_command("init")
        self.assert_fails("'https://a' is neither a host name nor an IP address", "server", "b", "https://a")
        self.assert_fails("'../a' does not fit into the name of a file", "client", "../a")
        self.assert_fails("'a:1' is neither a host name nor an IP address", "member", "a:1")
        self.assert_fails("'../a' does not fit into the name of a file", "gateway", "../a")
        self.assertEqual(sorted(os.listdir("ca")), ["ca.crl", "ca.crt", "ca.key"])

    def test_directory_that_cannot_be_made(self) -> None:
        Path("file").touch()
        for where in ("file", "file/ca"):
            self.assert_fails(f"{where}: cannot be made", "init", "--dir", where)

    def test_damaged_ca(self) -> None:
        self.run_command("init")
        self.run_command("init", "--dir=other")
        key, other = Path("ca/ca.key"), Path("other/ca.key").read_bytes()
        for content, pattern in (
            (other, "ca/ca.key does not fit ca/ca.crt"),
            (b"", "ca/ca.key is not a key as"),
            (other.replace(b"PRIVATE", b"ENCRYPTED PRIVATE"), "ca/ca.key is not a key as"),
        ):
            key.write_bytes(content)
            self.assert_fails(pattern, "client", "a")
        key.unlink()
        self.assert_fails(r"ca/ca.key: cannot be read \(No such file or directory\)", "client", "a")
        key.mkdir()
        self.assert_fails("ca/ca.key: cannot be read", "client", "a")
        Path("ca/ca.crt").write_text("garbage")
        self.assert_fails("ca/ca.crt holds no certificate", "client", "a")
        self.assertFalse(Path("ca/clients").exists())

    def test_key_of_somebody_else(self) -> None:
        self.run_command("init")
        if os.geteuid() == 0:
            # Root may read everything: the error is that of an ordinary user.
            self.patch(Path, "read_bytes", _denied)
        else:
            Path("ca/ca.key").chmod(0)
        self.assert_fails(r": cannot be read \(Permission denied\); run as its owner", "client", "a")


def _denied(path: Path) -> bytes:
    raise PermissionError(13, "Permission denied", str(path))
