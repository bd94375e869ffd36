"""The tables as data frames, for notebooks: `pip install audit-wrapper[frames]`.

    from audit_wrapper import frames

    fills = frames.fills("postgresql://bot@localhost/bot", since="2026-01-01", symbol="BTCUSDT")
    fills.groupby("fee_currency")["fee"].sum()  # Decimals: exact, to the last digit

    positions = frames.positions(floats=True)  # DSN from AUDIT_WRAPPER_DSN; floats, for plots and statistics
    positions.dropna(subset="closed_at").sort_values("closed_at").set_index("closed_at")["net_result"].cumsum().plot()

The functions wait for the database and return; they can be called in a script and in a notebook alike, where an event loop
runs already. The oldest rows come first. Nothing is written.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from audit_wrapper.errors import SettingsError
from audit_wrapper.settings import Settings

if TYPE_CHECKING:
    import pandas

    from audit_wrapper.tables.export import Field
    from audit_wrapper.tables.orders import Table

__all__ = ["fills", "orders", "positions", "trades"]

_T = TypeVar("_T")
_WHOLE = {"int2": "Int16", "int4": "Int32", "int8": "Int64"}
_TIMES = ("timestamp", "timestamptz")


def orders(
    dsn: str | None = None,
    *,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    position: str | int | None = None,
    symbol: str | None = None,
    exchange: str | None = None,
    floats: bool = False,
    **settings: Any,
) -> pandas.DataFrame:
    """One row for each order that was sent: the columns of `monitoring.orders`.

    dsn: where the trail is; None: as the settings say (AUDIT_WRAPPER_DSN, or the embedded one in `journal`).
    since, until: by `created_at`; `until` itself is not in it. A text is an ISO date or time; without a zone it is UTC.
    position: the bot's id of it. symbol: the bot's spelling (MNTUSDT) or ccxt's (MNT/USDT:USDT). exchange: as the bot names it.
    floats: numbers as float64, with NaN for what is not known; else as `Decimal` in object columns, with None.
    settings: any setting of the trail, such as `account` (rows of this account only) or `bot_schema`.

    Times are UTC timestamps with their zone; what is not known is None, NaT or <NA>, never 0. An empty frame has its columns.
    Raises SettingsError (a setting or a time that cannot be right), NothingFound (a symbol or an exchange that is in no row; the message
    says which there are), StoreUnavailable (the database is away: try again), ImportError (pandas is not installed).

        frames.orders(position=55)[["created_at", "purpose", "status", "price"]]
    """
    return _frame("orders", dsn, since, until, position, symbol, exchange, floats, settings)


def trades(
    dsn: str | None = None,
    *,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    position: str | int | None = None,
    symbol: str | None = None,
    exchange: str | None = None,
    floats: bool = False,
    **settings: Any,
) -> pandas.DataFrame:
    """One row for each order of which something was executed: the columns of `monitoring.trades`.

    Arguments and errors are those of `orders`; `since` and `until` go by `executed_at`.

        frames.trades(since="2026-01-01", exchange="bybit")
    """
    return _frame("trades", dsn, since, until, position, symbol, exchange, floats, settings)


def fills(
    dsn: str | None = None,
    *,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    position: str | int | None = None,
    symbol: str | None = None,
    exchange: str | None = None,
    floats: bool = False,
    **settings: Any,
) -> pandas.DataFrame:
    """One row for each execution: the columns of `audit.fills`.

    Arguments and errors are those of `orders`; `since` and `until` go by `exchange_at`, the exchange's clock.

        frames.fills(symbol="BTC/USDT:USDT").groupby("fee_currency")["fee"].sum()
    """
    return _frame("fills", dsn, since, until, position, symbol, exchange, floats, settings)


def positions(
    dsn: str | None = None,
    *,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    position: str | int | None = None,
    symbol: str | None = None,
    exchange: str | None = None,
    floats: bool = False,
    **settings: Any,
) -> pandas.DataFrame:
    """One row for each position with its result and what it cost: the columns of the view `audit.v_positions`.

    Arguments and errors are those of `orders`. `since` and `until`: those that were closed in that time, or still open at its end (or
    nobody knows whether they were), as in the report; all of them where neither is given. A figure that is not known is None,
    and `why_not` says why. `fees_other` is a dict of amounts by currency, or None. Raises NothingFound too where the database has no such view yet: `audit-wrapper upgrade` makes it.

        frames.positions(floats=True)["net_result"].describe()
    """
    return _frame("positions", dsn, since, until, position, symbol, exchange, floats, settings)


def _frame(
    table: Table,
    dsn: str | None,
    since: datetime | str | None,
    until: datetime | str | None,
    position: str | int | None,
    symbol: str | None,
    exchange: str | None,
    floats: bool,
    given: dict[str, Any],
) -> pandas.DataFrame:
    try:
        import pandas
    except ImportError:
        raise ImportError("pandas is not installed: pip install audit-wrapper[frames]", name="pandas") from None
    from audit_wrapper.tables.orders import Wanted

    settings = Settings.load({**given, **({"dsn": dsn} if dsn is not None else {})})
    begin, end = _moment("since", since), _moment("until", until)
    if begin is not None and end is not None and end <= begin:
        raise SettingsError(f"the time ends (until={until!r}) before it begins (since={since!r})")
    wanted = Wanted(
        position=None if position is None else str(position),
        symbol=symbol,
        exchange=exchange,
        account=given.get("account"),  # that of the environment is the bot's own, and says nothing of what is wanted
        since=begin,
        until=end,
    )
    fields, columns = _waited_for(lambda: _read(settings, table, wanted))
    return pandas.DataFrame(
        {field.name: _column(pandas, field, values, floats) for field, values in zip(fields, columns, strict=True)}
    )


async def _read(settings: Settings, table: Table, wanted: Any) -> tuple[tuple[Field, ...], list[list[Any]]]:
    from audit_wrapper.tables import Reader
    from audit_wrapper.tables.export import stream

    async with Reader(settings) as reader, reader.snapshot(f"read the {table}", at_leisure=True) as con:
        rows = await stream(con, reader, table, wanted)
        columns: list[list[Any]] = [[] for _ in rows.fields]
        async for batch in rows:
            for values in batch:
                for column, value in zip(columns, values.values(), strict=True):
                    column.append(value)
        return rows.fields, columns


def _waited_for(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run it to its end, on a thread of its own where this one has a running loop, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    done: list[_T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(work()))
        except BaseException as problem:  # it belongs to the caller, whatever it is
            raised.append(problem)

    thread = threading.Thread(target=run, name="audit-wrapper-frames", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return done[0]


def _column(pandas: Any, field: Field, values: list[Any], floats: bool) -> Any:
    if field.type in _TIMES:
        return pandas.to_datetime(pandas.Series(values, dtype="object"), utc=True).astype("datetime64[us, UTC]")
    if field.type in _WHOLE:
        return pandas.array(values, dtype=_WHOLE[field.type])
    if field.type == "bool":
        return pandas.array(values, dtype="boolean")
    if field.type == "numeric" and floats:
        return pandas.Series([float("nan") if value is None else float(value) for value in values], dtype="float64")
    if field.type == "jsonb":
        from audit_wrapper.tables.values import amounts

        number = float if floats else Decimal
        values = [
            None if value is None else {coin: number(amount) for coin, amount in amounts(value).items()}
            for value in values
        ]
    if field.type == "uuid":
        values = [None if value is None else str(value) for value in values]
    return pandas.Series(values, dtype="object")


def _moment(name: str, given: datetime | date | str | None) -> datetime | None:
    if given is None:
        return None
    try:
        if isinstance(given, str):
            given = datetime.fromisoformat(given)
        elif not isinstance(given, datetime):
            given = datetime(given.year, given.month, given.day)  # noqa: DTZ001 (the zone follows)
        if given != given:  # pandas.NaT
            raise ValueError
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise SettingsError(
            f"{name}={given!r} is no time: give an ISO date or time such as '2026-01-31' or '2026-01-31T12:00', a date, or a datetime"
        ) from None
