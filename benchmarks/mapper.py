"""A synchronous commit through SQLAlchemy's mapper, as many bots have it; measured where SQLAlchemy is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.stub import StubManager, enter

MISSING = (
    "synchronous commit, SQLAlchemy: not measured, sqlalchemy is not installed; what sqlite3 alone takes for the same two commits "
    "is the least that it would take on SQLite"
)


def is_there() -> bool:
    """Whether it can be measured."""
    return find_spec("sqlalchemy") is not None


@asynccontextmanager
async def sqlalchemy_commits(folder: Path, dsn: str) -> AsyncIterator[Contender]:
    """One session for the bot; `session.add` and `session.commit` for the order and for the trade. PostgreSQL where psycopg is
    installed, else SQLite."""
    from sqlalchemy import Column, Float, Integer, String, create_engine
    from sqlalchemy.orm import Session, declarative_base

    base: Any = declarative_base()
    words, figures = (
        ("exchange", "symbol", "order_id", "type", "side", "status"),
        ("size", "price", "filled", "remaining"),
    )

    def mapped(table: str) -> Any:
        columns: dict[str, Any] = {"__tablename__": table, "id": Column(Integer, primary_key=True)}
        columns |= {name: Column(String) for name in words} | {name: Column(Float) for name in figures}
        return type(table.title(), (base,), columns)

    kinds = [mapped("bot_orders"), mapped("bot_trades")]
    on_postgres = find_spec("psycopg") is not None
    address = (
        dsn.replace("postgresql://", "postgresql+psycopg://")
        if on_postgres
        else f"sqlite:///{folder / 'mapped.sqlite'}"
    )
    engine = create_engine(address)
    base.metadata.create_all(engine)
    manager = StubManager()
    with Session(engine) as session:

        async def call() -> None:
            order = await enter(manager)
            for kind in kinds:
                row = kind(
                    exchange="binance", symbol="BTCUSDT", order_id=order["id"], type="MARKET", side=order["side"],
                    status="FILLED", size=order["amount"], price=order["average"], filled=order["filled"], remaining=0.0,
                )  # fmt: skip
                session.add(row)
                session.commit()

        where = "PostgreSQL through psycopg" if on_postgres else "SQLite (psycopg is not installed)"
        how = f"session.add and session.commit for the order and for the trade, on the bot's loop; {where}"
        yield Contender("synchronous commit, SQLAlchemy", how, call, slow=True)
    engine.dispose()
