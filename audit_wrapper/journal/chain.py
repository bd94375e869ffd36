"""The hash chain: an entry cannot be changed, dropped or moved without a later hash being wrong."""

from hashlib import sha256
from uuid import UUID


def genesis(journal: UUID) -> bytes:
    """What the first entry of a journal is chained to."""
    return sha256(journal.bytes).digest()


def link(previous: bytes, seq: int, payload: bytes) -> bytes:
    """The hash of entry `seq`, given the hash of the entry before it."""
    return sha256(b"".join((previous, seq.to_bytes(8, "big"), payload))).digest()
