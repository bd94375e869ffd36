"""What `orders` and `trades` share: the words become filters, the rows a table or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from audit_wrapper.command import options
from audit_wrapper.command.codes import FINE, WRONG
from audit_wrapper.command.running import run
from audit_wrapper.command.table import Column, show
from audit_wrapper.command.voice import Voice
from audit_wrapper.records import OrderStatus, Purpose

OF_TRADES = (OrderStatus.FILLED, OrderStatus.PARTIALLY_FILLED)  # what was not executed is no trade

Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=1_000_000, metavar="N", help="At most so many, the newest.")
]
Before = Annotated[
    int | None,
    typer.Option(
        "--before",
        min=1,
        max=2**63 - 1,
        metavar="ID",
        help="The next page: older than the row with this id. The line below a page names it; --wide shows the id of every row.",
    ),
]
Wide = Annotated[bool, typer.Option("--wide", help="Every column, however wide.")]
AnyAccount = Annotated[
    str | None, typer.Option("--account", help="Of this account, as the bot's trail names it; default: of all.")
]


def wanted_of(
    position: str | None,
    symbol: str | None,
    exchange: str | None,
    account: str | None,
    status: Sequence[str] | None,
    purpose: str | None,
    since: datetime | None,
    until: datetime | None,
    statuses: Sequence[str] = tuple(OrderStatus),
) -> Any:
    """The filters. Raises typer.BadParameter for a word that can be in no row. `statuses`: those there may be."""
    from audit_wrapper.tables.orders import Wanted

    words = tuple(word.upper() for word in status or ())
    for word in words:
        if word not in statuses:
            raise typer.BadParameter(f"there is no status {word!r} here: say {', '.join(statuses)}")
    purpose = purpose.lower().replace("-", "_") if purpose else None
    if purpose is not None and purpose not in tuple(Purpose):
        raise typer.BadParameter(f"there is no purpose {purpose!r}: say {', '.join(Purpose)}")
    if since is not None and until is not None and until <= since:
        raise typer.BadParameter("the time ends before it begins: --until is not after --since")
    return Wanted(
        position=position,
        symbol=symbol,
        exchange=exchange,
        account=account,
        status=words,
        purpose=purpose,
        since=since,
        until=until,
    )


def look(
    table: Literal["orders", "trades"],
    columns: Sequence[Column],
    wanted: Any,
    *,
    limit: int,
    before: int | None,
    wide: bool,
    as_json: bool,
    **settings: Any,
) -> int:
    """Read the rows and print them."""
    from audit_wrapper.tables import Reader
    from audit_wrapper.tables.orders import newest
    from audit_wrapper.tables.values import data_of

    voice = Voice()

    async def read() -> Any:
        async with Reader(options.settings_of(**settings)) as reader, reader.snapshot() as con:
            return await newest(con, reader.queries("orders.sql"), table, wanted, limit=limit, before=before)

    rows, more = run(read())
    if as_json:
        voice.show_json([data_of(row) for row in rows])
    if not rows:
        voice.say(f"there are no {table} like that")
        return WRONG
    if not as_json:
        show(voice, columns, rows, wide=wide)
    if more:
        last = rows[-1]["id"]
        voice.say(f"there are more: --before {last} shows the next {limit} ({last} is the id of the last row here)")
    return FINE
