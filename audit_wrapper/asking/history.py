"""What happened in a range of time, window by window, oldest first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from itertools import groupby

from audit_wrapper.asking.facts import OVERLAP
from audit_wrapper.asking.families import Listing, Source
from audit_wrapper.asking.heard import Heard, Part, Row
from audit_wrapper.asking.requests import NotThere, Requests, Unheard
from audit_wrapper.asking.rows import key_of, same

_PARTS: tuple[Part, ...] = ("orders", "trades", "funding")


async def read(
    requests: Requests, listings: tuple[Listing, ...], since: datetime, until: datetime, now: datetime
) -> AsyncIterator[Heard]:
    """One `Heard` for each window of each listing. Ends early where asking ended, and says from when on."""
    if requests.unasked:
        yield requests.heard(since=since, until=until, parts=_PARTS)
    known: dict[int, dict[object, Row]] = {}  # of the window before, which this one overlaps
    numbered = sorted(enumerate(listings), key=lambda item: item[1].window)
    for window, group in groupby(numbered, key=lambda item: item[1].window):
        together = list(group)
        for start, end in windows(since, until, window):
            for number, listing in together:
                if requests.ended is not None:
                    requests.note(
                        f"everything from {_said(start)} on that is not covered yet", requests.ended, again=True
                    )
                    yield requests.heard(since=start, until=until, parts=_PARTS)
                    return
                known[number] = await _window(requests, listing, start, end, start > since, now, known.get(number, {}))
                yield requests.heard(since=start, until=end, symbols=listing.symbols, parts=listing.parts)


async def _window(
    requests: Requests,
    listing: Listing,
    start: datetime,
    end: datetime,
    overlaps: bool,
    now: datetime,
    before: dict[object, Row],
) -> dict[object, Row]:
    """Reads one window of one listing. The rows of the window before come again only where they changed since."""
    found: dict[object, Row] = {}

    def keep(part: Part, row: Row) -> None:
        key = (part, key_of(row))
        if key in found:
            return
        found[key] = row
        if key not in before or not same(before[key], row):
            {"orders": requests.orders, "trades": requests.trades, "funding": requests.funding}[part].append(row)

    for source in listing.sources:
        first = _first(requests, source, start - OVERLAP if overlaps else start, end, now)
        if first is None:
            continue
        if source.part == "orders" and listing.unfilled_for is not None and first < now - listing.unfilled_for:
            forgotten = min(now - listing.unfilled_for, end)
            days = listing.unfilled_for.days
            requests.note(
                f"{source.what} placed before {_said(forgotten)} that ended without a fill",
                f"the exchange forgets them after {days} day{'s' if days > 1 else ''}",
            )
        try:
            await source.fetch(
                requests, f"{source.what} from {_said(first)} to {_said(end)}", _ms(first), _ms(end), keep
            )
        except (Unheard, NotThere):
            continue  # said in `unasked`
    return found


def _first(requests: Requests, source: Source, start: datetime, end: datetime, now: datetime) -> datetime | None:
    """The earliest moment of the window that the exchange still remembers; None: it has forgotten all of it."""
    if source.reach.back is None or start >= now - source.reach.back:
        return start
    remembered = now - source.reach.back
    requests.note(
        f"{source.what} from {_said(start)} to {_said(min(end, remembered))}",
        f"the exchange keeps them for {source.reach.back.days} days",
    )
    return remembered if remembered < end else None


def windows(since: datetime, until: datetime, length: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """The windows of a range, oldest first."""
    start = since
    while start < until:
        end = min(start + length, until)
        yield start, end
        start = end


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
