"""Asking one exchange: about one order, what is open, what happened, which symbols were traded."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from audit_wrapper.asking import history
from audit_wrapper.asking.binance import Binance
from audit_wrapper.asking.bybit import Bybit
from audit_wrapper.asking.families import Family, Wanted
from audit_wrapper.asking.generic import Generic
from audit_wrapper.asking.heard import Heard
from audit_wrapper.asking.pace import Pace
from audit_wrapper.asking.requests import Requests, Standing
from audit_wrapper.asking.rows import key_of


class Asker:
    """Asks one exchange through the user's own client, asynchronous or not.

    `patience_s`: how long one request may wait for its turn (None: for ever). `look_away` is entered around every use of
    the client. `now` is the clock, in UTC. A rate limit, or an exchange that is away, ends all that this asker asks. `page_limit`: ask for no more rows than that at once (None: for as many as the
    exchange gives). Nothing that the exchange raises gets out of a method here, save a cancelled
    task: it is a sentence in `Heard.unasked`.
    """

    def __init__(
        self,
        client: Any,
        exchange_id: str,
        pace: Pace,
        *,
        patience_s: float | None = 300.0,
        look_away: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        page_limit: int | None = None,
    ) -> None:
        self._client = client
        self._exchange_id = exchange_id
        self._pace = pace
        self._patience_s = patience_s
        self._look_away = look_away
        self._now = now
        self._page_limit = page_limit
        self._family = _family_of(exchange_id)
        self._standing = Standing()

    @property
    def needs_symbols(self) -> bool:
        """Whether `history` gives nothing without symbols."""
        return self._family.needs_symbols

    async def order(
        self,
        symbol: str,
        order_id: str | None = None,
        *,
        id_kind: str = "order",
        client_order_id: str | None = None,
    ) -> Heard:
        """One order by the exchange's id, else by the client's, and its executions.

        `symbol` is unified. `id_kind` "algo": a conditional contract order of Binance; if it fired, the regular order that
        it became is heard too. No order and no sentence in `unasked`: the exchange does not know it; whether that proves
        anything is for `absence_counts` to say.
        """
        requests = self._requests()
        wanted = Wanted(symbol=symbol, order_id=order_id, id_kind=id_kind, client_order_id=client_order_id)
        if order_id is None and client_order_id is None:
            requests.note(str(wanted), "neither the exchange's id nor the client's is known")
        else:
            await self._family.order(requests, wanted, self._now())
        return requests.heard(symbols=(symbol,), parts=("orders", "trades"))

    async def open_orders(self, symbols: Iterable[str] = ()) -> Heard:
        """All open orders of these symbols, conditional ones and stops of positions too; none named: of the account.

        Binance without a name: of the kind of market that the client is set to.
        """
        requests, named = self._requests(), tuple(dict.fromkeys(symbols))
        await self._family.open_orders(requests, named)
        requests.orders = list({key_of(order): order for order in requests.orders}.values())
        return requests.heard(symbols=named or None, parts=("orders",))

    async def history(self, symbols: Iterable[str], since: datetime, until: datetime) -> AsyncIterator[Heard]:
        """Orders that were placed, executions and funding payments of a range of time, oldest window first.

        Each `Heard` names the range, the symbols and the parts it covers: whoever keeps that can go on from there. A row comes
        once, and once more where it changed between two windows, which overlap by seconds. Bybit needs no symbols; the
        others give nothing without. An order is in the range in which it was placed, an execution in which it was executed.
        Bybit lists orders here once they ended; for those that have not there is `open_orders`.
        """
        requests, named = self._requests(), tuple(dict.fromkeys(symbols))
        listings = tuple(self._family.listings(requests, named))
        async for heard in history.read(requests, listings, since, until, self._now()):
            yield heard

    async def symbols(self, since: datetime, until: datetime) -> tuple[set[str], tuple[str, ...]]:
        """Unified symbols that the account traded, as far as the exchange names them, and what could not be learned.

        Bybit: none, and nothing missing; its `history` needs no symbols.
        """
        requests = self._requests()
        found = await self._family.symbols(requests, since, until, self._now())
        return found, requests.heard().unasked

    def _requests(self) -> Requests:
        return Requests(
            self._client,
            self._exchange_id,
            self._pace,
            self._standing,
            patience_s=self._patience_s,
            look_away=self._look_away,
            page_limit=self._page_limit,
        )


def _family_of(exchange_id: str) -> Family:
    if exchange_id.startswith("binance"):
        return Binance()
    return Bybit() if exchange_id.startswith("bybit") else Generic()
