"""`audit-wrapper report`: one page with everything, to look at, to send, to print."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shlex
import tempfile
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit_wrapper.command.codes import FINE, PROG, WRONG
from audit_wrapper.command.options import Account, BotSchema, Dsn, Exchange, Journal, Position, Since, Symbol, Until, settings_of
from audit_wrapper.command.voice import Voice
from audit_wrapper.settings import Settings
from audit_wrapper.tables.figures import Figures, Range, read_figures
from audit_wrapper.tables.reader import Reader

if TYPE_CHECKING:
    from audit_wrapper.report.page import About

_NEEDED = ("jinja2", "plotly")
ROWS = 5_000  # of a long table; a browser sorts so many at once, and a file of them can still be sent
_GAPS = 20

_EPILOG = f"""
Example:

  {PROG} report --since 7d -o report.html

Needs jinja2 and plotly: pip install "audit-wrapper[report]". The file has some 5 MB, most of it the library that draws the charts, so
that the page needs no network when it is opened.
"""


def register(app: typer.Typer) -> None:
    app.command("report", help="One page with results, costs, stops, latency, orders and open questions.", epilog=_EPILOG)(
        report
    )


def report(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the page goes: report.html.")],
    since: Since = None,
    until: Until = None,
    exchange: Exchange = None,
    account: Account = None,
    symbol: Symbol = None,
    position: Position = None,
    dsn: Dsn = None,
    journal: Journal = None,
    bot_schema: BotSchema = None,
) -> int:
    """Make the page. Exit code 2: nothing happened in the range, or the file cannot be written."""
    voice = Voice()
    problem = _cannot_be(output, since, until)
    if problem is not None:
        voice.say(f"{PROG} report: {problem}")
        return WRONG
    within = Range(since=since, until=until, exchange=exchange, account=account, symbol=symbol, position=position)
    settings = settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    figures, address = asyncio.run(_read(settings, within))
    if figures.is_empty:
        voice.say(f"{PROG} report: {_nothing(figures, within)}")
        return WRONG
    from audit_wrapper.report.page import render

    page = render(figures, _about(figures, within, settings, address))
    try:
        _write(output, page)
    except OSError as refused:
        voice.say(f"{PROG} report: cannot write {output}: {refused.strerror or refused}")
        return WRONG
    voice.say(f"{output}: {len(page.encode()) / 1e6:.1f} MB; open it in a browser")
    return FINE


def _cannot_be(output: Path, since: datetime | None, until: datetime | None) -> str | None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return f'{" and ".join(missing)} {"is" if len(missing) == 1 else "are"} missing: pip install "audit-wrapper[report]"'
    if str(output) == "-":
        return "a page of 5 MB does not go to the terminal: name a file, -o report.html"
    if output.is_dir():
        return f"{output} is a folder: name a file in it, -o {output / 'report.html'}"
    if not output.absolute().parent.is_dir():
        return f"there is no folder {output.absolute().parent}: make it first, or name another file"
    if since is not None and until is not None and since >= until:
        return f"the range ends ({until.isoformat()}) before it begins ({since.isoformat()})"
    return None


async def _read(settings: Settings, within: Range) -> tuple[Figures, str]:
    async with Reader(settings) as reader:
        return await read_figures(reader, within, rows=ROWS, gaps=_GAPS), reader.address


def _nothing(figures: Figures, within: Range) -> str:
    of = "".join(
        f" of {name} {value}"
        for name, value in (
            ("exchange", within.exchange),
            ("account", within.account),
            ("symbol", within.symbol),
            ("position", within.position),
        )
        if value is not None
    )
    if figures.first_at is None or figures.last_at is None:
        return f"there is nothing{of} in the trail" if of else "the trail is empty: no order has been recorded yet"
    return (
        f"nothing{of} happened {_range(within)}; the trail has orders{of} from {figures.first_at:%Y-%m-%d %H:%M} to "
        f"{figures.last_at:%Y-%m-%d %H:%M} UTC"
    )


def _range(within: Range) -> str:
    if within.since is None and within.until is None:
        return "from the beginning until now"
    since = f"from {within.since:%Y-%m-%d %H:%M:%S}" if within.since is not None else "from the beginning"
    until = f"to {within.until:%Y-%m-%d %H:%M:%S}" if within.until is not None else "until now"
    return f"{since} {until}, UTC"


def _about(figures: Figures, within: Range, settings: Settings, address: str) -> About:
    from audit_wrapper.report.page import About

    restricted = [
        (name, value)
        for name, value in (
            ("exchange", within.exchange),
            ("account", within.account),
            ("symbol", within.symbol),
            ("position", within.position),
        )
        if value is not None
    ]
    options = "".join(f" --{name} {shlex.quote(value)}" for name, value in restricted)
    for name, at in (("since", within.since), ("until", within.until or figures.database["at"])):
        options += f" --{name} {at:%Y-%m-%dT%H:%M:%S.%f}" if at is not None else ""
    accounts: dict[str, list[str]] = {}
    for row in figures.accounts:
        accounts.setdefault(str(row["account"]), []).append(str(row["exchange"]))
    return About(
        range=_range(within).capitalize(),
        made_from=[
            *((f"only {name}", value) for name, value in restricted),
            *((f"account {name}", ", ".join(exchanges)) for name, exchanges in accounts.items()),
            ("database", f"{address} (PostgreSQL {figures.database['version']}, bot's schema {settings.bot_schema})"),
            ("made", f"{figures.database['at']:%Y-%m-%d %H:%M:%S} UTC"),
            ("audit-wrapper", version("audit-wrapper")),
        ],
        command=f"{PROG} report{options} -o report.html",
        export={name: f"{PROG} export {name}{options} -o {name}.csv" for name in ("orders", "fills", "positions")}
        | {"questions": "SELECT * FROM audit.v_open_questions"},
    )


def _write(output: Path, page: str) -> None:
    """All of it or nothing: a file that was there stays as it is until the new one is complete."""
    handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.absolute().parent)
    made = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
        made.chmod(0o644 & ~_umask())
        made.replace(output)
    except BaseException:
        made.unlink(missing_ok=True)
        raise


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before
