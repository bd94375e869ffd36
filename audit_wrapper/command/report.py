"""`audit-wrapper report`: one page with everything, to look at, to send, to print."""

from __future__ import annotations

import importlib.util
import shlex
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audit_wrapper.command import options
from audit_wrapper.command.codes import FINE, PROG, WRONG
from audit_wrapper.command.placing import placed
from audit_wrapper.command.running import run
from audit_wrapper.command.voice import Voice
from audit_wrapper.settings import Settings
from audit_wrapper.tables.figures import Figures, Range, read_figures
from audit_wrapper.tables.reader import Reader

if TYPE_CHECKING:
    from audit_wrapper.report.page import About

_NEEDED = ("jinja2", "plotly")
ROWS = 5_000  # of a long table; a browser sorts so many at once, and a file of them can still be sent
_GAPS = 20

Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the page goes: report.html.")]


def report(
    output: Output,
    since: options.Since = None,
    until: options.Until = None,
    exchange: options.Exchange = None,
    account: options.Account = None,
    symbol: options.Symbol = None,
    position: options.Position = None,
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
) -> int:
    """One page to look at, to send, to print: results and costs, equity, stops, latency, orders, open questions.

    Its positions are those that were closed between --since and --until, or still open at --until; these have no result yet.

    Needs jinja2 and plotly: pip install "audit-wrapper[report]". The file has some 5 MB, nearly all of it the library that draws
    the charts: the page needs no network when it is opened.

    \b
    Examples:
      audit-wrapper report --since 7d -o report.html
      audit-wrapper report --since 2026-01-01 --until 2026-02-01 --exchange bybit -o january.html
    """
    voice = Voice()
    _check(output, since, until)
    from audit_wrapper.report.page import render

    within = Range(since=since, until=until, exchange=exchange, account=account, symbol=symbol, position=position)
    settings = options.settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    figures, address = run(_read(settings, within), "broken off; no page was written")
    if figures.is_empty:
        voice.say(f"{PROG} report: {_nothing(figures, within)}")
        return WRONG
    page = render(figures, _about(figures, within, settings, address))
    content = page.encode()
    with placed(output) as file:
        file.write(content)
    voice.say(f"{output}: {len(content) / 1e6:.1f} MB; open it in a browser")
    return FINE


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("report")(report)


def _check(output: Path, since: datetime | None, until: datetime | None) -> None:
    """Before anything is asked. Raises typer.BadParameter."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise typer.BadParameter(f'{" and ".join(missing)} not installed: pip install "audit-wrapper[report]"')
    if str(output) == "-":
        raise typer.BadParameter("a page of 5 MB is not for a terminal: name a file, -o report.html")
    try:
        is_dir, has_parent = output.is_dir(), output.absolute().parent.is_dir()
    except OSError as refused:
        raise typer.BadParameter(f"{output} cannot be written: {refused.strerror or refused}") from None
    if is_dir:
        raise typer.BadParameter(f"{output} is a folder: name a file in it, -o {output / 'report.html'}")
    if not has_parent:
        raise typer.BadParameter(f"there is no folder {output.absolute().parent}: make it first, or name another file")
    if since is not None and since >= (until or datetime.now(UTC)):
        ends = until.isoformat() if until is not None else "now"
        raise typer.BadParameter(f"the range ends ({ends}) before it begins ({since.isoformat()})")


async def _read(settings: Settings, within: Range) -> tuple[Figures, str]:
    async with Reader(settings) as reader:
        return await read_figures(reader, within, rows=ROWS, gaps=_GAPS), reader.address


def _nothing(figures: Figures, within: Range) -> str:
    of = "".join(f" of {name} {value}" for name, value in _restricted(within))
    if figures.first_at is None or figures.last_at is None:
        return f"there is nothing{of} in the trail" if of else "the trail is empty: no order has been recorded yet"
    return (
        f"nothing{of} happened {_range(within)}; the trail has orders{of} from {figures.first_at:%Y-%m-%d %H:%M} to "
        f"{figures.last_at:%Y-%m-%d %H:%M} UTC"
    )


def _restricted(within: Range) -> list[tuple[str, str]]:
    names = ("exchange", "account", "symbol", "position")
    return [(name, value) for name in names if (value := getattr(within, name)) is not None]


def _range(within: Range) -> str:
    if within.since is None and within.until is None:
        return "from the beginning until now"
    since = f"from {within.since:%Y-%m-%d %H:%M:%S}" if within.since is not None else "from the beginning"
    until = f"to {within.until:%Y-%m-%d %H:%M:%S}" if within.until is not None else "until now"
    return f"{since} {until}, UTC"


def _about(figures: Figures, within: Range, settings: Settings, address: str) -> About:
    from audit_wrapper.report.page import About

    restricted = _restricted(within)
    given = "".join(f" --{name} {shlex.quote(value)}" for name, value in restricted)
    for name, at in (("since", within.since), ("until", within.until or figures.database["at"])):
        given += f" --{name} {at:%Y-%m-%dT%H:%M:%S.%f}" if at is not None else ""
    accounts: dict[str, list[str]] = {}
    for row in figures.accounts:
        accounts.setdefault(str(row["account"]), []).append(str(row["exchange"]))
    return About(
        range=f"F{_range(within)[1:]}",  # from ...
        made_from=[
            *((f"only {name}", value) for name, value in restricted),
            *((f"account {name}", ", ".join(exchanges)) for name, exchanges in accounts.items()),
            ("database", f"{address} (PostgreSQL {figures.database['version']}, bot's schema {settings.bot_schema})"),
            ("made", f"{figures.database['at']:%Y-%m-%d %H:%M:%S} UTC"),
            ("audit-wrapper", version("audit-wrapper")),
        ],
        command=f"{PROG} report{given} -o report.html",
        export={name: f"{PROG} export {name}{given} -o {name}.csv" for name in ("orders", "fills", "positions")}
        | {"questions": "SELECT * FROM audit.v_open_questions"},
    )
