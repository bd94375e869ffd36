"""SQLite's write-ahead log, looked at from outside: does it break off before its end?

SQLite reads a log up to the first frame whose checksum is wrong and takes the rest for leftovers. That is right for
the write that a kill interrupted. When whole transactions of the same generation follow, something was damaged, and
entries that had been written are lost. (https://sqlite.org/fileformat2.html#the_write_ahead_log)
"""

import struct
from pathlib import Path

from audit_wrapper.journal import layout

_HEADER, _FRAME = 32, 24


def lost_commits(path: Path) -> int:
    """How many transactions in the log of the database at `path` SQLite does not see.

    A connection that has read, and keeps its index of the log in a file, must be open. One transaction does not count:
    it may be the one a kill interrupted.
    """
    try:
        with open(path.with_name(path.name + "-shm"), "rb") as index:
            (seen,) = struct.unpack("=I", index.read(20)[16:])  # the last valid frame
        with open(layout.wal_path(path), "rb") as log:
            header = log.read(_HEADER)
            (page_size,) = struct.unpack(">I", header[8:12])
            frame_size = _FRAME + (page_size or 4096)
            generation = header[16:24]
            if not _is_whole(header):
                log.seek(_HEADER + 8)
                generation = log.read(8)
            commits, place = 0, _HEADER + seen * frame_size
            while True:
                log.seek(place)
                frame = log.read(frame_size)
                if len(frame) < frame_size:
                    break
                commits += frame[8:16] == generation and frame[4:8] != bytes(4)
                place += frame_size
    except (FileNotFoundError, struct.error):
        return 0  # no log, or none that ever had a whole header
    return commits if commits > 1 else 0


def _is_whole(header: bytes) -> bool:
    """The checksum of the log's header."""
    order = ">" if header[3] & 1 else "<"
    words = struct.unpack(f"{order}6I", header[:24])
    one = two = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return struct.pack(">II", one, two) == header[24:32]
