"""Which market a person means by a symbol, in any spelling: MNTUSDT, mnt/usdt:usdt, BTC-USDT-SWAP. One rule for every command.

ccxt's spelling (with a `/`) means that market alone: BTC/USDT is the spot market, BTC/USDT:USDT the contract, though a bot's table
may spell both BTCUSDT. Every other spelling means whatever rows are spelled so, by the bot, by the exchange, or by ccxt's spelling
written together. Capital letters do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from audit_wrapper.errors import NothingFound
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries

_NONE_SHOWN = 20  # so many names are told where one is asked for that is not there


class Symbols(NamedTuple):
    """What is meant. market: in ccxt's spelling, in capitals, where that was given: rows known to be of another market are not
    meant. spellings: as `monitoring.orders.symbol` has them. names: these, and how ccxt and the exchanges spell the same."""

    market: str | None
    spellings: list[str]
    names: list[str]

    @property
    def argument(self) -> list[str | None]:
        """Both in one array, as figures.sql takes it: the market first, or NULL; then every name."""
        return [self.market, *self.names]


async def meant_by(con: Connection, sql: Queries, text: str, exchange: str | None = None) -> Symbols:
    """What is meant by `text`; sql: the queries of orders.sql. Raises NothingFound: no order is spelled so; it says what there is."""
    there = [row["symbol"] for row in await con.fetch(sql["symbols_of_orders"])]
    exchanges = [exchange] if exchange else [row["exchange"] for row in await con.fetch(sql["exchanges_of_orders"])]
    others: dict[str, list[tuple[str | None, str | None]]] = {symbol: [] for symbol in there}
    for row in await con.fetch(sql["markets_of_symbols"], there, exchanges):
        others[row["symbol"]].append((row["unified_symbol"], row["exchange_symbol"]))
    found = [
        symbol
        for symbol in there
        if is_meant(text, symbol) or any(is_meant(text, symbol, unified, own) for unified, own in others[symbol])
    ]
    if not found:
        raise NothingFound(none("symbol", text, there))
    meant = [pair for symbol in found for pair in others[symbol] if is_meant(text, symbol, *pair)]
    # not what ccxt calls the market of BTC-USDT-SWAP: other exchanges have that too
    same = {unified for unified, _ in meant if is_meant(text, unified)} | {own for _, own in meant}
    return Symbols(
        text.upper() if "/" in text else None, found, sorted({*found, *(name for name in same if name is not None)})
    )


def is_meant(text: str, symbol: str | None, unified: str | None = None, own: str | None = None) -> bool:
    """Whether an order is of the market `text`. symbol: as its row has it; unified, own: as ccxt and the exchange spell it."""
    from audit_wrapper.reading import compact  # with it come all exchanges, and few ask for a symbol

    wanted = text.upper()
    if "/" not in wanted:
        names = (symbol, own, compact(symbol), compact(unified))
        return wanted in {name.upper() for name in names if name is not None}
    known = unified or (symbol if symbol is not None and "/" in symbol else None)
    if known is not None:
        return known.upper() == wanted
    return symbol is not None and _letters(symbol) == _letters(compact(wanted) or wanted)


def _letters(symbol: str) -> str:
    """BTC_USDT, BTC-USDT and btcusdt are spellings of one pair."""
    return "".join(c for c in symbol.upper() if c.isalnum())


def conditions(sql: Queries, table: str, letter: str, symbols: Symbols) -> Iterator[tuple[str, Sequence[Any]]]:
    """Conditions for rows of a table (sql: the queries of orders.sql), with {0}, {1} for their arguments."""
    if table == "events":
        yield sql["event_of_symbol"], [symbols.market, symbols.names]
        return
    if table == "positions":
        yield sql["position_of_symbol"], [symbols.argument]
        return
    one = len(symbols.spellings) == 1  # then the rows come in the order of an index
    yield f"{letter}.symbol = {'{}' if one else 'ANY({})'}", symbols.spellings if one else [symbols.spellings]
    if symbols.market is not None:
        if table == "orders":
            yield "coalesce(upper(o.unified_symbol) = {}, true)", [symbols.market]
        else:
            yield (
                f"NOT EXISTS ({sql['of_another_market'].strip().format(key=f'{letter}.order_key', symbol='{0}')})",
                [symbols.market],
            )


def none(what: str, name: str, there: Iterable[str]) -> str:
    """That there is no order of a symbol or an exchange, and which there are."""
    there = list(there)
    names = ", ".join(there[:_NONE_SHOWN]) + (f" and {len(there) - _NONE_SHOWN} more" * (len(there) > _NONE_SHOWN))
    return f"there is no order of {what} {name!r}; there are: {names}" if there else "there is no order yet"
