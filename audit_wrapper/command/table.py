"""Tables on the screen: numbers to the right and as they are stored, as many columns as there is room for."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from audit_wrapper.command.voice import Voice

_COLOURS = {
    "FILLED": "green",
    "PARTIALLY_FILLED": "yellow",
    "NEW": "cyan",
    "CANCELED": "bright_black",
    "MODIFIED": "bright_black",
    "EXPIRED": "bright_black",
    "REJECTED": "red",
    "UNKNOWN": "bold magenta",
}
_GAP = 2
_KEY = 13  # of an order's key: what was made in one millisecond begins alike, so it nearly always names one order
_TAIL = 7


class Column(NamedTuple):
    """One column. `keep`: the lower, the sooner it is left out where there is no room; None: never."""

    name: str
    cell: Callable[[Mapping[str, Any]], str]
    keep: int | None = None
    right: bool = False


def show(voice: Voice, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], *, wide: bool) -> None:
    """Print the rows. `wide`: every column, whatever the width; so it is too where no terminal is, since there is none."""
    from rich.text import Text

    cells = [[column.cell(row) for column in columns] for row in rows]
    widths = [max([len(column.name), *(len(line[i]) for line in cells)]) for i, column in enumerate(columns)]
    shown = _fitting(columns, widths, None if wide or not sys.stdout.isatty() else terminal_width())
    lines = [[Text(columns[i].name, style="bold") for i in shown]]
    lines += [[Text(line[i], style=_COLOURS.get(line[i], "")) for i in shown] for line in cells]
    text = Text()
    for line in lines:
        for place, i in enumerate(shown):
            space = " " * (widths[i] - len(line[place]))
            text.append_text(Text(space) + line[place] if columns[i].right else line[place] + space)
            text.append(" " * _GAP)
        text.rstrip()
        text.append("\n")
    voice.show(painted(text).rstrip("\n"))
    missing = [column.name for i, column in enumerate(columns) if i not in shown]
    if missing:
        voice.say(f"no room for: {', '.join(missing)} (--wide)")


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int | None) -> list[int]:
    """The columns there is room for: those that must be, then as many of the others as fit, the weightiest first."""
    if width is None:
        return list(range(len(columns)))
    shown = [i for i, column in enumerate(columns) if column.keep is None]
    for i in sorted(set(range(len(columns))) - set(shown), key=lambda i: -(columns[i].keep or 0)):
        if sum(widths[j] + _GAP for j in [*shown, i]) - _GAP <= width:
            shown.append(i)
    return sorted(shown)


def painted(text: Any) -> str:
    """A rich Text as it goes to stdout: with colours where that is a terminal that has them, and NO_COLOR is not set."""
    if not sys.stdout.isatty() and not any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE")):
        return str(text.plain)
    from rich.console import Console

    made = io.StringIO()
    # None: as the environment says (FORCE_COLOR)
    is_terminal = True if sys.stdout.isatty() else None
    width = max(10_000, terminal_width())
    Console(file=made, force_terminal=is_terminal, highlight=False, soft_wrap=True, width=width).print(text, end="")
    return made.getvalue()


def terminal_width() -> int:
    """In characters."""
    return shutil.get_terminal_size((120, 40)).columns


def plain(value: Any) -> str:
    """A value in a cell: a number with the digits it is stored with, never a control character of somebody else's."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03d}"
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def of(name: str) -> Callable[[Mapping[str, Any]], str]:
    """The cell that shows this column of the row."""
    return lambda row: plain(row[name])


def key(row: Mapping[str, Any], name: str = "order_key") -> str:
    """The beginning of an order's key: `explain` takes it."""
    return str(row[name])[:_KEY]


def order_id(row: Mapping[str, Any]) -> str:
    """The end of the exchange's id, where it is long: that is what differs."""
    text = plain(row["order_id"])
    return text if len(text) <= _TAIL + 3 else f"…{text[-_TAIL:]}"


def fee(row: Mapping[str, Any]) -> str:
    """The fee and its currency; where none is known, why."""
    if row["fee"] is None:
        return "" if row["fee_status"] in (None, "none_due") else str(row["fee_status"])
    return f"{plain(row['fee'])} {plain(row['fee_currency'])}".rstrip()
