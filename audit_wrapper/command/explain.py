"""`audit-wrapper explain`: the whole story of a position or an order, on one screen."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
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
    """Tell the whole story of a position or an order: what was meant, sent, answered and filled, and what it came to.

    `after` is the time since the line before. Times are UTC; those of fills are by the exchange's clock.

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
            voice.say(f"  {one.name}  {plain(one.words)}; {place}; {one.at:%Y-%m-%d %H:%M:%S}")
        if len(candidates) > _MOST_SHOWN:
            voice.say(f"  and {len(candidates) - _MOST_SHOWN} more: say more of it")
        if len({one.name for one in candidates}) < len(candidates):
            voice.say("with --exchange, --account or --symbol")
        return WRONG
    if json:
        voice.show(json_module.dumps(_data(story), indent=2, ensure_ascii=False))
    else:
        for line in (*_header(story), None, *_timeline(story)):
            voice.show("" if line is None else painted(line))
    for words in story.incomplete:
        voice.say(words)
    return FINE


async def _read(settings: Any, what: str, **place: str | None) -> tuple[list[Any], Any]:
    from audit_wrapper.tables import Reader
    from audit_wrapper.tables.finding import find
    from audit_wrapper.tables.story import story

    async with Reader(settings) as reader, reader.snapshot(f"read of {what}") as con:
        sql = reader.queries("story.sql")
        found = await find(con, sql, what, **place)
        return found, await story(con, sql, found[0]) if len(found) == 1 else None


# -- the header


def _header(story: Any) -> Iterator[Any]:
    from rich.text import Text

    row = story.result.row or {}
    for words, style in (_of_position if story.meant.position_id is not None else _of_order)(story, row):
        yield Text(words, style=style)


def _of_position(story: Any, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    meant, first = story.meant, story.orders[0]
    side = row.get("side") or {"buy": "long", "sell": "short"}.get(_opening_side(story), "side not known")
    signal = next((one["signal_id"] for one in story.orders if one["signal_id"] is not None), None)
    said = f"position {meant.position_id}: {plain(first['symbol'])} {side} on {plain(meant.exchange)}, account {plain(meant.account)}"
    yield said + (f"; signal {signal}" if signal is not None else ""), "bold"
    if story.result.row is None:
        yield f"result, fees, slippage and time without a stop are not known: {story.result.why_not}", ""
        return
    ended = f"closed {plain(row['closed_at'])} UTC" if row["closed_at"] else "open"
    lasted = (
        f" after {_span(timedelta(seconds=float(row['seconds_open'])))}"
        if row.get("seconds_open") is not None and row["closed_at"]
        else ""
    )
    yield (
        (
            f"entry {_part(row['entry_quantity'], row['entry_price'])}; exit {_part(row['exit_quantity'], row['exit_price'])}; {ended}{lasted}"
        ),
        "",
    )
    unit = f" {row['currency']}" if row["currency"] else ""
    why = f" ({row['why_not']})" if row.get("why_not") else ""
    yield (
        (
            f"result {_money(row['net_result'], unit)} = {_money(row['gross_result'], unit)} by the prices - {_money(row['fees'], unit)} fees{why}"
        ),
        "bold",
    )
    yield (
        f"slippage {_money(row['slippage'], unit)} against the intended prices (entry {_average(row['intended_entry_price'])}, exit {_average(row['intended_exit_price'])})",
        "",
    )
    if row.get("fees_other"):
        yield f"fees in other currencies: {plain(row['fees_other'])}", ""
    yield _unprotected(story, row)


def _unprotected(story: Any, row: dict[str, Any]) -> tuple[str, str]:
    seconds = row.get("seconds_without_stop")
    if seconds is None:
        return "how long it stood without a stop is not known", ""
    if not seconds:
        return "it never stood without a stop", ""
    times = sum(1 for one in story.stops or () if one["has_stop"] is False)
    return (
        f"without a stop for {_span(timedelta(seconds=float(seconds)))}" + (f", {times} times" if times > 1 else ""),
        "bold red",
    )


def _of_order(story: Any, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    (order,) = story.orders
    name = order["order_id"] or "without an id"
    said = (
        f"order {plain(name)}: {plain(order['symbol'])} {plain(order['side'])} {plain(order['type'])} on "
        f"{plain(order['exchange'])}, account {plain(order['account'])}"
    )
    yield said, "bold"
    average = f" at {order['average_price']:f}" if order["average_price"] is not None else ""
    yield f"{order['status']}: {_known(order['filled'])} of {_known(order['size'])} filled{average}", "bold"
    if order["reason"]:
        yield f"because: {plain(order['reason'])}", ""
    paid = (
        f"{order['fee']:f} {order['fee_currency'] or ''}".rstrip()
        if order["fee"] is not None
        else f"{order['fee_status'] or 'not known'}"
    )
    slippage = row.get("slippage")
    yield (
        (
            f"fee {paid}; slippage "
            + (
                f"{slippage:f} against the intended {_known(row.get('intended_price'))}"
                if slippage is not None
                else f"not known ({story.result.why_not or 'no intended price'})"
            )
        ),
        "",
    )
    where = (
        f"of position {order['position_id']} (explain {order['position_id']})"
        if order["position_id"]
        else "of no position that is known"
    )
    found = f"; what became of it is known by {order['found_by']}" if order["found_by"] else ""
    yield f"key {order['order_key']}; {where}{found}", ""


def _opening_side(story: Any) -> str | None:
    return next((one["side"] for one in story.orders if one["purpose"] == "entry"), None)


def _part(quantity: Decimal | None, price: Decimal | None) -> str:
    if quantity is None:
        return "not known"
    return f"{quantity:f} at {_average(price)}" if quantity else "none"


def _average(price: Decimal | None) -> str:
    """A quotient, without the zeros that the division left behind."""
    text = _known(price)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _money(value: Decimal | None, unit: str) -> str:
    return "not known" if value is None else f"{value:f}{unit}"


def _known(value: Any) -> str:
    return "not known" if value is None else plain(value)


# -- the timeline


def _timeline(story: Any) -> Iterator[Any]:
    from rich.text import Text

    whats = [f"{step.role or ''} {step.what}".strip() for step in story.steps]
    width = max(map(len, [*whats, "what"]))
    afters = [
        "" if step.since_us is None else f"+{_span(timedelta(microseconds=step.since_us))}" for step in story.steps
    ]
    after = max(map(len, [*afters, "after"]))
    day = None
    for step, what, since in zip(story.steps, whats, afters, strict=True):
        if step.at.date() != day:
            day = step.at.date()
            yield Text(f"{day} (UTC)", style="bold")
        left = f"{step.at:%H:%M:%S}.{step.at.microsecond // 1000:03d}  {since.rjust(after)}  "
        took = f" ({_span(timedelta(microseconds=step.took_us))})" if step.took_us is not None else ""
        words = _folded(plain(step.words) + took, len(left) + width + 2)
        yield Text.assemble(left, (what.ljust(width), _STYLES.get(step.what, "")), "  ", words)


def _folded(words: str, indent: int) -> str:
    """In as many lines as the terminal needs, each below the other."""
    room = terminal_width() - indent
    if not sys.stdout.isatty() or room < _NARROWEST or len(words) <= room:
        return words
    import textwrap

    return f"\n{' ' * indent}".join(textwrap.wrap(words, room))


def _span(time: timedelta) -> str:
    """As people say it."""
    seconds = time.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if minutes < 120:
        return f"{minutes} min {int(seconds) % 60} s"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


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
