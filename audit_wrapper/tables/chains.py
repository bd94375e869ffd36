"""The hash chain of each journal, checked in the database: an entry changed, dropped or moved there shows.

A stored record carries the hash of its journal's entry, over its bytes and the hash of the entry before. What is set
aside in quarantine is a part of the chain, too. Not covered: the columns beside `body`, which are read from it, and
everything that is made of the records; `PostgresStore.rebuild` makes that anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import asyncpg
import msgspec

from audit_wrapper.journal import chain
from audit_wrapper.tables.reader import Reader

_PAGE = 2_000
_MOST = 1_000  # findings of one journal that are kept


class StreamReport(msgspec.Struct, kw_only=True):
    """One journal, as the database has it. entries: read and checked. first_seq, last_seq: of them; 0: there is none.
    set_aside: how many of them are in quarantine. findings: what is wrong, a sentence each; unsaid: how many more."""

    stream: UUID
    entries: int = 0
    first_seq: int = 0
    last_seq: int = 0
    set_aside: int = 0
    findings: list[str] = msgspec.field(default_factory=list)
    unsaid: int = 0

    def note(self, sentence: str) -> None:
        """One more finding."""
        if len(self.findings) < _MOST:
            self.findings.append(sentence)
        else:
            self.unsaid += 1


async def check_chains(reader: Reader, progress: Callable[[int, int], None]) -> list[StreamReport]:
    """Read every stored record. progress: entries read, and how many there are. Raises StoreError.

    What is delivered meanwhile is left out; nothing is locked, and no transaction is longer than one page.
    """
    sql = reader.queries("chains.sql")
    async with reader.snapshot("read the marks of delivery") as con:
        streams = await con.fetch(sql["streams"])
    total = sum(row["last_seq"] - row["first_seq"] + 1 for row in streams if row["last_seq"] is not None)
    checks = [_Check(reader, row, [one["stream"] for one in streams]) for row in streams]
    done = 0
    for check in checks:
        while read := await check.page():
            done += read
            progress(done, total)
        await check.end()
    return [check.report for check in checks]


class _Check:
    """One stream, page by page."""

    def __init__(self, reader: Reader, mark: asyncpg.Record, streams: Sequence[UUID]) -> None:
        self._reader = reader
        self._sql = reader.queries("chains.sql")
        self._mark = mark
        self._streams = streams
        self._hashes: tuple[bytes, ...] = ()  # what the next entry may be chained to
        self._last_hash = b""
        self.report = StreamReport(stream=mark["stream"])

    async def page(self) -> int:
        """Check the next entries; returns how many."""
        report = self.report
        until = self._mark["last_seq"] or 0
        if report.last_seq >= until:
            return 0
        async with self._reader.snapshot("read the stored records") as con:
            rows = await con.fetch(self._sql["links"], report.stream, report.last_seq, until, _PAGE)
        for row in rows:
            if report.entries and row["seq"] == report.last_seq:  # set aside once, and delivered since
                continue
            if row["seq"] > report.last_seq + 1 or not report.entries:
                await self._begin(row)
            self._take(row)
        return len(rows)

    async def _begin(self, row: asyncpg.Record) -> None:
        """An entry that follows none of this stream: it is the first, or some before it are not here under this name.

        A journal that got a new name went on from an entry that is here under the old one, and what is here already is
        not stored twice.
        """
        seq, report = row["seq"], self.report
        if seq == 1:  # what got a new name right at the beginning has the old one in its chain
            found = [chain.genesis(report.stream), *(chain.genesis(stream) for stream in self._streams)]
        else:
            found = await self._elsewhere(seq - 1)
        fitting = tuple(before for before in found if chain.link(before, seq, _bytes(row)) == row["hash"])
        if not fitting and seq > 1:
            report.note(_absent(report, seq - 1))
        self._hashes = fitting or (tuple(found[:1]) if seq == 1 else ())
        report.first_seq = report.first_seq or seq
        report.last_seq = seq - 1

    async def _elsewhere(self, seq: int) -> list[bytes]:
        async with self._reader.snapshot("read what other journals have there") as con:
            rows = await con.fetch(self._sql["hashes_at"], self._streams, seq)
        return [row["hash"] for row in rows]

    def _take(self, row: asyncpg.Record) -> None:
        report, seq, stored = self.report, row["seq"], row["hash"]
        again = tuple(chain.link(before, seq, _bytes(row)) for before in self._hashes)
        if again and stored not in again:
            where = " (set aside in quarantine)" if row["body"] is None else ""
            report.note(
                f"record {seq} of stream {report.stream}{where} is not what was written, or the one before it is not: its hash "
                "does not fit"
            )
            self._hashes = (stored, again[0])  # its body may be right and its hash wrong, or the other way about
        else:
            self._hashes = (stored,)
        report.entries += 1
        report.set_aside += row["body"] is None
        report.last_seq, self._last_hash = seq, stored

    async def end(self) -> None:
        """What the mark of delivery says of it."""
        report, upto = self.report, self._mark["delivered_seq"]
        if upto is None:
            report.note(f"stream {report.stream} has records here, and no mark of how far it was delivered")
        elif upto > report.last_seq:
            if self._mark["delivered_hash"] not in await self._elsewhere(upto):
                report.note(f"{_absent(report, upto)}, though the mark says that they were delivered")
        elif upto < report.last_seq:
            report.note(
                f"stream {report.stream} was delivered up to {upto}, and there are records up to {report.last_seq}"
            )
        elif report.entries and self._mark["delivered_hash"] != self._last_hash:
            report.note(f"record {upto} of stream {report.stream} is not the one that was delivered last")


def _bytes(row: asyncpg.Record) -> bytes:
    return row["payload"] if row["body"] is None else row["body"].encode("utf-8")  # type: ignore[no-any-return]


def _absent(report: StreamReport, last: int) -> str:
    """Words for what is missing up to `last`."""
    first = report.last_seq + 1
    if first == last:
        return f"record {first} of stream {report.stream} is not in the database"
    return f"records {first} to {last} of stream {report.stream} are not in the database"
