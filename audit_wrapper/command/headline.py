"""The first lines of a story: what it is about, and what it came to. What is not known says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from audit_wrapper.command.table import plain
from audit_wrapper.tables.telling import span
from audit_wrapper.tables.values import amounts

# how the causes in why_not of audit.v_positions begin that are of one figure alone
_OF_SLIPPAGE, _OF_FEES = "no price was meant", "a fee is not known"


def header(story: Any) -> Iterator[Any]:
    """Lines of rich Text."""
    from rich.text import Text

    told = _of_position(story) if story.meant.position_id is not None else _of_order(story)
    for words, style in told:
        yield Text(plain(words), style=style)


def _of_position(story: Any) -> Iterator[tuple[str, str]]:
    meant, row, why = story.meant, story.result.row, story.result.why_not
    opening = next((one["side"] for one in story.orders if one["purpose"] == "entry"), "")
    side = (row or {}).get("side") or {"buy": "long", "sell": "short"}.get(opening, "(side not known)")
    signal = next((f"; signal {one['signal_id']}" for one in story.orders if one["signal_id"] is not None), "")
    yield (
        f"position {meant.position_id}: {plain(meant.symbol)} {side} on {plain(meant.exchange)}, account "
        f"{plain(meant.account)}{signal}",
        "bold",
    )
    if row is None:
        yield f"result, fees, slippage and time without a stop are not known: {why}", ""
        return
    yield (
        f"entry {_part(row['entry_quantity'], row['entry_price'])}; exit {_part(row['exit_quantity'], row['exit_price'])}; "
        f"{_ended(row)}",
        "",
    )
    unit = f" {row['currency']}" if row["currency"] else ""
    yield _result(row, unit, why), "bold"
    yield _slippage(row, unit, why), ""
    if others := amounts(row.get("fees_other")):
        yield f"fees in other currencies: {', '.join(f'{fee:f} {plain(coin)}' for coin, fee in others.items())}", ""
    yield _unprotected(story, row["seconds_without_stop"])


def _ended(row: Mapping[str, Any]) -> str:
    if row["closed_at"] is not None:
        return f"closed {plain(row['closed_at'])} UTC after {span(row['closed_at'] - row['opened_at'])}"
    return {True: "open", False: "closed, when is not known"}.get(row["is_open"], "whether it is open is not known")


def _result(row: Mapping[str, Any], unit: str, why: str | None) -> str:
    fees = f"fees {_money(row['fees'], unit)}"
    if row["net_result"] is not None:
        return f"result {row['net_result']:f}{unit} = {_money(row['gross_result'], unit)} by the prices, less {fees}"
    causes = _causes(why, but=_OF_SLIPPAGE)
    if row["gross_result"] is not None:
        return f"result {row['gross_result']:f}{unit} by the prices; less fees it is not known: {causes}"
    return f"result not known: {causes}; {fees}"


def _slippage(row: Mapping[str, Any], unit: str, why: str | None) -> str:
    entry, exit_ = row["intended_entry_price"], row["intended_exit_price"]
    if row["slippage"] is not None:
        meant_at = f"{_average(entry)} in, {_average(exit_)} out"
        return f"slippage {row['slippage']:f}{unit} against the prices that were meant: {meant_at}"
    parts = [
        f"of the {name} it is {row[f'{name}_slippage']:f}{unit}, meant at {_average(price)}"
        for name, price in (("entry", entry), ("exit", exit_))
        if row[f"{name}_slippage"] is not None
    ]
    return "; ".join([f"slippage not known: {_causes(why, but=_OF_FEES)}", *parts])


def _causes(why: str | None, *, but: str) -> str:
    """The causes of one figure: the view names those of all figures of the position, one after the other."""
    causes = [cause for cause in (why or "").split("; ") if cause and not cause.startswith(but)]
    return "; ".join(causes) or "nobody says why"


def _unprotected(story: Any, seconds: Decimal | None) -> tuple[str, str]:
    if seconds is None:
        return "how long it stood without a stop is not known: whether a stop stood there is not", ""
    if not seconds:
        return "it never stood without a stop", ""
    times = sum(1 for one in story.stops or () if one["has_stop"] is False)
    lasted = span(timedelta(microseconds=int(seconds * 1_000_000)))
    return f"without a stop for {lasted}" + (f", {times} times" if times > 1 else ""), "bold red"


def _of_order(story: Any) -> Iterator[tuple[str, str]]:
    (order,) = story.orders
    yield (
        f"order {plain(order['order_id'] or 'without an id')}: {plain(order['symbol'])} {plain(order['side'])} "
        f"{plain(order['type'])} on {plain(order['exchange'])}, account {plain(order['account'])}",
        "bold",
    )
    average = f" at {order['average_price']:f}" if order["average_price"] is not None else ""
    size = "the whole position" if order["size"] is None and order["purpose"] == "stop_loss" else _known(order["size"])
    yield f"{order['status']}: {_known(order['filled'])} of {size} filled{average}", "bold"
    if order["reason"]:
        yield f"because: {plain(order['reason'])}", ""
    fee = (
        f"{order['fee']:f} {order['fee_currency'] or ''}".rstrip()
        if order["fee"] is not None
        else str(order["fee_status"] or "not known").replace("_", " ")
    )
    row = story.result.row or {}
    slippage = (
        f"{row['slippage']:f} against the intended {_known(row['intended_price'])}"
        if row.get("slippage") is not None
        else f"not known ({story.result.why_not})"
    )
    yield f"fee {fee}; slippage {slippage}", ""
    position = order["position_id"]
    of = (
        f"of position {plain(position)} (explain position:{plain(position)})"
        if position
        else "of no position that is known"
    )
    found = f"; what became of it is known by {order['found_by']}" if order["found_by"] else ""
    yield f"key {order['order_key']}; {of}{found}", ""


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
