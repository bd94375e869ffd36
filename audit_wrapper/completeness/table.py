"""The statement as a person reads it: plain text of a given width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from audit_wrapper.completeness.words import count, digits, moment, words

if TYPE_CHECKING:
    from audit_wrapper.completeness.statement import Completeness, Finding, Question


def lines(of: Completeness, width: int, most: int) -> Iterator[str]:
    """`width`: columns of the terminal. `most`: how many of each kind are written out."""
    counts = of.counts
    yield f"{of.exchange}, account {of.account}"
    yield f"from {moment(of.since)} up to {moment(of.until)} UTC, as it stands now"
    yield ""
    yield from _wrapped(_verdict(of), width, "")
    yield ""
    yield f"{'':10}{'same':>10}{'missing':>10}{'extra':>10}{'different':>11}"
    for name in ("orders", "fills"):
        cells = [getattr(counts, f"{name}_{what}") for what in ("same", "missing", "extra", "different")]
        yield f"{name:10}{cells[0]:>10}{cells[1]:>10}{cells[2]:>10}{cells[3]:>11}"
    yield ""
    yield from _fee_lines(of)
    for payment in of.payments:
        yield from _wrapped(payment, width, "")
    for title, findings in (
        ("MISSING: at the exchange, not in the trail", of.missing),
        ("EXTRA: in the trail, not at the exchange", of.extra),
        ("DIFFERENT", of.different),
    ):
        yield from _section(title, [_finding_lines(one, width) for one in findings], most)
    questions = [_wrapped(f"{_name(q)}: {q.why} ({q.in_trail})", width, "  ") for q in of.open_questions]
    yield from _section("OPEN QUESTIONS", questions, most)
    yield from _section("NOT SHOWN by the exchange", [_wrapped(text, width, "  ") for text in of.unshown], most)
    yield from _section("NOT ASKED", [_wrapped(text, width, "  ") for text in of.unasked], most)


def _verdict(of: Completeness) -> str:
    if of.complete:
        return "COMPLETE: the trail has what the exchange has, in every field that both know."
    parts = [
        (len(of.missing), "missing"),
        (len(of.extra), "extra"),
        (len(of.different), "different"),
        (len(of.open_questions), "open questions"),
        (len(of.unshown), "not shown"),
        (len(of.unasked), "not asked"),
    ]
    said = ", ".join(f"{number} {what}" for number, what in parts if number)
    return (
        f"NOT COMPLETE, but nothing that could be compared differs: {said}." if of.agrees else f"NOT COMPLETE: {said}."
    )


def _fee_lines(of: Completeness) -> Iterator[str]:
    cells = [(fee.currency or "(not said)", digits(fee.at_exchange), digits(fee.in_trail)) for fee in of.fees]
    if cells:
        heads = ("fees", "at the exchange", "in the trail")
        wide = [max(len(row[column]) for row in (heads, *cells)) for column in range(3)]
        yield f"{heads[0]:{wide[0]}}  {heads[1]:>{wide[1]}}  {heads[2]:>{wide[2]}}"
        for fee, (name, one, other) in zip(of.fees, cells, strict=True):
            mark = "" if fee.at_exchange == fee.in_trail else "  not the same"
            yield f"{name:{wide[0]}}  {one:>{wide[1]}}  {other:>{wide[2]}}{mark}"
    for number, where in (
        (of.counts.without_fee_at_exchange, "at the exchange"),
        (of.counts.without_fee_in_trail, "in the trail"),
    ):
        if number:
            yield f"{count(number, 'fill')} without a known fee {where}"


def _section(title: str, entries: Sequence[Iterable[str]], most: int) -> Iterator[str]:
    if not entries:
        return
    yield ""
    yield f"{title} ({len(entries)})"
    for entry in entries[:most]:
        yield from entry
    if len(entries) > most:
        yield f"  and {len(entries) - most} more"


def _finding_lines(one: Finding, width: int) -> Iterator[str]:
    yield from _wrapped(words(_name(one), f"| {one.field}" if one.field else None), width, "  ")
    for where, text in (("exchange:", one.at_exchange), ("trail:", one.in_trail)):
        if one.field is not None or text is not None:
            yield from _wrapped(f"{where:10}{text if text is not None else 'not known'}", width, "      ")


def _name(one: Finding | Question) -> str:
    order = f"order {one.order_id}" if one.order_id else f"order without an id (key {one.order_key})"
    named = f"fill {one.trade_id} of {order}" if one.what == "fill" else order
    return words(one.symbol or "(symbol not said)", named)


def _wrapped(text: str, width: int, indent: str) -> Iterator[str]:
    # what comes from outside must not move the cursor of whoever reads it
    clean = "".join(char if char.isprintable() else "?" for char in text)
    yield from textwrap.wrap(
        clean,
        width,
        initial_indent=indent,
        subsequent_indent=indent + "    ",
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
