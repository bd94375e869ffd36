"""What lies in a journal's folder, by name, and how it is forced to the disk.

    lock                                    held by the process that writes
    journal.json                            who the journal is, how far it was delivered (see `state`)
    segment-00000000000000000001.journal    entries from 1 on; the name says the first
    segment-00000000000000043210.journal    entries from 43210 on; the last file is the one being written
    *.journal.damaged                       a file that was found damaged, for a person to look at
    *.new                                   a file being made; it gets its name when it is whole

Whatever else lies there is not ours and is left alone.
"""

import os
import re
import sys
from pathlib import Path

LOCK = "lock"
STATE = "journal.json"
UNBORN = ".new"
DAMAGED = ".damaged"

_SEGMENT = re.compile(r"segment-(\d{20})\.journal")


def segment_path(folder: Path, first_seq: int) -> Path:
    return folder / f"segment-{first_seq:020d}.journal"


def first_seq_of(path: Path) -> int:
    found = _SEGMENT.fullmatch(path.name)
    if found is None:
        raise ValueError(f"{path.name} is not the name of a journal segment")
    return int(found.group(1))


def segment_paths(folder: Path) -> list[Path]:
    """The segments there are, in the order of their entries."""
    return sorted(path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name))


def size(path: Path) -> int:
    """Bytes of a file, 0 if it is not there."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def total_size(folder: Path) -> int:
    """Bytes of everything in the folder itself, 0 if there is none; files may come and go meanwhile."""
    total = 0
    try:
        with os.scandir(folder) as found:
            for item in found:
                try:
                    if item.is_file(follow_symlinks=False):
                        total += item.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return total


if sys.platform == "darwin":
    import fcntl

    def force(descriptor: int) -> None:
        """Wait until what was written is on the disk itself; on macOS fsync alone does not."""
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
else:

    def force(descriptor: int) -> None:
        """Wait until what was written is on the disk itself."""
        os.fsync(descriptor)


def force_names(folder: Path) -> None:
    """Make new names in `folder` survive the loss of power. Windows has no such thing."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
