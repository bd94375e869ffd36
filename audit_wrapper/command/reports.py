"""The three commands: what is asked of the trail, how it is shown, and with which code it ends."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec

from audit_wrapper.backfill import BackfillProgress
from audit_wrapper.command.arguments import DIFFERS, FINE
from audit_wrapper.command.voice import Voice
from audit_wrapper.trail import AuditTrail


class Unreachable(Exception):
    """The exchange answered nothing at all."""


async def _reconcile(trail: AuditTrail, client: Any, wanted: argparse.Namespace, voice: Voice) -> int:
    report = await trail.reconcile(wanted.since, wanted.until, exchange=wanted.exchange)
    _check_heard(client, report.unanswered)
    complete = not (report.unanswered or report.unsettled)
    if wanted.json:
        voice.show(_json(wanted, complete, report))
    else:
        voice.show(
            f"asked about {report.asked} orders one by one, {report.answered} answered; something new was written down of "
            f"{report.recorded} orders"
        )
        _show_list(voice, "SETTLED", report.found)
        _show_list(voice, "NOT SETTLED YET", report.unsettled)
        _show_list(voice, "NOT ASKED, OR NOT ANSWERED", report.unanswered)
    return FINE if complete else DIFFERS


async def _completeness(trail: AuditTrail, client: Any, wanted: argparse.Namespace, voice: Voice) -> int:
    statement = await trail.completeness(wanted.since, wanted.until, exchange=wanted.exchange)
    _check_heard(client, statement.unasked)
    if wanted.json:
        voice.show(statement.as_json())
    else:
        voice.show(statement.table(width=shutil.get_terminal_size((100, 24)).columns))
    return FINE if statement.complete else DIFFERS


async def _backfill(trail: AuditTrail, client: Any, wanted: argparse.Namespace, voice: Voice) -> int:
    took: deque[float] = deque(maxlen=5)  # the last parts only: those that an earlier run has read take no time
    began = time.monotonic()

    def progress(done: BackfillProgress) -> None:
        nonlocal began
        took.append(time.monotonic() - began)
        began = time.monotonic()
        left = (done.parts - done.parts_done) * sum(took) / len(took)
        rest = f", about {_duration(left)} left" if done.parts_done < done.parts else ""
        voice.say(
            f"part {done.parts_done} of {done.parts}, up to {done.until:%Y-%m-%d}: {done.recorded} orders so far{rest}"
        )

    report = await trail.backfill(
        wanted.since, wanted.until, exchange=wanted.exchange, symbols=wanted.symbol, progress=progress
    )
    _check_heard(client, report.unasked)
    if wanted.json:
        voice.show(_json(wanted, not report.unasked, report))
    else:
        voice.show(
            f"something new was written down of {report.recorded} orders, {report.linked} were linked to a position; "
            f"{report.parts} parts, {report.skipped} of them read by an earlier run"
        )
        _show_list(voice, "NOT READ", report.unasked)
    return DIFFERS if report.unasked else FINE


COMMANDS: dict[str, Callable[[AuditTrail, Any, argparse.Namespace, Voice], Awaitable[int]]] = {
    "reconcile": _reconcile,
    "completeness": _completeness,
    "backfill": _backfill,
}


def _check_heard(client: Any, unasked: Sequence[str]) -> None:
    """Raises Unreachable if the exchange never answered; ccxt keeps the last answer."""
    answers = ("last_http_response", "last_response_headers")  # None: none yet; a client that is no ccxt has neither
    if unasked and all(getattr(client, name, "") is None for name in answers):
        raise Unreachable(unasked[-1])


def _json(wanted: argparse.Namespace, complete: bool, report: msgspec.Struct) -> str:
    return json.dumps(
        {"complete": complete, "exchange": wanted.exchange, **msgspec.to_builtins(report)}, indent=2, ensure_ascii=False
    )


def _show_list(voice: Voice, title: str, sentences: Iterable[str]) -> None:
    lines = list(sentences)
    if lines:
        voice.show("\n".join([f"\n{title} ({len(lines)})", *(f"  {line}" for line in lines)]))


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
