"""What the exchange says by itself, handed in by the bot: messages of its user stream, ccxt.pro's orders and trades."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from audit_wrapper.clients import ClientSubject
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.sightings import readable
from audit_wrapper.failures import Failures
from audit_wrapper.recorder import Recorder
from audit_wrapper.records import Call, RecordKind, Seam
from audit_wrapper.snapshot import snapshot

_REMEMBERED = 10_000


class Pushed:
    """Records messages, each once for as long as it is remembered."""

    def __init__(self, recorder: Recorder, failures: Failures) -> None:
        self._recorder = recorder
        self._failures = failures
        self._seen: dict[int, None] = {}

    def take(self, exchange: str, message: Any, subject: ClientSubject | None) -> bool:
        """Record what it tells of orders and payments. False: part of it could not be read, which is counted."""
        try:
            return self._take(exchange, message, subject)
        except Exception as problem:  # whatever was handed in: the bot's own work goes on
            self._failures.note("reading what the exchange pushed", problem)
            return False

    def _take(self, exchange: str, message: Any, subject: ClientSubject | None) -> bool:
        understood = True
        adapter = adapter_for(exchange)
        for part in _parts(message):
            if not adapter.understands(part):
                understood = False
                self._failures.note("reading what the exchange pushed", f"{exchange}: {_shape(part)} is not known here")
            seen = adapter.sightings(part)
            if not seen and not adapter.payments(part) and adapter.understands(part):
                continue  # a message that speaks of no order
            mark = hash((exchange, bytes(snapshot(part))))
            if mark in self._seen:
                continue
            self._seen[mark] = None
            if len(self._seen) > _REMEMBERED:
                del self._seen[next(iter(self._seen))]
            symbols = {sighting.state.symbol for sighting in seen}
            market = None
            if subject is not None and len(symbols) == 1:
                market = subject.market(next(iter(symbols)), {"category": _category(part)})
            call = Call(seam=Seam.USER, target=exchange, method="observe")
            self._recorder.told(RecordKind.OBSERVED, exchange, call, part, market=market)
        return understood


def _parts(message: Any) -> Iterator[Any]:
    if isinstance(message, list | tuple):
        for part in message:
            yield from _parts(part)
    else:
        yield message


def _category(part: Any) -> str | None:
    """The kind of market a message is of, as ccxt's markets call it; a spot market may be spelled as a contract is."""
    shown = readable(part)
    if not isinstance(shown, dict):
        return None
    data = shown.get("data", shown.get("info", shown))
    row = data[0] if isinstance(data, list) and data else data
    if not isinstance(row, dict):
        return None
    said = row.get("category")
    if isinstance(said, str):
        return said
    return {"executionReport": "spot", "ORDER_TRADE_UPDATE": "contract", "ALGO_UPDATE": "contract"}.get(
        str(row.get("e"))
    )


def _shape(part: Any) -> str:
    if isinstance(part, Mapping):
        return f"a message with {', '.join(map(str, list(part)[:8]))}"
    return f"a {type(part).__name__}"
