"""`audit-wrapper orders`: the orders of the trail, the newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from audit_wrapper.command import looking, options
from audit_wrapper.command.looking import look, wanted_of
from audit_wrapper.command.table import Column, fee, key, of, order_id, plain


def _filled(row: Mapping[str, Any]) -> str:
    return "?" if row["filled"] is None and row["status"] in ("NEW", "UNKNOWN", "CANCELED") else plain(row["filled"])


_COLUMNS = (
    Column("id", of("id"), 3, right=True),
    Column("created (UTC)", of("created_at")),
    Column("pos", of("position_id"), right=True),
    Column("account", of("account"), 1),
    Column("exchange", of("exchange"), 12),
    Column("symbol", of("symbol")),
    Column("purpose", of("purpose"), 11),
    Column("type", of("type"), 10),
    Column("side", of("side")),
    Column("size", of("size"), right=True),
    Column("price", of("price"), right=True),
    Column("status", of("status")),
    Column("filled", _filled, 9, right=True),
    Column("fee", fee, 7, right=True),
    Column("order id", order_id, 5, right=True),
    Column("key", key, 8),
    Column("reason", of("reason"), 2),
)


def orders(
    position: options.Position = None,
    symbol: options.Symbol = None,
    exchange: options.Exchange = None,
    account: looking.AnyAccount = None,
    status: options.Status = None,
    purpose: options.Purpose = None,
    since: options.Since = None,
    until: options.Until = None,
    limit: looking.Limit = 50,
    before: looking.Before = None,
    wide: looking.Wide = False,
    json: options.Json = False,
    dsn: options.Dsn = None,
    journal: options.Journal = None,
    bot_schema: options.BotSchema = None,
) -> int:
    """Show orders, the newest first.

    Each is one line: what was sent, and how it stands. Numbers are as they are stored. Empty means not known, or none; `?` that nobody has said yet how much was filled.
    `key` names the order to `explain`.

    \b
    Examples:
      audit-wrapper orders --symbol MNTUSDT --since 24h
      audit-wrapper orders --status UNKNOWN --status REJECTED --wide
      audit-wrapper orders --position 55 --json
    """
    wanted = wanted_of(position, symbol, exchange, account, status, purpose, since, until)
    return look(
        "orders",
        _COLUMNS,
        wanted,
        limit=limit,
        before=before,
        wide=wide,
        as_json=json,
        dsn=dsn,
        journal=journal,
        bot_schema=bot_schema,
    )


def register(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("orders")(orders)
