"""The hash chain: an entry cannot be changed, dropped or moved without every later hash being wrong."""

from hashlib import sha256
from uuid import UUID


def genesis(stream: UUID) -> bytes:
    """What the first entry of a stream is chained to."""
    return sha256(stream.bytes).digest()


def link(previous: bytes, stream: UUID, seq: int, payload: bytes) -> bytes:
    """The hash of entry `seq`, given the hash of the entry before it."""
    return sha256(b"".join((previous, stream.bytes, seq.to_bytes(8, "big"), payload))).digest()


def holds(previous: bytes, stream: UUID, seq: int, payload: object, digest: object) -> bool:
    """Whether what was read from a file, of whatever type a broken file gives, is what was written."""
    return isinstance(payload, bytes) and seq > 0 and digest == link(previous, stream, seq, payload)
