"""etcdctl's commands for users, roles and authentication, against a real server and the real etcd.

The certificate that it shows is none of a user's, so without a password it is a guest.
"""

from __future__ import annotations

import shlex

from tests import test_client_etcdctl
from tests.test_client_etcdctl import ETCDCTLS, EtcdctlCase

STORY = """\
$ auth enable
auth: No root user available, please create one
status 1
$ user list
$ role list
root
$ user add root:pw
User root created
$ user add alice:a
User alice created
$ user list
alice
root
$ user get root
User: root
Roles:  root
$ role add app
Role app created
$ role add app
Role app already exists
status 1
$ role grant app -path /app/* -readwrite
Role app updated
$ role grant app -path /app/* -read
auth: Granting duplicate read permission /app/*
status 1
$ role grant app -path /log -write
Role app updated
$ role get app
Role: app
KV Read:
\t/app/*
KV Write:
\t/app/*
\t/log
$ role list
app
root
$ user grant alice -roles app
User alice updated
$ user grant alice -roles app
auth: Granting duplicate role app for user alice
status 1
$ user get alice
User: alice
Roles:  app
$ user revoke alice -roles other
auth: Revoking ungranted role other for user alice
status 1
$ user get nobody
auth: User nobody does not exist.
status 1
$ user remove nobody
auth: User nobody does not exist
status 1
$ role remove nobody
auth: Role nobody doesn't exist.
status 1
$ role remove root
auth: Cannot modify role root: is root role.
status 1
$ auth enable
Authentication Enabled
$ auth enable
Insufficient credentials
status 1
$ -u root:pw auth enable
auth: already enabled
status 1
$ set /x y
y
$ -u root:pw role get guest
Role: guest
KV Read:
\t/*
KV Write:
\t/*
$ -u root:pw role revoke guest -path /* -readwrite
Role guest updated
$ get /x
Error:  110: The request requires user authentication (Insufficient credentials) [0]
status 4
$ -u root:pw get /x
y
$ -u root:no get /x
Error:  110: The request requires user authentication (Insufficient credentials) [0]
status 4
$ -u alice:a set /app/x 1
1
$ -u alice:a get /app/x
1
$ -u alice:a set /log 1
1
$ -u alice:a get /log
Error:  110: The request requires user authentication (Insufficient credentials) [0]
status 4
$ -u alice:a rm -r /app
Error:  110: The request requires user authentication (Insufficient credentials) [0]
status 4
$ -u alice:a user list
Insufficient credentials
status 1
$ -u root:pw role revoke app -path /log -write
Role app updated
$ -u alice:a set /log 1
Error:  110: The request requires user authentication (Insufficient credentials) [0]
status 4
$ -u root:pw user remove root
auth: Cannot delete root user while auth is enabled.
status 1
$ -u root:pw user remove alice
User alice removed
$ -u alice:a set /app/x 1
Error:  110: The request requires user authentication (Insufficient credentials) [0]
status 4
$ -u root:pw role remove app
Role app removed
$ auth disable
Insufficient credentials
status 1
$ -u root:pw auth disable
Authentication Disabled
$ user remove root
User root removed
$ role remove guest
Role guest removed
"""


class AuthCase(EtcdctlCase):
    """Plays the story."""

    def assert_story(self) -> None:
        """All of the story comes true, with each etcdctl."""
        for version, program in ETCDCTLS.items():
            for step in STORY.removeprefix("$ ").split("\n$ "):
                command, _, expected = step.partition("\n")
                self.assertEqual(
                    self.etcdctl(program, *shlex.split(command)), expected.rstrip(), f"{version}: {command}"
                )


class EtcdctlAuthTests(AuthCase):
    """etcdctl and txetcd."""

    def test_story(self) -> None:
        """It comes true, and nobody finds a password in what the server says or keeps."""
        server = self.serve()
        program = next(iter(ETCDCTLS.values()))
        self.assert_story()
        self.assertEqual(
            self.etcdctl(program, "user", "add", "eve:a-very-secret-password"), "User eve created"
        )
        server.stop()
        for file in self.data_dir.iterdir():
            self.assertNotIn(b"a-very-secret", file.read_bytes())
        self.assertNotIn("a-very-secret", server.output)


class RealEtcdAuthTests(AuthCase, test_client_etcdctl.RealEtcdTests):
    """etcdctl and the real etcd: that the story is true."""
