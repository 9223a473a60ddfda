"""A CA kept in a directory: its own files, the pairs it made, and a record of all it has signed.

    ca.crt ca.key ca.crl        the CA, its private key, what it has revoked
    servers/HOST.crt .key       pairs, to be taken where they are used
    clients/NAME.crt .key
    members/HOST.crt .key
    gateways/NAME.crt .key
    issued/SERIAL.crt           every certificate that was ever signed, so that it can be revoked

There is no other state: serial numbers are random.  Every file is written beside its place and moved there.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from txetcd.ca import CAError
from txetcd.ca.certificates import Authority, Pair, kind, made_for
from txetcd.ca.names import host_file_name

CERTIFICATE, KEY, CRL = "ca.crt", "ca.key", "ca.crl"
SERVERS, CLIENTS, ISSUED = "servers", "clients", "issued"
MEMBERS, GATEWAYS = "members", "gateways"

_PUBLIC, _SECRET = 0o644, 0o600


@dataclass(frozen=True)
class Issued:
    """A pair that was written.

    @ivar replaced: the certificate that had these files before, and is as valid as it was.
    """

    certificate: x509.Certificate
    cert_file: Path
    key_file: Path
    replaced: x509.Certificate | None


@dataclass(frozen=True)
class Revoked:
    """What a revocation has done.

    @ivar new: the certificates that it has revoked.
    @ivar before: those that were asked for and had been revoked before.
    @ivar total: how many certificates are on the list.
    """

    new: list[x509.Certificate]
    before: list[x509.Certificate]
    total: int


def create(path: Path, name: str, days: int, now: datetime.datetime) -> Authority:
    """Make a CA called `name`, valid for so many days, in a directory that has none, and return it.

    Raises `CAError` when there is one already or it cannot be written, and for an unfit name.
    """
    authority = Authority.create(name, days, now)
    _make_directory(path)
    with _locked(path):
        for file in (path / KEY, path / CRL, path / CERTIFICATE):
            if os.path.lexists(file):
                raise CAError(f"{file} is there already; name another directory with --dir")
        _write(path / KEY, authority.key_pem, _SECRET)
        _write_crl(path / CRL, authority.sign_crl(None, [], now))
        # The last one: without it there is no CA.
        _write(path / CERTIFICATE, authority.certificate_pem, _PUBLIC)
    return authority


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Directory]:
    """Give the CA in a directory to one user at a time.

    Raises `CAError` when there is none, or one of its files cannot be read or does not fit the others.
    """
    if not os.path.lexists(path / CERTIFICATE):
        raise CAError(
            f"{path}: there is no CA yet; make one with txetcd-ca init, or name its directory with --dir"
        )
    with _locked(path):
        authority = Authority(_read_certificate(path / CERTIFICATE), _read_key(path / KEY))
        if authority.key.public_key() != authority.certificate.public_key():
            raise CAError(f"{path / KEY} does not fit {path / CERTIFICATE}; put back the file that was there")
        yield Directory(path, authority)


@dataclass(frozen=True)
class Directory:
    """A CA in a directory, which nobody else changes in the meantime.

    @ivar path: the directory.
    @ivar authority: the CA.
    """

    path: Path
    authority: Authority

    def issue_server(self, hosts: Sequence[str], days: int, now: datetime.datetime, force: bool) -> Issued:
        """Make a server's pair and write it; its files have the name of the first host.

        With `force` they may replace others.  Raises `CAError` when they would without, when they cannot
        be written, and for unfit hosts.
        """
        return self._issue_for_host(self.authority.issue_server(hosts, days, now), SERVERS, force)

    def issue_client(self, name: str, days: int, now: datetime.datetime, force: bool) -> Issued:
        """Make a client's pair and write it; its files have the name of the client.

        With `force` they may replace others.  Raises `CAError` when they would without, when they cannot
        be written, and for an unfit name.
        """
        return self._issue(self.authority.issue_client(name, days, now), self.path / CLIENTS, name, force)

    def issue_member(self, hosts: Sequence[str], days: int, now: datetime.datetime, force: bool) -> Issued:
        """Make the pair of an etcd cluster's member and write it, as `issue_server` does."""
        return self._issue_for_host(self.authority.issue_member(hosts, days, now), MEMBERS, force)

    def issue_gateway(self, name: str, days: int, now: datetime.datetime, force: bool) -> Issued:
        """Make the pair that a server shows to an etcd cluster and write it, as `issue_client` does."""
        return self._issue(self.authority.issue_gateway(name, days, now), self.path / GATEWAYS, name, force)

    def issued(self) -> list[x509.Certificate]:
        """All certificates that the CA has signed, the oldest first."""
        found = [_read_certificate(file) for file in sorted((self.path / ISSUED).glob("*.crt"))]
        return sorted(found, key=lambda certificate: certificate.not_valid_before_utc)

    def servers(self, now: datetime.datetime) -> list[x509.Certificate]:
        """The servers' certificates that have not expired, the newest first."""
        return [c for c in reversed(self.issued()) if kind(c) == "server" and c.not_valid_after_utc > now]

    def revoke(self, target: str, now: datetime.datetime) -> Revoked:
        """Revoke all certificates of that name, the one with that serial number, or the one in that file.

        Raises `CAError` when there is none, when a server and a client, say, have the name, and when the
        list cannot be read or written.
        """
        certificates = self._find(target)
        crl = self._read_crl()
        before: list[x509.Certificate] = []
        new: list[x509.Certificate] = []
        for certificate in certificates:
            known = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
            (new if known is None else before).append(certificate)
        if new:
            crl = self.authority.sign_crl(crl, new, now)
            _write_crl(self.path / CRL, crl)
        return Revoked(new, before, len(crl))

    def _issue_for_host(self, pair: Pair, where: str, force: bool) -> Issued:
        return self._issue(pair, self.path / where, host_file_name(made_for(pair.certificate)), force)

    def _issue(self, pair: Pair, directory: Path, stem: str, force: bool) -> Issued:
        cert_file, key_file = directory / f"{stem}.crt", directory / f"{stem}.key"
        for file in (cert_file, key_file):
            if os.path.lexists(file) and not force:
                raise CAError(f"{file} is there already; give --force to replace the certificate and its key")
        replaced = _read_certificate(cert_file) if os.path.lexists(cert_file) else None
        _make_directory(directory)
        _make_directory(self.path / ISSUED)
        # First of all the record, so that nothing is out there that cannot be revoked.
        _write(self.path / ISSUED / f"{serial(pair.certificate)}.crt", pair.certificate_pem, _PUBLIC)
        _write(key_file, pair.key_pem, _SECRET)
        _write(cert_file, pair.certificate_pem, _PUBLIC)
        return Issued(pair.certificate, cert_file, key_file, replaced)

    def _find(self, target: str) -> list[x509.Certificate]:
        issued = self.issued()
        named = [certificate for certificate in issued if made_for(certificate) == target]
        kinds = sorted(set(map(kind, named)), reverse=True)
        if len(kinds) > 1:
            numbers = ", ".join(f"{serial(c)} ({kind(c)})" for c in named)
            what = " and a ".join(kinds)
            raise CAError(f"{target!r} is a {what}; give the serial number, of {numbers}")
        if named:
            return named
        number = _parse_serial(target)
        if numbered := [certificate for certificate in issued if certificate.serial_number == number]:
            return numbered
        if not os.path.lexists(target):
            raise CAError(
                f"{target!r} is neither a name nor a serial number in {self.path / ISSUED}, nor a file; "
                "give the file of the certificate, or --dir if another CA has signed it"
            )
        certificate = _read_certificate(Path(target))
        if not self.authority.has_signed(certificate) or certificate == self.authority.certificate:
            raise CAError(f"{target}: the CA in {self.path} has not signed it; name its own CA with --dir")
        return [certificate]

    def _read_crl(self) -> x509.CertificateRevocationList:
        file = self.path / CRL
        content = _read(file)
        with contextlib.suppress(ValueError):
            crl = x509.load_pem_x509_crl(content)
            if crl.is_signature_valid(self.authority.key.public_key()):
                return crl
        # A new list would let those in again that are on the old one.
        raise CAError(f"{file} is not a list that this CA has signed; put back the one that was there")


