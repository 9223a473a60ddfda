"""A backup of a data directory, made while its server runs: one file that a server can be started from."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from txetcd.journal.sqlite import APPLICATION_ID, FILE, VERSION
from txetcd.moving import MovingError

# So many pages are copied between two looks at how far it is.
_PAGES = 4096


def backup(
    data_dir: Path, file: Path, progress: Callable[[int, int], object] = lambda done, total: None
) -> int:
    """Copy the SQLite file of a data directory as it is now: with every write that was answered before.

    @param file: where to; what is there is replaced, once the copy is whole and has been checked.
    @param progress: called with how many bytes have been copied, and of how many.
    @return: the size of the file, in bytes.
    @raise MovingError: when it cannot be done; what was at `file` is still there then.
    """
    source = data_dir / FILE
    if not source.is_file():
        raise MovingError(f"--data-dir {data_dir}: there is no {FILE}; give the data directory of a server")
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        # SQLite gives the files beside it the mode of the first.
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            _copy(source, beside, progress)
            size = beside.stat().st_size
            os.replace(beside, file)
            _sync(file.parent)
        finally:
            for name in (beside, *(Path(f"{beside}{end}") for end in ("-journal", "-wal", "-shm"))):
                name.unlink(missing_ok=True)
    except OSError as error:
        raise MovingError(f"{file}: cannot be written ({error.strerror}); name another file") from None
    return size


def _copy(source: Path, beside: Path, progress: Callable[[int, int], object]) -> None:
    url = f"file:{quote(str(source.absolute()))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(url, uri=True, isolation_level=None)) as original:
            # This transaction is the moment that is copied: otherwise each commit of the server's would have
            # the copy begin anew.
            original.execute("BEGIN")
            _require_ours(original, source)
            with contextlib.closing(sqlite3.connect(beside, isolation_level=None)) as copy:
                ((size,),) = original.execute("PRAGMA page_size")
                original.backup(
                    copy,
                    pages=_PAGES,
                    progress=lambda _, left, total: progress((total - left) * size, total * size),
                )
                # One file that is whole by itself.
                copy.execute("PRAGMA journal_mode = DELETE")
                ((finding,),) = copy.execute("PRAGMA integrity_check(1)")
    except sqlite3.DatabaseError as error:
        raise MovingError(f"{source}: {error}; the backup was not made") from None
    if finding != "ok":
        raise MovingError(f"{source} is damaged: {' '.join(finding.split())}; the backup was not made")


def _require_ours(original: sqlite3.Connection, source: Path) -> None:
    ((application,),) = original.execute("PRAGMA application_id")
    ((version,),) = original.execute("PRAGMA user_version")
    if application != APPLICATION_ID:
        raise MovingError(f"{source} is not a file of txetcd's; give the data directory of a server")
    if not 1 <= version <= VERSION:
        problem = f"has format {version}, and this txetcd knows only {VERSION}; use the one that made it"
        raise MovingError(f"{source} {problem}")


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
