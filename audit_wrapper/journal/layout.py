"""What lies in a journal's folder, by name, and how it is forced to the disk.

    lock                                    held by the process that writes
    journal.json                            who the journal is, how far it was delivered (see `state`)
    segment-00000000000000000001.journal    entries from 1 on; the name says the first
    segment-00000000000000043210.journal    entries from 43210 on; the last file is the one being written
    status.json                             a sign of life of that process (see `heartbeat`)
    delivered.json, sidecar.lock            what a sidecar says, and its own lock (see `sidecar`)
    *.journal.damaged                       a file that was found damaged, for a person to look at
    *.new                                   a file being made; it gets its name when it is whole

Whatever else lies there is not ours and is left alone.
"""

import errno
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

LOCK = "lock"
STATE = "journal.json"
HEARTBEAT = "status.json"
MARK = "delivered.json"
SIDECAR_LOCK = "sidecar.lock"
DRAINS = "drains"  # beside the number in it: this process has the journal itself, too, only to deliver what is left
ATTENDED = "attended"  # the same: this process was started by the bot, and ends soon after it
UNBORN = ".new"
DAMAGED = ".damaged"

_SEGMENT = re.compile(r"segment-(00\d{18})\.journal")  # no further than numbers go
_UNBORN = re.compile(rf"({_SEGMENT.pattern}|{re.escape(STATE)}){re.escape(UNBORN)}")


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


def unborn_paths(folder: Path) -> list[Path]:
    """What was being made when a process died."""
    return [path for path in folder.iterdir() if _UNBORN.fullmatch(path.name)]


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


_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_APPEND = os.O_WRONLY | os.O_APPEND | _FLAGS


def open_to_append(path: Path) -> int:
    """A descriptor whose writes go to the end of the file, wherever that is."""
    return os.open(path, _APPEND)


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
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.EBADF):  # some network disks have no such thing either
            raise
    finally:
        os.close(descriptor)


def put(path: Path, content: bytes, *, lasting: bool) -> None:
    """Make a file, or replace it: whole, or not at all. `lasting`: once this returns, it survives the loss of power."""
    unborn = path.with_name(path.name + UNBORN)
    descriptor = os.open(unborn, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            written = os.write(descriptor, rest)
            if not written:
                raise OSError(errno.ENOSPC, f"only a part of {path.name} was taken")
            rest = rest[written:]
        if lasting:
            force(descriptor)  # else the name may reach the disk before what it names
    finally:
        os.close(descriptor)
    unborn.replace(path)
    if lasting:
        force_names(path.parent)


def make_folder(folder: Path) -> None:
    """Make `folder`, and those it is in, so that they survive the loss of power."""
    made = []
    for path in (folder, *folder.parents):
        if path.is_dir():
            break
        made.append(path)
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        with suppress(PermissionError):  # where names can be made but not read
            force_names(path.parent)
