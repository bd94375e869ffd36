"""A synchronous commit through SQLAlchemy's mapper, as many bots have it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import MetaData, Table, create_engine
from sqlalchemy.orm import Session, registry

from benchmarks.contenders import ORDER, TRADE, Bot, Contender, order_row, trade_row


class _Order: ...


class _Trade: ...


@asynccontextmanager
async def sqlalchemy_commits(bot: Bot, dsn: str) -> AsyncIterator[Contender]:
    """One session for the bot, and one commit for the order and its trade: half as many as inline logging has."""
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://", 1))
    mapper, tables = registry(), MetaData(schema="monitoring")
    for kind, name in ((_Order, "orders"), (_Trade, "trades")):  # the bot's own tables, as for inline logging
        mapper.map_imperatively(kind, Table(name, tables, autoload_with=engine))
    mine = bot.make()
    with Session(engine) as session:

        async def call() -> None:
            order = await bot.order(mine)
            session.add(_Order(**dict(zip(ORDER, order_row(order), strict=True))))
            session.add(_Trade(**dict(zip(TRADE, trade_row(order), strict=True))))
            session.commit()

        yield Contender(
            "synchronous commit, SQLAlchemy",
            "session.add for the order and for the trade, one session.commit, on the bot's loop; psycopg, PostgreSQL as it comes",
            call,
            slow=True,
        )
    mapper.dispose()
    engine.dispose()
