"""`audit-wrapper explain`: the whole story of a position or an order, on one screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

import typer

from audit_wrapper.command import looking, options
from audit_wrapper.command.codes import FINE, WRONG
from audit_wrapper.command.running import run
from audit_wrapper.command.table import painted, plain, terminal_width
from audit_wrapper.command.voice import Voice

_STYLES = {
    "signal": "bold",
    "call": "bold",
    "sent": "cyan",
    "filled": "bold green",
    "fired": "bold yellow",
    "answered": "green",
    "placed": "green",
    "moved": "green",
    "refused": "red",
    "raised": "red",
    "not sent": "yellow",
    "no answer": "bold magenta",
    "unexplained": "bold magenta",
    "no stop": "bold red",
    "found": "blue",
    "observed": "blue",
    "closed": "bold",
}
_MOST_SHOWN = 20
_NARROWEST = 30  # words below this width are of no use to anybody

Named = Annotated[
    str,
    typer.Argument(
        metavar="ORDER_OR_POSITION",
        help="The position's id, the exchange's or the client's order id, an order's key, or 8 and more characters of its "
        "beginning. position:55 and order:55 say which.",
    ),
]


def explain(
    what: Named,
    exchange: options.Exchange = None,
    symbol: options.Symbol = None,
    account: looking.AnyAccount = None,
    json: options.Json = False,
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
) -> int:
    """Tell the whole story of a position or an order.

    What was meant, sent, answered and filled, and what it came to. The second column is the time since the line before. Times are UTC; those of fills are by the exchange's clock.

    \b
    Examples:
      audit-wrapper explain 55
      audit-wrapper explain 01a2078d-934b --json
      audit-wrapper explain 2146762 --exchange binance
    """
    voice = Voice()
    settings = options.settings_of(dsn=dsn, journal=journal, bot_schema=bot_schema)
    candidates, story = run(_read(settings, what, account=account, exchange=exchange, symbol=symbol))
    if story is None:
        voice.say(f"{what!r} may mean one of {len(candidates)}; say which:")
        for one in candidates[:_MOST_SHOWN]:
            place = f"{plain(one.exchange)} {plain(one.symbol)}, account {plain(one.account)}"
            voice.say(f"  {plain(one.name)}  {plain(one.words)}; {place}; {one.at:%Y-%m-%d %H:%M:%S}")
        if len(candidates) > _MOST_SHOWN:
            voice.say(f"  and {len(candidates) - _MOST_SHOWN} more: say more of it")
        if len({one.name for one in candidates}) < len(candidates):
            voice.say("with --exchange, --account or --symbol")
        return WRONG
    if json:
        voice.show_json(_data(story))
    else:
        from audit_wrapper.command.headline import header

        for line in (*header(story), None, *_timeline(story)):
            voice.show("" if line is None else painted(line))
    for words in story.incomplete:
        voice.say(words)
    return FINE


async def _read(settings: Any, what: str, **place: str | None) -> tuple[list[Any], Any]:
    from audit_wrapper.tables import Reader
    from audit_wrapper.tables.finding import find
    from audit_wrapper.tables.story import story

    async with Reader(settings) as reader, reader.snapshot("read the story") as con:
        sql = reader.queries("story.sql")
        found = await find(con, sql, what, **place)
        return found, await story(con, sql, found[0]) if len(found) == 1 else None


# -- the timeline


def _timeline(story: Any) -> Iterator[Any]:
    from rich.text import Text

    from audit_wrapper.tables.telling import span

    whats = [f"{step.role or ''} {step.what}".strip() for step in story.steps]
    width = max(map(len, [*whats, "what"]))
    afters = [
        "" if step.since_us is None else f"+{span(timedelta(microseconds=step.since_us))}" for step in story.steps
    ]
    after = max(map(len, [*afters, "after"]))
    day = None
    for step, what, since in zip(story.steps, whats, afters, strict=True):
        if step.at.date() != day:
            day = step.at.date()
            yield Text(f"{day} (UTC)", style="bold")
        left = f"{step.at:%H:%M:%S}.{step.at.microsecond // 1000:03d}  {since.rjust(after)}  "
        took = f" ({span(timedelta(microseconds=step.took_us))})" if step.took_us is not None else ""
        words = _folded(plain(step.words) + took, len(left) + width + 2)
        yield Text.assemble(left, (what.ljust(width), _STYLES.get(step.what, "")), "  ", words)


def _folded(words: str, indent: int) -> str:
    """In as many lines as the terminal needs, each below the other."""
    room = terminal_width() - indent
    if not sys.stdout.isatty() or room < _NARROWEST or len(words) <= room:
        return words
    import textwrap

    return f"\n{' ' * indent}".join(textwrap.wrap(words, room))


# -- for programs


def _data(story: Any) -> dict[str, Any]:
    import msgspec

    from audit_wrapper.tables.values import data_of

    def rows(found: Any) -> Any:
        return None if found is None else [data_of(row) for row in found]

    return {
        "meant": msgspec.to_builtins(story.meant),
        "result": data_of(story.result.row) if story.result.row is not None else None,
        "why_not": story.result.why_not,
        "stops": rows(story.stops),
        "orders": rows(story.orders),
        "fills": rows(story.fills),
        "steps": msgspec.to_builtins(story.steps),
        "incomplete": list(story.incomplete),
    }


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("explain")(explain)
