"""What a journal calls delivered, held against the database: is each entry there, just as it is?"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from audit_wrapper.journal import Entry
from audit_wrapper.tables.reader import Reader

_MOST = 1_000  # findings of one journal that are kept


class Delivered:
    """One journal. stream: under which name its entries are delivered now.

    compared: entries held against the database so far. findings: what is missing or differs, a sentence each; unsaid: how
    many more there are.
    """

    def __init__(self, reader: Reader, stream: UUID) -> None:
        self._reader = reader
        self._sql = reader.queries("chains.sql")
        self._stream = stream
        self._absent: tuple[int, int] | None = None  # the last run of numbers that are not there
        self.compared = 0
        self.findings: list[str] = []
        self.unsaid = 0

    async def compare(self, entries: Sequence[Entry]) -> None:
        """Hold these against it: the next ones, in order. Raises StoreError."""
        async with self._reader.snapshot("compare with the journal") as con:
            rows = await con.fetch(self._sql["not_here"], [self._stream], *_columns(entries))
            if rows:  # they may be under another name: the journal got this one when the database differed
                others = {row["seq"]: row["other"] for row in rows}
                streams = [row["stream"] for row in await con.fetch(self._sql["streams"])]
                left = [entry for entry in entries if entry.seq in others]
                for row in await con.fetch(self._sql["not_here"], streams, *_columns(left)):
                    self._note(row["seq"], other=others[row["seq"]])
        self.compared += len(entries)

    def end(self) -> None:
        """All were compared."""
        if self._absent is not None:
            first, last = self._absent
            which = f"entry {first} was" if first == last else f"entries {first} to {last} were"
            self._say(f"{which} delivered, by the journal's own word, and the database has nothing under the number")
            self._absent = None

    def _note(self, seq: int, *, other: bool) -> None:
        if self._absent is not None and (other or seq != self._absent[1] + 1):
            self.end()
        if other:
            self._say(
                f"entry {seq} of the journal is not what the database has as record {seq} of stream {self._stream}"
            )
        else:
            self._absent = (seq if self._absent is None else self._absent[0], seq)

    def _say(self, sentence: str) -> None:
        if len(self.findings) < _MOST:
            self.findings.append(sentence)
        else:
            self.unsaid += 1


def _columns(entries: Sequence[Entry]) -> tuple[list[int], list[bytes]]:
    return [entry.seq for entry in entries], [entry.hash for entry in entries]
