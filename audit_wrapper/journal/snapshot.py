"""One segment at one moment, for a check that changes nothing and stops nobody."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from audit_wrapper.journal import layout, process
from audit_wrapper.journal.segment import connect, connect_sealed

_LOG_HEADER = 32


class Moved(Exception):
    """The segment changed its shape (was sealed, its log was begun anew, it was deleted) while it was looked at."""


class Snapshot(NamedTuple):
    """`file` is the copy, or the segment itself if nobody was writing it."""

    connection: sqlite3.Connection
    file: Path
    is_copy: bool


@contextmanager
def snapshot(folder: Path, path: Path) -> Iterator[Snapshot]:
    """Raises Moved if it must be tried again."""
    if not layout.wal_path(path).exists():
        # Nobody writes it: read it where it lies.
        with closing(connect_sealed(path)) as connection:
            yield Snapshot(connection, path, False)
        return
    with tempfile.TemporaryDirectory(prefix="audit-verify-") as temporary:
        copy = Path(temporary) / path.name
        if process.is_open_here(folder):
            # Opening the file by any other way than SQLite's would drop the locks this process has on it.
            with closing(connect(path, mode="rw", live=True)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        else:
            _copy_files(path, copy)
        with closing(connect(copy, mode="rw", live=False)) as connection:
            yield Snapshot(connection, copy, True)


def _copy_files(path: Path, copy: Path) -> None:
    """Database first, then its log. If the log was not begun anew meanwhile, it holds every page that a checkpoint
    may have been writing while we copied, so database and log together are whole."""
    log = layout.wal_path(path)
    try:
        with open(log, "rb") as file:
            header = file.read(_LOG_HEADER)
            shutil.copyfile(path, copy)
            file.seek(0)
            with open(layout.wal_path(copy), "wb") as target:
                shutil.copyfileobj(file, target)
            file.seek(0)
            same = file.read(_LOG_HEADER) == header
    except FileNotFoundError:
        raise Moved from None
    if not same or not log.exists():
        raise Moved
