"""One request after the other to one exchange, through the user's client; what fails becomes a sentence.

The client is asynchronous or synchronous, a ccxt one or a mock: a method is looked up by name, called, and its result
awaited where it can be. Nothing that the exchange or the client raises gets past here, save a cancelled task.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from audit_wrapper.asking.heard import Heard, Row
from audit_wrapper.asking.pace import Pace, Stopped
from audit_wrapper.exchanges import adapter_for
from audit_wrapper.exchanges.numbers import items, plain

_TOO_MANY = frozenset({"RateLimitExceeded", "DDoSProtection"})
_DENIED = frozenset({"AuthenticationError", "PermissionDenied", "AccountNotEnabled", "AccountSuspended"})
_CANNOT = frozenset({"NotSupported", "ArgumentsRequired", "BadSymbol", "BadRequest"})  # not later either
_ANSWERED = "ExchangeError"  # ccxt's class of all that an exchange says no to: it is not away
# Bybit bans an address with HTTP 403 and these words, which ccxt makes no rate limit of [D: Bybit v5, Rate Limit]
_TOO_MANY_WORDS = "access too frequent"
_FAILURES = 3  # in a row: the exchange is away, and to go on asking tells nothing
_MARKET_REQUESTS = 6  # ccxt's `load_markets` of Binance and Bybit takes up to that many


class Unheard(Exception):
    """This could not be asked for."""


class NotThere(Exception):
    """The exchange answered: there is no such order."""


class Standing:
    """How one asker and its client stand with the exchange, over everything it asks."""

    def __init__(self) -> None:
        self.ended: str | None = None  # why nothing more is asked
        self.failed = 0  # requests that failed one after the other
        self.denied: dict[str, str] = {}


class Requests:
    """The requests of one asking, and what came of them."""

    def __init__(
        self,
        client: Any,
        exchange_id: str,
        pace: Pace,
        standing: Standing,
        *,
        patience_s: float | None,
        look_away: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
        page_limit: int | None = None,
    ) -> None:
        self._page_limit = page_limit
        self.client = client
        self.exchange_id = exchange_id
        self.adapter = adapter_for(exchange_id)
        self._pace = pace
        self._patience_s = patience_s
        self._look_away = look_away
        self._standing = standing
        self.orders: list[Row] = []
        self.trades: list[Row] = []
        self.funding: list[Row] = []
        self.unasked: list[str] = []
        self._unread: set[str] = set()
        self.again = False

    @property
    def ended(self) -> str | None:
        """Why nothing more is asked; None: asking goes on."""
        return self._standing.ended

    # -- one request

    def has(self, *names: str) -> bool:
        """Whether the client has one of these methods."""
        return self._method(names) is not None

    def can(self, *names: str) -> bool:
        """Whether it has one of these unified methods, and does not say itself (ccxt: `has`) that the exchange cannot."""
        said = plain(getattr(self.client, "has", None))
        return self.has(*names) and (not said or said.get(names[-1]) not in (None, False))

    async def ask(self, what: str, names: str | tuple[str, ...], *arguments: Any) -> Any:
        """What the first method of `names` that the client has answers. Raises `Unheard` or `NotThere`."""
        names = (names,) if isinstance(names, str) else names
        if self.ended is not None:
            raise self._unheard(what, self.ended)
        if names[0] in self._standing.denied:
            raise self._unheard(what, self._standing.denied[names[0]])
        method = self._method(names)
        if method is None:
            raise self._unheard(what, f"the client has no {names[0]}", again=False)
        try:
            await self._load_markets(what)
            await self._pace.turn(patience_s=self._patience_s)
        except Stopped as stopped:
            self._standing.ended = stopped.why
            raise self._unheard(what, stopped.why) from None
        try:
            with self._look_away():
                answer = method(*arguments)
                if inspect.isawaitable(answer):
                    answer = await answer
        except Exception as problem:
            raise self._failure(what, names[0], problem) from None
        self._standing.failed = 0
        return answer

    async def rows(self, what: str, names: str | tuple[str, ...], *arguments: Any) -> list[Row]:
        """The same for a method that answers with a list of orders, trades or payments."""
        answer = await self.ask(what, names, *arguments)
        if type(answer) not in (list, tuple):
            words = f"the client answered with {type(answer).__name__}, not with a list"
            raise self._unheard(what, words, again=False)
        return [row for row in answer if isinstance(row, Mapping)]

    def forget(self, noted: int, again: bool) -> None:
        """What was noted since `unasked` was that long, and `again` that: it was heard in another way."""
        del self.unasked[noted:]
        self.again = again

    def note(self, what: str, why: str, *, again: bool = False) -> None:
        """Remember once what could not be asked for; `again`: asking again may tell more."""
        sentence = f"{what}: {why}"
        self.again = self.again or again
        if sentence not in self.unasked:
            self.unasked.append(sentence)

    def heard(self, **about: Any) -> Heard:
        """What was heard since the last time this was called."""
        heard = Heard(
            orders=tuple(self.orders),
            trades=tuple(self.trades),
            funding=tuple(self.funding),
            unasked=tuple(self.unasked),
            again=self.again,
            unread=any(sentence in self._unread for sentence in self.unasked),
            **about,
        )
        self.orders, self.trades, self.funding, self.unasked = [], [], [], []
        self.again = False
        return heard

    # -- what the client knows

    def rows_of_a_page(self, most: int | None) -> int | None:
        """How many rows one request asks for, where the exchange gives `most` (None: that is not known)."""
        return most if most is None or self._page_limit is None else min(most, self._page_limit)

    def option(self, name: str) -> Any:
        """An option of the client; None where it has none, or is a mock."""
        return plain(getattr(self.client, "options", None)).get(name)

    def is_portfolio_margin(self) -> bool:
        """Whether the client is set to Binance's portfolio margin, whose implicit methods are others."""
        options = plain(getattr(self.client, "options", None))
        return any(
            scope.get(name) is True
            for scope in (options, *map(plain, options.values()))
            for name in ("portfolioMargin", "papi")
        )

    def market(self, symbol: str) -> dict[str, Any]:
        """The client's market of a unified symbol; {} where it does not know it."""
        return plain(plain(getattr(self.client, "markets", None)).get(symbol))

    def symbol_of(self, exchange_symbol: Any, kinds: tuple[str, ...]) -> str | None:
        """The unified symbol of the exchange's own, among markets of one of these kinds (linear, inverse, spot)."""
        known = plain(getattr(self.client, "markets_by_id", None)).get(exchange_symbol)
        for market in map(plain, items(known) or [known]):
            if any(market.get(kind) for kind in kinds):
                return str(market.get("symbol"))
        return None

    def unified(self, raw: Mapping[str, Any], id_name: str, time_name: str, kinds: tuple[str, ...]) -> Row:
        """A raw payload in the form of ccxt's dicts, as far as it is needed: id, symbol, time and the payload itself."""
        moment = str(raw.get(time_name) or "")
        return {
            "info": dict(raw),
            "id": str(raw[id_name]) if raw.get(id_name) is not None else None,
            "symbol": self.symbol_of(raw.get("symbol"), kinds),
            "timestamp": int(moment) if moment.isdecimal() else None,
        }

    # -- inside

    def _method(self, names: tuple[str, ...]) -> Callable[..., Any] | None:
        for name in names:
            method = getattr(self.client, name, None)
            if callable(method):
                return method  # type: ignore[no-any-return]
        return None

    async def _load_markets(self, what: str) -> None:
        """ccxt loads them by itself inside the first call: unseen by the budget, so it is done here."""
        if getattr(self.client, "markets", self) is not None or not callable(
            getattr(self.client, "load_markets", None)
        ):
            return
        for _ in range(min(_MARKET_REQUESTS, self._pace.per_minute - 1)):
            await self._pace.turn(patience_s=self._patience_s)
        try:
            with self._look_away():
                loaded = self.client.load_markets()
                if inspect.isawaitable(loaded):
                    await loaded
        except Exception as problem:
            raise self._failure(what, "load_markets", problem) from None

    def _failure(self, what: str, name: str, problem: Exception) -> Exception:
        kinds = {cls.__name__ for cls in type(problem).__mro__}
        words = f"{type(problem).__name__}: {_words(problem)}"
        if "OrderNotFound" in kinds:
            self._standing.failed = 0
            return NotThere()
        if is_rate_limit(problem):
            self._pace.rate_limited()
            self._standing.ended = f"the exchange named a rate limit ({words})"
            return self._unheard(what, self._standing.ended)
        if kinds & _DENIED:
            self._standing.denied[name] = f"the exchange denies it ({words})"
            return self._unheard(what, self._standing.denied[name])
        if kinds & _CANNOT or _ANSWERED in kinds:
            self._standing.failed = 0
            return self._unheard(what, words, again=not kinds & _CANNOT)
        self._standing.failed += 1
        if self._standing.failed >= _FAILURES:
            self._standing.ended = f"{self._standing.failed} requests in a row failed, the last with {words}"
        return self._unheard(what, words)

    def _unheard(self, what: str, why: str, *, again: bool = True) -> Unheard:
        self.note(what, why, again=again)
        self._unread.add(f"{what}: {why}")
        return Unheard()


def is_rate_limit(problem: BaseException) -> bool:
    """Whether this exception says that the exchange was asked too often: by its class, or by HTTP status 418 or 429."""
    if any(cls.__name__ in _TOO_MANY for cls in type(problem).__mro__):
        return True
    if any(getattr(problem, name, None) in (418, 429) for name in ("status", "status_code", "http_status")):
        return True
    return _TOO_MANY_WORDS in str(problem).lower()


def _words(problem: Exception) -> str:
    """Its message without the query of an address, which holds a signature."""
    return re.sub(r"\?\S+", "?...", str(problem))[:300]
