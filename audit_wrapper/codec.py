"""Record <-> bytes. JSON, because a person with nothing but `less` must be able to read the trail.

A `Decimal` is written as text. A JSON number (a float that came from elsewhere) is read back as the `Decimal` of its
own digits, so no value passes through a binary float on its way to the database.
"""

from decimal import Decimal

import msgspec

from audit_wrapper.errors import CodecError
from audit_wrapper.records import Record

VERSION = 1

_encoder = msgspec.json.Encoder(decimal_format="string", uuid_format="canonical")
_decoder = msgspec.json.Decoder(Record, float_hook=Decimal)
_untyped = msgspec.json.Decoder(float_hook=Decimal)


def encode(record: Record) -> bytes:
    """The record's bytes; the hash of the journal is taken over these, so they are kept and never made again."""
    return _encoder.encode(record)


def decode(payload: bytes) -> Record:
    """The record in `payload`. Raises CodecError for anything that is none, or is of a newer version."""
    try:
        record = _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise CodecError(f"not a record this release can read: {problem}") from problem
    if record.version > VERSION:
        raise CodecError(
            f"record {record.record_id} has format version {record.version}, this release reads up to {VERSION}: "
            "upgrade audit_wrapper on the machine that delivers"
        )
    return record


def as_text(value: object) -> bytes:
    """A part of a record as `encode` writes it."""
    return _encoder.encode(value)


def exact_json(text: str) -> object:
    """Parse an exchange's answer keeping every digit: numbers with a point become `Decimal`, integers stay whole."""
    return _untyped.decode(text)
