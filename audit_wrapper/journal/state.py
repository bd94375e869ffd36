"""The small side file: which journal and stream this is, and hints for retention. Losing it loses no entry.

It is replaced as a whole, by rename, so a reader sees the old one or the new one. It is written by the thread that
delivers, never on the order path.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from audit_wrapper.journal import layout


@dataclass(frozen=True, slots=True)
class State:
    """journal: what the hash chain begins with; the same for ever. stream, stream_after: as in `Journal`.

    delivered_seq: what the store is known to have. deleted_through: the last entry that retention took away.

    boot, clean, power: when the machine restarted since (`boot` differs) without a clean close, and entries were not
    forced to disk (`power` false), the newest entries may be gone.
    """

    journal: UUID
    stream: UUID
    stream_after: int = 0
    delivered_seq: int = 0
    deleted_through: int = 0
    boot: str = ""
    clean: bool = False
    power: bool = False


def read_state(folder: Path) -> State | None:
    """The state in `folder`, None if there is none. Raises ValueError if it is not what we write."""
    try:
        text = (folder / layout.STATE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        values = json.loads(text)
        return State(
            journal=UUID(values["journal"]),
            stream=UUID(values["stream"]),
            stream_after=int(values["stream_after"]),
            delivered_seq=int(values["delivered_seq"]),
            deleted_through=int(values["deleted_through"]),
            boot=str(values["boot"]),
            clean=values["clean"] is True,
            power=values["power"] is True,
        )
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
        raise ValueError(f"{layout.STATE} lacks a value or has a wrong one: {problem!r}") from problem


def write_state(folder: Path, state: State) -> None:
    values = {**asdict(state), "journal": str(state.journal), "stream": str(state.stream)}
    layout.put(folder / layout.STATE, json.dumps(values, indent=1).encode("ascii") + b"\n", lasting=True)


def boot_id() -> str:
    """Changes when the machine restarts; empty where the system does not say, which counts as 'never restarted'."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
