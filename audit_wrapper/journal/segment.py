"""One segment: a SQLite file with the entries from its first number on.

While it is written it has two connections: one that only inserts, one for everything else (reading, checkpoints).
Write-ahead logging lets both work at once without waiting for each other. SQLite's `unix-excl` file system keeps the
index of that log in memory and takes no file lock per statement, which halves the cost of an insert; the price is
that other processes cannot open the file while it is written (`verify` takes a copy). Once full, a segment is
*sealed*: the log is worked in, and a single plain file remains that any tool can read.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from audit_wrapper.errors import JournalDamaged
from audit_wrapper.journal import chain, layout, log
from audit_wrapper.journal.finding import What
from audit_wrapper.journal.interface import Entry

FORMAT = 1
LEAST_ENTRY = 36  # bytes an entry takes at least: its hash and SQLite's own few; bounds how many a file can hold

INSERT = "INSERT INTO entry (seq, hash, payload) VALUES (?, ?, ?)"

_APPLICATION_ID = 0x41574A31  # "AWJ1": file(1) and we know the file by it
_BUSY_TIMEOUT_S = 2.0  # only ever waited for when another program has the file open
_SCHEMA = (
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
    "CREATE TABLE segment (stream BLOB NOT NULL, first_seq INTEGER NOT NULL, previous_hash BLOB NOT NULL,"
    " note TEXT NOT NULL)",
    "CREATE TABLE entry (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, payload BLOB NOT NULL)",
)
# What says that the file cannot be got at now, and nothing about what is in it.
_NOT_DAMAGE = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
    )
)


class SegmentDamaged(JournalDamaged):
    """A segment that cannot be used, and in which way."""

    def __init__(self, what: What, sentence: str) -> None:
        super().__init__(sentence)
        self.what = what


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a segment begins. An empty `previous_hash`: prepared ahead and not yet in use.

    `note` says why its first number does not follow the last one of the segment before it, if it does not.
    """

    stream: UUID
    first_seq: int
    previous_hash: bytes
    note: str = ""


def is_damage(problem: sqlite3.Error) -> bool:
    return getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in _NOT_DAMAGE


def connect(path: Path, *, mode: str, live: bool) -> sqlite3.Connection:
    """A connection in autocommit, for use by one thread at a time. `mode`: rw, ro or rwc."""
    vfs = "&vfs=unix-excl" if live and os.name == "posix" else ""
    return _connect(path, f"mode={mode}{vfs}")


def connect_sealed(path: Path) -> sqlite3.Connection:
    """A connection to a file that nobody changes: it takes no lock and makes no file."""
    return _connect(path, "mode=ro&immutable=1")


def connect_at_rest(path: Path) -> sqlite3.Connection:
    """A reading connection to a segment that nobody has open. A log that is left is read, and stays."""
    return connect_sealed(path) if is_sealed(path) else connect(path, mode="ro", live=False)


def _connect(path: Path, how: str) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?{how}"
    return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_TIMEOUT_S)


def create(folder: Path, origin: Origin, *, sync: bool) -> Path:
    """Make an empty segment. It appears under its name whole, or not at all."""
    path = layout.segment_path(folder, origin.first_seq)
    unborn = path.with_name(path.name + layout.UNBORN)
    layout.remove_segment(unborn)
    with closing(connect(unborn, mode="rwc", live=True)) as connection:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA synchronous = OFF")
        # Here and never again: a kill while SQLite changes this leaves a rollback journal behind.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if sync else 'OFF'}")
        connection.execute("BEGIN")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO segment VALUES (?, ?, ?, ?)",
            (origin.stream.bytes, origin.first_seq, origin.previous_hash, origin.note),
        )
        connection.execute("COMMIT")
    unborn.replace(path)
    if sync:
        layout.sync_folder(folder)
    return path


def read_origin(connection: sqlite3.Connection, path: Path, stream: UUID | None) -> Origin:
    """Where the segment begins. Raises SegmentDamaged if it is not a segment of `stream` that we can read."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != _APPLICATION_ID:
        raise SegmentDamaged(What.UNREADABLE, f"{path} is not a journal segment")
    if version > FORMAT:
        raise SegmentDamaged(
            What.FROM_THE_FUTURE,
            f"{path} has format {version}, this release reads up to {FORMAT}: upgrade audit_wrapper to read it",
        )
    rows = connection.execute("SELECT stream, first_seq, previous_hash, note FROM segment").fetchall()
    try:
        ((raw_stream, first_seq, previous_hash, note),) = rows
        origin = Origin(UUID(bytes=raw_stream), first_seq, bytes(previous_hash), str(note))
    except (ValueError, TypeError) as problem:
        raise SegmentDamaged(What.UNREADABLE, f"{path} does not say where it begins: {problem}") from problem
    if stream is not None and origin.stream != stream:
        raise SegmentDamaged(
            What.FOREIGN_STREAM, f"{path} belongs to journal {origin.stream}, not to {stream}: was it copied here?"
        )
    if first_seq != layout.first_seq_of(path):
        raise SegmentDamaged(What.UNREADABLE, f"{path} says that it begins at {first_seq!r}: was it renamed?")
    return origin


def last_entry(connection: sqlite3.Connection) -> tuple[int, bytes] | None:
    """Number and hash of the last entry."""
    row = connection.execute("SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
    return None if row is None else (row[0], row[1])


def read_entries(connection: sqlite3.Connection, after_seq: int, limit: int, max_bytes: int) -> list[Entry]:
    """The next entries. The statement is done with on return: an open one would hold back the log's truncation."""
    taken: list[Entry] = []
    room = max_bytes
    query = "SELECT seq, payload, hash FROM entry WHERE seq > ? ORDER BY seq LIMIT ?"
    with closing(connection.execute(query, (after_seq, limit))) as rows:
        for row in rows:
            entry = Entry(*row)
            if not isinstance(entry.payload, bytes) or not isinstance(entry.hash, bytes):
                raise sqlite3.DatabaseError(f"entry {entry.seq} does not hold bytes")
            room -= len(entry.payload)
            if room < 0 and taken:
                break
            taken.append(entry)
    return taken


