"""Which position or order somebody means: by its id, the client's id, or the beginning of an order's key."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

import msgspec

from audit_wrapper.errors import NothingFound
from audit_wrapper.store.connection import Connection
from audit_wrapper.store.queries import Queries
from audit_wrapper.tables.symbols import is_meant
from audit_wrapper.tables.values import utc

_SHORTEST = 8  # of the beginning of a key
_KEY = re.compile(rf"[0-9a-f]{{{_SHORTEST},32}}")


class Meant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A position, or an order: one of the two ids is set."""

    position_id: str | None = None
    order_key: UUID | None = None
    account: str
    exchange: str | None
    symbol: str | None
    at: datetime
    words: str  # what tells it from the others

    @property
    def name(self) -> str:
        """What `explain` finds it by."""
        return f"position:{self.position_id}" if self.position_id is not None else str(self.order_key)


# with every spelling of its market: the row's, ccxt's, the exchange's
_Found = tuple[Meant, list[list[str | None]]]


async def find(
    con: Connection,
    sql: Queries,
    text: str,
    *,
    account: str | None = None,
    exchange: str | None = None,
    symbol: str | None = None,
) -> list[Meant]:
    """Everything that may be meant by `text`: position id, exchange order id, client order id, order key, or 8 characters and
    more of its beginning. `position:55` and `order:55` say which of the two. Raises NothingFound."""
    kind, mark, name = text.strip().partition(":")
    if not mark or kind not in ("position", "order"):
        kind, name = "", text.strip()
    found: list[_Found] = []
    if kind != "order":
        found += [
            (
                Meant(
                    position_id=name,
                    account=row["account"],
                    exchange=row["exchange"],
                    symbol=row["symbol"],
                    at=utc(row["at"]),
                    words=f"position {name} with {row['orders']} orders",
                ),
                row["markets"],
            )
            for row in await con.fetch(sql["positions_named"], name)
        ]
    if kind != "position":
        found += await _orders(con, sql, name)
    chosen = [
        one
        for one, markets in found
        if (account is None or one.account == account)
        and (exchange is None or one.exchange == exchange)
        and (symbol is None or any(is_meant(symbol, *spelled) for spelled in markets))
    ]
    if not chosen:
        raise NothingFound(_nothing(text, [one for one, _ in found]))
    return chosen


async def _orders(con: Connection, sql: Queries, name: str) -> list[_Found]:
    keys = [row["order_key"] for row in await con.fetch(sql["keys_named"], name)]
    hexadecimal = name.lower().replace("-", "")
    if not keys and _KEY.fullmatch(hexadecimal):
        lowest, highest = UUID(hexadecimal.ljust(32, "0")), UUID(hexadecimal.ljust(32, "f"))
        keys = [row["order_key"] for row in await con.fetch(sql["keys_between"], lowest, highest)]
    rows = await con.fetch(sql["orders_of_keys"], keys) if keys else []
    return [
        (
            Meant(
                order_key=row["order_key"],
                account=row["account"],
                exchange=row["exchange"],
                symbol=row["symbol"],
                at=utc(row["created_at"]),
                words=" ".join(
                    str(word)
                    for word in ("order", row["order_id"], row["type"], row["side"], row["size"], row["status"])
                    if word is not None
                ),
            ),
            [[row["symbol"], row["unified_symbol"], row["exchange_symbol"]]],
        )
        for row in rows
    ]


def _nothing(text: str, others: list[Meant]) -> str:
    if others:
        places = ", ".join(sorted({f"{one.exchange} {one.symbol}, account {one.account}" for one in others}))
        return f"there is nothing of the name {text!r} there; it is known of: {places}"
    short = re.fullmatch(rf"[0-9a-fA-F-]{{4,{_SHORTEST - 1}}}", text)
    hint = f"; of an order's key at least {_SHORTEST} characters are needed" if short else ""
    return (
        f"there is no position and no order of the name {text!r}{hint}. A position is named by its id in the bot's table, an "
        "order by the exchange's id, the client's id, or its key: `audit-wrapper orders` shows them"
    )