def serial(certificate: x509.Certificate) -> str:
    """A certificate's serial number in hexadecimal digits."""
    return f"{certificate.serial_number:040x}"


def _parse_serial(text: str) -> int | None:
    """A serial number as this or other programs write it: hexadecimal, with or without colons."""
    try:
        return int(text.replace(":", ""), 16)
    except ValueError:
        return None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two that revoke at the same time would each write a list without what the other has added."""
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CAError(f"{path}: cannot be opened ({error.strerror}); run as its owner") from None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise CAError(
            f"{path}: cannot be made ({error.strerror}); name another directory with --dir"
        ) from None


def _write_crl(path: Path, crl: x509.CertificateRevocationList) -> None:
    _write(path, crl.public_bytes(Encoding.PEM), _PUBLIC)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that it is there whole, with its mode, or not at all."""
    beside = path.with_name(f".{path.name}.new")
    try:
        # What a run that was killed has left behind.
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SECRET)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        remedy = "run as the owner of the directory, or name another with --dir"
        raise CAError(f"{path}: cannot be written ({error.strerror}); {remedy}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CAError(
            f"{path}: cannot be read ({error.strerror}); run as its owner, or put it back"
        ) from None


def _read_certificate(path: Path) -> x509.Certificate:
    content = _read(path)
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise CAError(f"{path} holds no certificate in PEM form; give a file that does") from None


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    content = _read(path)
    try:
        key = load_pem_private_key(content, password=None)
    except (TypeError, ValueError):  # TypeError: it is encrypted
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CAError(f"{path} is not a key as txetcd-ca init makes it; put back the one that was there")
    return key
