"""What a bot that was killed left in the database, held against its journal and the exchange's own ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
from simulated_exchange import RemoteExchange

from audit_wrapper.journal import What, verify
from audit_wrapper.journal.glance import glance


def fetched(server: Any, dsn: str, query: str) -> list[Any]:
    """The rows of a query: tuples, or values where it has one column."""

    async def read() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            return [tuple(row) if len(row) > 1 else row[0] for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return list(server.run(read()))


def delivered_whole(server: Any, dsn: str, journal: Path) -> None:
    """All of the journal is there, each record once and none set aside."""
    found = glance(journal)
    assert found is not None
    seqs = fetched(server, dsn, "SELECT seq FROM audit.events ORDER BY seq")
    assert seqs == list(range(1, found.durable_seq + 1)), "all of the journal, each record once"
    assert fetched(server, dsn, "SELECT delivered_seq FROM audit.streams") == [found.durable_seq]
    assert fetched(server, dsn, "SELECT count(*) FROM audit.quarantine") == [0]


def nothing_is_lost(
    exchange: RemoteExchange, server: Any, dsn: str, journal: Path, told: Sequence[str], kills: int
) -> None:
    """Every order of the ledger is there once, all that the bot was told of by their ids; a kill may leave one unanswered."""
    assert [one for one in verify(journal) if one.what is not What.TORN_TAIL] == []
    delivered_whole(server, dsn, journal)
    rows = fetched(server, dsn, "SELECT order_id, client_order_id FROM monitoring.orders")
    known = Counter(order_id for order_id, _ in rows if order_id)
    assert set(told) <= set(known), "the bot was told of an order that is not in the table"
    assert max(known.values()) == 1, "an order is there twice"
    placed = [order for order in exchange.ledger()["orders"] if order["status"] != "REJECTED"]
    unanswered = {client_order_id for order_id, client_order_id in rows if order_id is None}
    missing = [order for order in placed if order["exchange_order_id"] not in known]
    assert {order["client_order_id"] for order in missing} <= unanswered
    assert len(unanswered) <= kills
