"""The v2 error table: what a refused request is told.

Every refusal of the key space is an `EtcdError`: a code, its fixed message, an HTTP status and a cause that
says what stood in the way.  Refusals that have to do with users and roles are an `AuthError`, without a code.
Nothing here knows how a refusal comes about.
"""

from __future__ import annotations

from txetcd.jsontext import quote

KEY_NOT_FOUND = 100
COMPARE_FAILED = 101
NOT_A_FILE = 102
NOT_A_DIRECTORY = 104
KEY_EXISTS = 105
ROOT_READ_ONLY = 107
DIRECTORY_NOT_EMPTY = 108
UNAUTHORIZED = 110
PREV_VALUE_REQUIRED = 201
TTL_NOT_A_NUMBER = 202
INDEX_NOT_A_NUMBER = 203
INVALID_FIELD = 209
INVALID_FORM = 210
REFRESH_VALUE = 211
REFRESH_TTL_REQUIRED = 212
RAFT_INTERNAL = 300
WATCHER_CLEARED = 400
EVENT_INDEX_CLEARED = 401

# etcd's own texts and statuses (its error/error.go); a code without a status of its own is a 400.
MESSAGES = {
    KEY_NOT_FOUND: "Key not found",
    COMPARE_FAILED: "Compare failed",
    NOT_A_FILE: "Not a file",
    NOT_A_DIRECTORY: "Not a directory",
    KEY_EXISTS: "Key already exists",
    ROOT_READ_ONLY: "Root is read only",
    DIRECTORY_NOT_EMPTY: "Directory not empty",
    UNAUTHORIZED: "The request requires user authentication",
    PREV_VALUE_REQUIRED: "PrevValue is Required in POST form",
    TTL_NOT_A_NUMBER: "The given TTL in POST form is not a number",
    INDEX_NOT_A_NUMBER: "The given index in POST form is not a number",
    INVALID_FIELD: "Invalid field",
    INVALID_FORM: "Invalid POST form",
    REFRESH_VALUE: "Value provided on refresh",
    REFRESH_TTL_REQUIRED: "A TTL must be provided on refresh",
    RAFT_INTERNAL: "Raft Internal Error",
    WATCHER_CLEARED: "watcher is cleared due to etcd recovery",
    EVENT_INDEX_CLEARED: "The event in requested index is outdated and cleared",
}

STATUSES = {
    KEY_NOT_FOUND: 404,
    NOT_A_FILE: 403,
    DIRECTORY_NOT_EMPTY: 403,
    COMPARE_FAILED: 412,
    KEY_EXISTS: 412,
    UNAUTHORIZED: 401,
    RAFT_INTERNAL: 500,
}


class RefusedError(Exception):
    """A request or a command was refused, as the v2 API tells it.

    Two of them are equal when a client could not tell them apart.
    """

    @property
    def status(self) -> int:
        """The HTTP status."""
        raise NotImplementedError

    def to_json(self) -> str:
        """The error as the v2 API prints it, without a line end."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)


class AuthError(RefusedError):
    """A refusal that has to do with users and roles.

    @ivar message: what the client is told.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self._status = status
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status

    def to_json(self) -> str:
        """The error as the v2 API prints it, without a line end."""
        return f'{{"message":{quote(self.message)}}}'

    def __str__(self) -> str:
        return self.message


class EtcdError(RefusedError):
    """A refusal that has to do with keys, or with the store as a whole.

    @ivar code: the errorCode, one of this module's constants.
    @ivar cause: what stood in the way (a key, a pair of values); may be empty.
    @ivar index: the store's index when the refusal was decided; 0 when the request itself was at fault and
        the store was never asked.
    """

    def __init__(self, code: int, cause: str = "", index: int = 0) -> None:
        super().__init__(code, cause, index)
        self.code = code
        self.cause = cause
        self.index = index

    @property
    def message(self) -> str:
        """The text that belongs to the code."""
        return MESSAGES[self.code]

    @property
    def status(self) -> int:
        """The HTTP status that belongs to the code."""
        return STATUSES.get(self.code, 400)

    def to_json(self) -> str:
        """The error as the v2 API prints it, without a line end."""
        cause = f',"cause":{quote(self.cause)}' if self.cause else ""
        return f'{{"errorCode":{self.code},"message":{quote(self.message)}{cause},"index":{self.index}}}'

    def __str__(self) -> str:
        cause = f" ({self.cause})" if self.cause else ""
        return f"{self.code}: {self.message}{cause} [{self.index}]"
