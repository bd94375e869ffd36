"""What the doctor looks at on this machine: Python, packages, the journal's folder. Reads only."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from audit_wrapper import codec
from audit_wrapper.command.check import Check, note, ok, wrong
from audit_wrapper.command.judging import size
from audit_wrapper.errors import CodecError
from audit_wrapper.heartbeat import installed_version, last_beat
from audit_wrapper.journal.glance import Glance, glance

TESTED_CCXT = "4.5.90"
_LEAST_BYTES, _FEW_BYTES = 200_000_000, 2_000_000_000
_NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "fuse.sshfs",
    "fuse.glusterfs",
)
_MEMORY = ("tmpfs", "ramfs")
_MOUNTS = Path("/proc/mounts")


def here() -> Iterator[Check]:
    """Python and packages."""
    yield ok(
        "python",
        f"{platform.python_version()} on {platform.system()}, audit-wrapper {installed_version() or '(not installed as a package)'}",
    )
    try:
        found = version("ccxt")
    except PackageNotFoundError:
        yield note("ccxt", "not installed for this Python: commands that ask an exchange need it", "pip install ccxt")
        return
    if found == TESTED_CCXT:
        yield ok("ccxt", f"{found}, the tested one")
    else:
        yield note("ccxt", f"{found}; tested is {TESTED_CCXT}, and any from 4.2 on should do")


def journal(folder: Path) -> Iterator[Check]:
    """The journal's folder. The first check is wrong, and the only one, where nothing can be read."""
    try:
        seen = glance(folder)
    except OSError as problem:
        yield wrong("journal", f"{folder} cannot be read: {problem}", "run this as the bot's user")
        return
    if seen is None:
        yield from _no_journal(folder)
        return
    yield ok(
        "journal", f"{folder}, {size(seen.bytes_on_disk)} in {seen.segments} files, up to record {seen.durable_seq:,}"
    )
    yield _head(seen)
    if seen.damaged:
        names = ", ".join(seen.damaged)
        yield wrong(
            "journal damage",
            f"damaged files were set aside: {names}",
            "`audit-wrapper verify` says what is missing; keep them",
        )
    yield _holder(folder, seen)
    yield from _place(folder)


def _no_journal(folder: Path) -> Iterator[Check]:
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        yield note(
            "journal", f"there is none in {folder} (yet): the bot makes it", "or name the bot's folder: --journal"
        )
        yield from _place(parent)
    else:
        yield wrong(
            "journal",
            f"there is none in {folder}, and {_user()} cannot make it: {parent} is not writable",
            f"mkdir -p {folder} && chown <the bot's user> {folder}",
        )


def _head(seen: Glance) -> Check:
    if seen.state is None:
        return wrong("journal head", "journal.json is gone or damaged", "nothing: the bot makes it anew when it starts")
    if seen.last is None:
        return ok("journal head", "no record yet")
    try:
        codec.decode(seen.last.payload)
    except CodecError as problem:
        return wrong(
            "journal head",
            f"record {seen.last.seq:,} cannot be read: {problem}",
            "`audit-wrapper verify` reads the whole journal",
        )
    return ok("journal head", f"record {seen.last.seq:,} can be read")


def _holder(folder: Path, seen: Glance) -> Check:
    if seen.holder is None:
        return note("journal lock", "nobody writes it: no bot is running with this folder")
    beat = last_beat(folder)
    since = f", since {beat.opened_at:%Y-%m-%d %H:%M} UTC" if beat is not None and beat.pid == seen.holder else ""
    return ok("journal lock", f"held by process {seen.holder or '(unknown)'}{since}")


def _place(folder: Path) -> Iterator[Check]:
    found = folder.stat()
    if not os.access(folder, os.W_OK | os.X_OK):
        yield wrong(
            "journal rights",
            f"{_user()} cannot write {folder}: it belongs to {_owner(found.st_uid)}",
            f"run the bot as {_owner(found.st_uid)}, or chown the folder",
        )
    else:
        yield ok("journal rights", f"{_user()} can write it; it belongs to {_owner(found.st_uid)}")
    has_server = (folder / "postgres").is_dir()  # the embedded one may run as another user, who has to get there
    if os.name == "posix" and not has_server and _others_can_read(folder):
        yield note(
            "journal privacy", "every user of this machine can read the bot's orders there", f"chmod o-rwx {folder}"
        )
    free = shutil.disk_usage(folder).free
    if free < _LEAST_BYTES:
        yield wrong("journal disk", f"{size(free)} left", "make room: when it is full, records wait in memory")
    elif free < _FEW_BYTES:
        yield note("journal disk", f"{size(free)} left")
    else:
        yield ok("journal disk", f"{size(free)} left")
    kind = _file_system(folder)
    if kind in _NETWORK:
        yield wrong(
            "journal file system",
            f"{kind}, over a network: a write that hangs there hangs the bot's order",
            "put the journal on a local disk (setting journal)",
        )
    elif kind in _MEMORY:
        yield wrong(
            "journal file system",
            f"{kind}: it is gone with the machine's power",
            "put the journal on a disk (setting journal)",
        )
    elif kind == "overlay":
        yield note("journal file system", "inside a container: it is gone with the container", "mount a volume there")
    elif kind is not None:
        yield ok("journal file system", kind)


def _others_can_read(folder: Path) -> bool:
    if not folder.stat().st_mode & 0o004:
        return False
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def _file_system(folder: Path) -> str | None:
    """Its kind; None: this system does not say."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    place, kind = folder.resolve(), None
    longest = -1
    for mount in (line.split() for line in lines):
        at = Path(mount[1].replace("\\040", " "))
        if place.is_relative_to(at) and len(at.parts) >= longest:
            longest, kind = len(at.parts), mount[2]
    return kind


def _user() -> str:
    return f"this user ({_owner(os.getuid())})" if hasattr(os, "getuid") else "this user"


def _owner(uid: int) -> str:
    if sys.platform == "win32":
        return str(uid)
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