@contextmanager
def untouched(path: Path) -> Iterator[sqlite3.Connection]:
    """A look at a segment nobody has open, its database and log left exactly as they are.

    Raises SegmentDamaged where SQLite says that the file is broken.
    """
    try:
        with closing(connect_at_rest(path)) as connection:
            yield connection
    except sqlite3.Error as problem:
        if is_damage(problem):
            raise SegmentDamaged(What.UNREADABLE, f"{path} cannot be read: {problem}") from problem
        raise
    finally:
        path.with_name(path.name + "-shm").unlink(missing_ok=True)  # reading a log leaves its index behind


def read_origin_at(path: Path, stream: UUID | None = None) -> Origin:
    """`read_origin` of a segment nobody has open."""
    with untouched(path) as connection:
        return read_origin(connection, path, stream)


def broken_log(path: Path, lost: int) -> str:
    return f"{path}: its log is damaged, the last {lost} transactions in it cannot be read"


def inspect(path: Path, stream: UUID) -> tuple[int, bytes]:
    """Number and hash of the last entry of a segment nobody has open.

    Raises SegmentDamaged if it should not be appended to. Looks at SQLite's structure and the last link of the chain,
    not at every entry: this is done at each start of a bot.
    """
    with untouched(path) as connection:
        origin = read_origin(connection, path, stream)
        torn = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if torn != "ok":
            raise SegmentDamaged(What.TORN_PAGE, f"{path} is damaged: {torn}")
        tail = connection.execute("SELECT seq, hash, payload FROM entry ORDER BY seq DESC LIMIT 2").fetchall()
        if lost := log.lost_commits(path):
            raise SegmentDamaged(What.UNREADABLE, broken_log(path, lost))
    if not tail:
        return origin.first_seq - 1, origin.previous_hash
    seq, digest, payload = tail[0]
    previous = tail[1][1] if len(tail) > 1 else origin.previous_hash
    if not chain.holds(previous, origin.stream, seq, payload, digest):
        raise SegmentDamaged(What.HASH_MISMATCH, f"{path}: entry {seq}, its last, is not what was written")
    return seq, digest


class LiveSegment:
    """A segment that is being written. The writing side belongs to the appender, `reader` to whoever reads."""

    def __init__(self, path: Path, *, power: bool) -> None:
        self.path = path
        self.first_seq = layout.first_seq_of(path)
        self._power = power
        self.reader = connect(path, mode="rw", live=True)
        try:
            # The reader also works the log into the database, and syncs when it does: so the loss of power costs the
            # newest entries at most, never the file, though the writer itself does not wait for the disk.
            self.reader.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")
            self.reader.execute("PRAGMA wal_autocheckpoint = 0")
            # The first read opens the log. Done now, so that it can be read also if somebody deletes the files.
            self.reader.execute("SELECT first_seq FROM segment").fetchall()
            self._open_writer()
            self._identity = os.stat(path)
            self.wal = str(layout.wal_path(path))
        except BaseException:
            self.reader.close()
            raise

    def _open_writer(self) -> None:
        self.writer = connect(self.path, mode="rw", live=True)
        self.writer.execute(f"PRAGMA synchronous = {'FULL' if self._power else 'OFF'}")
        self.writer.execute("PRAGMA fullfsync = ON")  # on macOS, fsync alone does not reach the disk
        self.writer.execute("PRAGMA wal_autocheckpoint = 0")  # a checkpoint must never run inside an append
        self.insert = self.writer.cursor().execute

    def reopen_writer(self) -> tuple[int, bytes] | None:
        """A fresh writing connection after an error, and the last entry that is really there."""
        self.writer.close()  # not the last connection, so this works nothing in and cannot take long
        self._open_writer()
        return last_entry(self.writer)

    def is_there(self) -> bool:
        """Whether the file we write to is the one under its name, log included."""
        try:
            return os.path.samestat(self._identity, os.stat(self.path)) and os.path.exists(self.wal)
        except OSError:
            return False

    def set_previous_hash(self, previous_hash: bytes) -> None:
        """Take a prepared segment into use."""
        self.writer.execute("UPDATE segment SET previous_hash = ?", (previous_hash,))

    def checkpoint(self) -> None:
        """Work the log into the database as far as that goes without anybody waiting."""
        self.reader.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        self.writer.close()
        self.reader.close()  # the last connection: SQLite works the log in and removes it


def seal(path: Path) -> bool:
    """Make a full segment, open nowhere, a single file on stable storage. False: not now, somebody reads it."""
    try:
        with closing(connect(path, mode="rw", live=True)) as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError as problem:
        if problem.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return False
        raise
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return is_sealed(path)


def is_sealed(path: Path) -> bool:
    """Whether a segment that is not being written has nothing left in a log."""
    return layout.size(layout.wal_path(path)) == 0
