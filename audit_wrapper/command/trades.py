"""`audit-wrapper trades`: the orders of which something was executed, the newest first."""

from __future__ import annotations

import typer

from audit_wrapper.command import looking, options
from audit_wrapper.command.looking import look, wanted_of
from audit_wrapper.command.table import Column, fee, key, of, order_id

_COLUMNS = (
    Column("id", of("id"), 3, right=True),
    Column("executed (UTC)", of("executed_at")),
    Column("pos", of("position_id"), right=True),
    Column("signal", of("signal_id"), 2, right=True),
    Column("account", of("account"), 1),
    Column("exchange", of("exchange"), 12),
    Column("symbol", of("symbol")),
    Column("purpose", of("purpose"), 11),
    Column("type", of("order_type"), 8),
    Column("side", of("side")),
    Column("quantity", of("quantity"), 10, right=True),
    Column("executed", of("executed_qty"), right=True),
    Column("average price", of("average_price"), right=True),
    Column("fee", fee, 13, right=True),
    Column("status", of("status"), 9),
    Column("order id", order_id, 5, right=True),
    Column("key", key, 6),
)


def trades(
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
    """Show trades, the newest first.

    One line for each order of which something was executed.

    \b
    Examples:
      audit-wrapper trades --since 7d --exchange bybit
      audit-wrapper trades --purpose exit --limit 10
      audit-wrapper trades --symbol MNT/USDT:USDT --json
    """
    wanted = wanted_of(position, symbol, exchange, account, status, purpose, since, until, looking.OF_TRADES)
    return look(
        "trades",
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
    app.command("trades")(trades)
