"""How the quickstart puts things on the screen, with rich. 120 columns, readable without colours and when piped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from audit_wrapper import codec
from audit_wrapper.exchanges import adapter_for

WIDTH = 120
console = Console(width=None if Console().is_terminal else WIDTH, highlight=False)

COLOURS = {
    "FILLED": "green",
    "PARTIALLY_FILLED": "yellow",
    "NEW": "cyan",
    "CANCELED": "bright_black",
    "MODIFIED": "bright_black",
    "EXPIRED": "bright_black",
    "REJECTED": "red",
    "UNKNOWN": "bold magenta",
}
EXCHANGE_COLOURS = {"binance": "yellow", "bybit": "blue"}
MEANT, SENT, FILLED, ANSWERED, ASKED = range(5)  # the order of lines of one moment
TOLD = ("side", "type", "orderType", "quantity", "qty", "price", "triggerPrice", "stopLoss", "takeProfit", "algoId")


def title() -> None:
    """What is about to be seen."""
    console.print(
        Panel(
            "A bot trades a day on simulated Binance and Bybit. One line wraps its exchanges:\n\n"
            "    [bold]exchanges = trail.wrap(exchanges)[/]\n\n"
            "Its tables [bold]monitoring.orders[/] and [bold]monitoring.trades[/] are empty in the morning. In the evening "
            "they hold everything\nthat was sent and what became of it, as the exchanges tell it.",
            title="audit_wrapper",
            width=min(WIDTH, console.width),
        )
    )


@contextmanager
def waiting(doing: str) -> Iterator[None]:
    """A spinner, on a terminal."""
    with console.status(doing):
        yield


@contextmanager
def step(exchange: str, symbol: str, what: str) -> Iterator[Callable[[str], None]]:
    """One thing that happens on the day, printed when it is done. Yields a function to add a remark."""
    remarks: list[str] = []
    with console.status(f"{exchange} {symbol}: {what}"):
        yield remarks.append
    console.print(Text.assemble((f"  {exchange:8}", EXCHANGE_COLOURS[exchange]), (f"{symbol:20}", "bold"), what))
    for remark in remarks:
        console.print(Text(f"{'':30}{remark}", style="italic"))


def orders(rows: Iterable[Mapping[str, Any]]) -> None:
    """`monitoring.orders`."""
    table = _table("monitoring.orders", "pos exchange symbol order_id type side size> price> status filled> fee> cur")
    for row in rows:
        table.add_row(
            row["position_id"] or "",
            row["exchange"],
            _short(row["symbol"], 11),
            _short(row["order_id"], 8),
            _short(row["type"], 11),
            row["side"],
            _number(row["size"]),
            _number(row["price"]),
            _status(row["status"]),
            _number(row["filled"]),
            *_money(row),
        )
    console.print(table)
    for reason in sorted({row["reason"] for row in rows if row["status"] in ("REJECTED", "UNKNOWN")}):
        statuses = {row["status"] for row in rows if row["reason"] == reason}
        console.print(Text.assemble("  ", _status(" ".join(statuses)), f": {reason}"))


def trades(rows: Iterable[Mapping[str, Any]]) -> None:
    """`monitoring.trades`."""
    names = "pos signal exchange symbol purpose side quantity> executed_qty> average_price> fee> cur executed_at"
    table = _table("monitoring.trades", names)
    for row in rows:
        table.add_row(
            row["position_id"] or "",
            str(row["signal_id"] or ""),
            row["exchange"],
            _short(row["symbol"], 11),
            row["purpose"] or "",
            row["side"],
            _number(row["quantity"]),
            _number(row["executed_qty"]),
            _number(row["average_price"]),
            *_money(row),
            f"{row['executed_at']:%H:%M:%S.%f}"[:-3],
        )
    console.print(table)


async def story(store: Any, position_id: str, fills: Iterable[Mapping[str, Any]]) -> None:
    """One position from the first call to the last, out of the records themselves."""
    rows = await store.orders_of_position(position_id)
    records = {}
    for row in rows:
        for event in await store.order_history(row["order_key"]):
            records[event.record.record_id] = event.record
    for operation in {r.operation.correlation_id for r in records.values() if r.operation}:
        for event in await store.events(correlation_id=operation):
            record = codec.decode(event["body"].encode())
            records[record.record_id] = record
    sent_at = {row["order_key"]: row["created_at"].replace(tzinfo=UTC) for row in rows}
    lines = [line for record in sorted(records.values(), key=lambda r: r.record_id) for line in _told(record)]
    lines = list({line[4] if line[1] == ASKED else index: line for index, line in enumerate(lines)}.values())
    lines += [_fill_told(fill, sent_at[fill["order_key"]]) for fill in fills if fill["order_key"] in sent_at]
    lines.sort(key=lambda line: line[:2])
    table = _table(f"The story of position {position_id}: {rows[0]['symbol']} on {rows[0]['exchange']}", "after> what")
    table.add_column("", overflow="fold")
    for moment, _, word, style, text in lines:
        table.add_row(f"{(moment - lines[0][0]).total_seconds() * 1000:.0f} ms", Text(word, style=style), text)
    console.print(table)


def status(now: Any, asked: Any) -> None:
    """Whether the trail itself is well."""
    well = "nothing failed" if not now.failures else f"failures: {now.failures}"
    console.print(
        f"\n[bold]status[/]      {now.recorded} records made, {now.delivered_seq} of {now.durable_seq} delivered "
        f"(lag {now.lag}), {now.quarantined} in quarantine, {well}; store: {now.store}"
    )
    console.print(
        f"[bold]reconcile[/]   asked about {asked.asked} orders, {asked.answered} answered; of {asked.recorded} it had news"
    )
    for sentence in asked.found:
        console.print(Text(f"            {sentence}"))


def completeness(statements: Iterable[Any]) -> None:
    """What `trail.completeness` says of each exchange, in a line."""
    for one in statements:
        said = "complete" if one.complete else "NOT COMPLETE"
        console.print(
            f"[bold]complete?[/]   {one.exchange}, by its own lists: {one.counts.orders_same} orders and {one.counts.fills_same} "
            f"fills the same, {len(one.missing)} missing, {len(one.extra)} extra, {len(one.different)} different: {said}"
        )


def comparison(results: Iterable[Any]) -> None:
    """The trail beside the ledgers."""
    for one in results:
        console.print(
            f"[bold]compare[/]     {one.exchange}: the exchange's own ledger says {one.ledger_orders} orders, the trail has "
            f"{one.trail_orders}; executions {one.ledger_fills} and {one.trail_fills}"
        )
        for difference in one.differences:
            console.print(Text(f"            {difference}", style="red"))
        if not one.differences:
            console.print("            status, filled, average price, fees: equal to the last digit")


# -- the story's lines: (when, rank among those of the same moment, word, style, text)


def _told(record: Any) -> Iterator[tuple[datetime, int, str, str, Any]]:
    kind, call = record.kind.value, record.call
    if kind == "reported" and record.operation and call.method == record.operation.method:
        given = ", ".join(f"{name}={value}" for name, value in call.arguments.items())
        yield record.called_at, MEANT, "the bot calls", "bold", Text(f"{call.method}({given})", style="bold")
    elif kind == "intent" and record.request:
        sent = " ".join(f"{n}={v}" for n, v in _params(record.request.params).items() if n in TOLD)
        yield record.called_at, SENT, "  sent", "cyan", f"{record.request.method} {record.request.path}  {sent}"
    elif kind == "acknowledged":
        yield record.answered_at, ANSWERED, "  answered", "green", _answer(record)
    elif kind in ("rejected", "outcome_unknown", "not_sent"):
        words = record.failure.message if record.failure else record.reason
        yield record.answered_at, ANSWERED, f"  {kind}", "red", words or ""
    elif kind == "reconciled":
        for order in record.result["orders"]:
            state, trades = adapter_for(record.exchange).order_state(order), len(record.result["trades"])
            text = f"order {state.exchange_order_id}: {state.order_status}, {trades} executions"
            yield record.answered_at, ASKED, "asked later", "blue", text


def _answer(record: Any) -> str:
    if record.action.value == "cancel_all":
        return "all open orders of the symbol canceled"
    state = adapter_for(record.exchange).order_state(record.result if isinstance(record.result, dict) else {})
    known = state.order_status or ("CANCELED" if record.action.value == "cancel" else "taken")
    replaced = f", in place of {record.replaces[0].partition(':')[2]}" if record.replaces else ""
    return f"order {state.exchange_order_id}: {known}{replaced}"


def _fill_told(fill: Mapping[str, Any], sent_at: datetime) -> tuple[datetime, int, str, str, str]:
    fee = f"{_number(fill['fee'])} {fill['fee_currency']}"
    text = f"{fill['side']} {_number(fill['quantity'])} at {_number(fill['price'])}, fee {fee}, {fill['liquidity']}"
    moment = max(fill["exchange_at"], sent_at)  # an exchange's clock counts whole milliseconds
    return moment, FILLED, "  filled", "bold green", text


def _params(text: Any) -> dict[str, Any]:
    if not isinstance(text, str):
        return {}
    return dict(json.loads(text)) if text.startswith("{") else dict(parse_qsl(text))


# -- cells


def _table(caption: str, columns: str) -> Table:
    console.print(f"\n[bold]{caption}[/]")
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns.split():  # "size>": numbers, to the right
        table.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left", no_wrap=True)
    return table


def _number(value: Any) -> str:
    return "" if value is None else f"{value:f}"


def _money(row: Mapping[str, Any]) -> tuple[str, str]:
    if row["fee"] is None:
        return ("" if row["fee_status"] == "none_due" else str(row["fee_status"])), ""
    return f"{row['fee']:f}", row["fee_currency"]


def _short(text: str | None, width: int) -> str:
    if text is None:
        return "-"
    return text if len(text) <= width else "…" + text[-(width - 1) :]


def _status(word: str) -> Text:
    return Text(word, style=COLOURS.get(word, ""))
