"""What an exchange has told, order by order: an order's rows, its executions, and those of what it became."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from audit_wrapper.asking import Heard
from audit_wrapper.clients import ClientSubject
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.sighting import Sighting
from audit_wrapper.routing import same_symbol

_Row = Mapping[str, Any]
_Key = tuple[str, str]  # number space, id


class Told(NamedTuple):
    """All that was told of one order. `ids`: its own, and that of the order that it became."""

    ids: tuple[_Key, ...]
    symbol: str | None
    sightings: tuple[Sighting, ...]
    orders: tuple[_Row, ...]
    trades: tuple[_Row, ...]


class _One:
    def __init__(self) -> None:
        self.sightings: list[Sighting] = []
        self.orders: list[_Row] = []
        self.trades: list[_Row] = []
        self.rows: set[str] = set()


class Gathered:
    """What was heard from one exchange, sorted by order."""

    def __init__(self, subject: ClientSubject) -> None:
        self._subject = subject
        self._adapter = adapter_for(subject.exchange or "")
        self._by_id: dict[tuple[_Key, str], _One] = {}
        self._places: dict[_Key, list[tuple[_Key, str]]] = {}
        self._child_of: dict[tuple[_Key, str], tuple[_Key, str]] = {}
        self.payments: list[_Row] = []
        self.unasked: list[str] = []
        self.unread = False  # what is not here may be there
        self.again = False  # part of it failed, or got no turn: asking again may tell more

    def take(self, heard: Heard) -> None:
        """Sort in what was heard."""
        for row in heard.orders:
            self._take(row, is_order=True)
        for row in heard.trades:
            self._take(row, is_order=False)
        self.payments += heard.funding
        self.again = self.again or heard.again
        self.unread = self.unread or heard.unread or heard.again
        self.unasked += [why for why in heard.unasked if why not in self.unasked]

    @property
    def sightings(self) -> list[Sighting]:
        """Everything that was seen."""
        return [sighting for one in self._by_id.values() for sighting in one.sightings]

    def find(self, order_id: str, id_kind: str, symbol: str) -> Sighting | None:
        """The order itself under this id, as it was seen last."""
        for place in self._places.get((id_kind, order_id), ()):
            # Binance numbers its orders by symbol, its conditional ones over all
            if id_kind == "algo" or same_symbol(place[1], symbol):
                found = [one for one in self._by_id[place].sightings if one.state.order_status is not None]
                if found:
                    return found[-1]
        return None

    def orders(self) -> Iterable[Told]:
        """One entry for each order; what a conditional order became goes with it."""
        children: dict[tuple[_Key, str], list[tuple[_Key, str]]] = {}
        for child, parent in self._child_of.items():
            if child in self._by_id:
                children.setdefault(parent, []).append(child)
        taken = {child for found in children.values() for child in found}
        for place in self._by_id:
            if place in taken:
                continue
            places = [place, *children.get(place, [])]
            parts = [self._by_id[one] for one in places]
            yield Told(
                ids=tuple(key for key, _ in places),
                symbol=place[1] or None,
                sightings=tuple(sighting for part in parts for sighting in part.sightings),
                orders=tuple(row for part in parts for row in part.orders),
                trades=tuple(row for part in parts for row in part.trades),
            )

    def _take(self, row: _Row, *, is_order: bool) -> None:
        symbol = row.get("symbol")
        named = symbol if isinstance(symbol, str) else ""
        for sighting in self._adapter.sightings(row, self._subject.market(named, None)):
            order_id = sighting.state.exchange_order_id
            if order_id is None:
                continue
            spelled = sighting.state.symbol or named
            place = ((sighting.id_kind, order_id), spelled)
            if place not in self._by_id:
                self._places.setdefault(place[0], []).append(place)
            one = self._by_id.setdefault(place, _One())
            one.sightings.append(sighting)
            rows = one.orders if is_order else one.trades
            if (said := repr(row)) not in one.rows:
                one.rows.add(said)
                rows.append(row)
            if sighting.child_order_id is not None:
                self._child_of[(("order", sighting.child_order_id), spelled)] = place
