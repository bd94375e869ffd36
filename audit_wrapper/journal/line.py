"""An entry as a line of text: `NUMBER HASH PAYLOAD`.

Text, so that `tail -f` shows a journal and `cut -d' ' -f3-` gives its payloads. And lines, so that whatever a disk does
to some of them, the next one is found again.
"""

from binascii import Error, hexlify, unhexlify

from audit_wrapper.journal.interface import Entry

END = b"\n"
LEAST = len(b"1  ") + 64 + len(END)  # bytes the shortest line takes; bounds how many a file can hold
MOST = (1 << 26) // LEAST  # lines that a file may have held which was cut short; more only if it holds more

_HASH = 64  # characters
_DIGITS = 19  # of the largest number that fits into 63 bits, which is what PostgreSQL's bigint holds


def encode(seq: int, digest: bytes, payload: bytes) -> bytes:
    """The line, with its end. The payload must have none in it."""
    return b"%d %b %b\n" % (seq, hexlify(digest), payload)


def decode(text: bytes) -> Entry | None:
    """The entry of a line without its end, None if it is none. Whether it is what was written, its hash must tell."""
    number, _, rest = text.partition(b" ")
    if not 0 < len(number) <= _DIGITS or not number.isdigit() or rest[_HASH : _HASH + 1] != b" ":
        return None
    try:
        return Entry(int(number), rest[_HASH + 1 :], unhexlify(rest[:_HASH]))
    except Error:
        return None
