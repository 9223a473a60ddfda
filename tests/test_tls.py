"""txetcd.tls, its files: what a start refuses and how it says so, and the string endpoint made of them."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import MemoryReactorClock

from tests.certificates import CLIENT
from tests.tls_harness import MemoryClient, TLSCase
from txetcd.tls import TLSError, check
from txetcd.tls.endpoints import server_endpoint_description


class CheckTests(TLSCase):
    def refusal(self, cert_file: Path | None, key_file: Path | None, ca_file: Path | None = None) -> str:
        """The message of the refusal, with the paths cut down to file names."""
        error = self.assertRaises(TLSError, check, cert_file, key_file, ca_file)
        return str(error).replace(f"{self.directory}/", "")

    def test_fitting(self) -> None:
        check(None, None, None)
        check(self.cert_file, self.key_file, None)
        check(self.cert_file, self.key_file, self.ca_file)

    def test_half_a_configuration(self) -> None:
        self.assertEqual(
            self.refusal(self.cert_file, None),
            "--cert-file server.crt is of no use alone; give its private key as --key-file too",
        )
        self.assertEqual(self.refusal(self.cert_file, None, self.ca_file), self.refusal(self.cert_file, None))
        self.assertEqual(
            self.refusal(None, self.key_file),
            "--key-file server.key is of no use alone; give its certificate as --cert-file too",
        )
        self.assertEqual(
            self.refusal(None, None, self.ca_file),
            "--ca-file ca.crt is of no use alone, because clients show certificates over HTTPS only; "
            "give the server's --cert-file and --key-file too",
        )

    def test_unreadable(self) -> None:
        os.mkfifo(self.directory / "pipe")
        for name, problem in [
            ("missing", "cannot be read (No such file or directory)"),
            ("x" * 300, "cannot be read (File name too long)"),
            ("a\0b", "cannot be read (there is a NUL in its name)"),
            (".", "is not a regular file"),
            ("pipe", "is not a regular file"),
        ]:
            path = self.directory / name
            shown = str(path).replace(f"{self.directory}/", "")
            self.assertEqual(
                self.refusal(path, self.key_file),
                f"--cert-file {shown} {problem}; give the server's certificate",
            )
            self.assertEqual(
                self.refusal(self.cert_file, path),
                f"--key-file {shown} {problem}; give the private key of --cert-file server.crt",
            )
            self.assertEqual(
                self.refusal(self.cert_file, self.key_file, path),
                f"--ca-file {shown} {problem}; give the certificate of the CA that signs the clients",
            )

    def test_wrong_content(self) -> None:
        certificate, key = self.server.certificate_pem, self.server.key_pem
        cut = "is damaged: a PEM block begins and does not end; copy it anew"
        none = "holds no certificate in PEM form; give the server's certificate"
        no_key = "holds no private key in PEM form; give the private key of --cert-file server.crt"
        for content, as_certificate, as_key in [
            (b"", none, no_key),
            (b"\x30\x82 not PEM at all \xff", none, no_key),
            (key, none, None),
            (certificate, None, no_key),
            (certificate.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"), none, no_key),
            (certificate + certificate[:200], cut, cut),
            (key[:100], cut, cut),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "holds a damaged certificate; give the server's certificate",
                no_key,
            ),
            (
                b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                none,
                "holds a damaged private key; give the private key of --cert-file server.crt",
            ),
        ]:
            path = self.file("wrong", content)
            if as_certificate is not None:
                self.assertEqual(self.refusal(path, self.key_file), f"--cert-file wrong {as_certificate}")
                as_ca = as_certificate.replace(
                    "the server's certificate", "the certificate of the CA that signs the clients"
                )
                self.assertEqual(
                    self.refusal(self.cert_file, self.key_file, path), f"--ca-file wrong {as_ca}"
                )
            if as_key is not None:
                self.assertEqual(self.refusal(self.cert_file, path), f"--key-file wrong {as_key}")

    def test_encrypted_key(self) -> None:
        for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
            encrypted = self.server.key.private_bytes(
                serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret")
            )
            self.assertEqual(
                self.refusal(self.cert_file, self.file("locked.key", encrypted)),
                "--key-file locked.key is encrypted; "
                "give it without its passphrase, as 'openssl pkey -in locked.key' prints it",
            )

    def test_key_that_does_not_fit(self) -> None:
        other_cert, other_key = self.ca.issue("other").write(self.directory, "other")
        self.assertEqual(
            self.refusal(self.cert_file, other_key),
            "--key-file other.key does not fit the first certificate in --cert-file server.crt; "
            "give its own key",
        )
        swapped = self.file("swapped.crt", other_cert.read_bytes() + self.cert_file.read_bytes())
        self.refusal(swapped, self.key_file)

    def test_key_of_a_kind_that_tls_does_not_use(self) -> None:
        content = x25519.X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.assertEqual(
            self.refusal(self.cert_file, self.file("x.key", content)),
            "--key-file x.key holds a kind of key that TLS has no use for; make an EC or RSA pair",
        )

    def test_certificate_and_key_in_one_file(self) -> None:
        both = self.file("both.pem", self.server.key_pem + self.server.certificate_pem)
        check(both, both, self.ca_file)
        check(both, self.key_file, None)
        self.assertEqual(
            self.refusal(self.file("two.pem", self.ca.key_pem + self.server.certificate_pem), self.key_file),
            "--cert-file two.pem holds another private key than --key-file; leave only certificates in it",
        )

    def test_pem_with_text_around_it(self) -> None:
        """`openssl x509 -text` and `openssl ecparam -genkey` write more than the block, Windows CRLF."""
        parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        cert_file = self.file("text.crt", b"Certificate:\n  Data:\n" + self.server.certificate_pem)
        key_file = self.file("text.key", (parameters + self.server.key_pem).replace(b"\n", b"\r\n"))
        check(cert_file, key_file, self.ca_file)
        check(cert_file, key_file, None)

    def test_certificates_that_nobody_can_use(self) -> None:
        past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        expired = self.ca.issue("a", hosts=["a"], end=past).write(self.directory, "expired")
        self.assertIn("--cert-file expired.crt has expired on 2020-01-01", self.refusal(*expired))
        wrong = self.ca.issue("a", hosts=["a"], purposes=[CLIENT]).write(self.directory, "wrong")
        self.assertIn("--cert-file wrong.crt is not for servers", self.refusal(*wrong))
        self.assertIn(
            "--ca-file server.crt holds 'server', which is not a CA",
            self.refusal(self.cert_file, self.key_file, self.cert_file),
        )

    def test_too_weak_for_openssl(self) -> None:
        key = rsa.generate_private_key(65537, 1024)
        cert_file, key_file = self.ca.issue("weak", key=key).write(self.directory, "weak")
        self.assertEqual(
            self.refusal(cert_file, key_file),
            "--cert-file weak.crt is refused by OpenSSL (ee key too small); "
            "give one with a stronger key or signature, for example P-256 with SHA-256",
        )


class EndpointDescriptionTests(TLSCase):
    def listen(self, host: str, cert_file: Path, key_file: Path) -> tuple[int, str, CertificateOptions]:
        """Listen on the description in memory: the port, interface and options that Twisted made of it."""
        reactor = MemoryReactorClock()
        description = server_endpoint_description(host, 4001, cert_file, key_file)
        self.successResultOf(serverFromString(reactor, description).listen(Factory()))
        [(port, _, options, _, interface)] = reactor.sslServers
        return port, interface, options

    def test_text(self) -> None:
        self.assertEqual(
            server_endpoint_description("127.0.0.1", 4001, self.cert_file, self.key_file),
            f"ssl:4001:interface=127.0.0.1:privateKey={self.key_file}:certKey={self.cert_file}:backlog=4096",
        )

    def test_serves(self) -> None:
        port, interface, options = self.listen("127.0.0.1", self.cert_file, self.key_file)
        self.assertEqual((port, interface), (4001, "127.0.0.1"))
        client = MemoryClient(options, self.context())
        self.assertEqual(client.exchange(), b"served")
        self.assertEqual(client.tls.selected_alpn_protocol(), None)

    def test_ipv6_and_all_interfaces(self) -> None:
        self.assertEqual(self.listen("::1", self.cert_file, self.key_file)[1], "::1")
        self.assertEqual(self.listen("", self.cert_file, self.key_file)[1], "")

    def test_special_characters_in_paths(self) -> None:
        """Colons, backslashes and equals signs have a meaning in string endpoints."""
        directory = self.directory / "a:b=c\\d e"
        directory.mkdir()
        cert_file, key_file = self.server.write(directory, "x:1=\\:")
        options = self.listen("::1", cert_file, key_file)[2]
        self.assertEqual(MemoryClient(options, self.context()).exchange(), b"served")
