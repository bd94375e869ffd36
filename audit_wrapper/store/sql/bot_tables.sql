-- The two tables people read, where the bot has none of its own. First the columns of the bot's own tables, by their
-- names and in their order, but wide: nothing is cut or rounded on the way in. Then ours, all of them nullable.
-- Where the tables exist already, schema.py compares them with this and changes only what differs.
-- Timestamps are UTC, without a zone. "monitoring" stands for the schema that the settings name.

CREATE TABLE IF NOT EXISTS "monitoring"."orders" (
    id              serial PRIMARY KEY,
    position_id     text,                            -- positions.id, as text
    exchange        text,
    symbol          text,                            -- as the bot's positions table spells it: MNTUSDT
    order_id        text,                            -- the exchange's; NULL until it is known
    client_order_id text,
    type            text,                            -- MARKET, LIMIT, STOP_MARKET, STOP_LOSS, TAKE_PROFIT, ...
    side            text,                            -- buy, sell
    size            numeric,                         -- contracts for contracts, base currency for spot
    price           numeric,                         -- paid, if filled at market; else the limit, or a stop's trigger
    status          text,                            -- NEW, PARTIALLY_FILLED, FILLED, CANCELED, REJECTED, EXPIRED,
                                                     -- UNKNOWN (nobody has said yet), MODIFIED (another stop replaced it)
    filled          numeric,
    remaining       numeric,
    fee             numeric,                         -- charged > 0, rebate < 0, NULL: see fee_status
    fee_currency    text,
    created_at      timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at      timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    order_key       uuid,                            -- ours; NULL in a row that the bot wrote itself
    account         text,
    signal_id       integer,
    purpose         text,                            -- entry, exit, stop_loss, take_profit, cancel
    average_price   numeric,
    limit_price     numeric,
    trigger_price   numeric,
    reduce_only     boolean,
    fee_status      text,                            -- reported, derived, pending, missing, several_currencies, none_due
    reason          text,                            -- why it was rejected, in the exchange's words
    unified_symbol  text,                            -- ccxt's spelling: MNT/USDT:USDT
    exchange_symbol text,                            -- the exchange's spelling
    exchange_status text,                            -- the exchange's own word
    link_how        text,                            -- how position_id is known: scope, atomic, repository,
                                                     -- positions_table:order_id, positions_table:open_interval
    replaced_by     uuid,                            -- order_key of the stop that took its place
    correlation_id  uuid,                            -- the bot's call that it came from
    origin          text,                            -- bot, external, backfilled, liquidation, auto_deleveraging,
                                                     -- settlement
    found_by        text                             -- how it is known what an unanswered request came to:
                                                     -- client_order_id, unique_match, absence
);

CREATE TABLE IF NOT EXISTS "monitoring"."trades" (
    id              serial PRIMARY KEY,
    signal_id       integer,
    symbol          text,
    exchange        text,
    side            text,                            -- buy, sell
    order_type      text,
    quantity        numeric,
    price           numeric,
    executed_qty    numeric,
    average_price   numeric,
    order_id        text,
    client_order_id text,
    status          text,                            -- as in orders
    fee             numeric,
    fee_currency    text,
    executed_at     timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at      timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    order_key       uuid,
    account         text,
    position_id     text,
    purpose         text,
    fee_status      text,
    origin          text                             -- as in orders
);

CREATE UNIQUE INDEX IF NOT EXISTS audit_orders_order_key
    ON "monitoring"."orders" (order_key) WHERE order_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_orders_position ON "monitoring"."orders" (position_id);
CREATE INDEX IF NOT EXISTS audit_orders_order_id ON "monitoring"."orders" (exchange, symbol, order_id);
CREATE INDEX IF NOT EXISTS audit_orders_status ON "monitoring"."orders" (status);
CREATE INDEX IF NOT EXISTS audit_orders_created ON "monitoring"."orders" (created_at);
CREATE INDEX IF NOT EXISTS audit_orders_symbol ON "monitoring"."orders" (symbol, exchange, created_at);
CREATE INDEX IF NOT EXISTS audit_orders_whose ON "monitoring"."orders" (account, exchange, purpose, created_at);
CREATE INDEX IF NOT EXISTS audit_orders_client_id ON "monitoring"."orders" (client_order_id);
CREATE INDEX IF NOT EXISTS audit_orders_external
    ON "monitoring"."orders" (client_order_id) WHERE origin IN ('external', 'backfilled');
CREATE INDEX IF NOT EXISTS audit_orders_unlinked
    ON "monitoring"."orders" (created_at) WHERE order_key IS NOT NULL AND position_id IS NULL;
CREATE INDEX IF NOT EXISTS audit_orders_without_id
    ON "monitoring"."orders" (status) WHERE order_key IS NOT NULL AND order_id IS NULL;
CREATE INDEX IF NOT EXISTS audit_orders_fee_due
    ON "monitoring"."orders" (fee_status) WHERE fee_status IN ('pending', 'missing');
CREATE INDEX IF NOT EXISTS audit_orders_not_ours ON "monitoring"."orders" (order_id, exchange) WHERE order_key IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS audit_trades_order_key
    ON "monitoring"."trades" (order_key) WHERE order_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_trades_position ON "monitoring"."trades" (position_id);
CREATE INDEX IF NOT EXISTS audit_trades_order_id ON "monitoring"."trades" (exchange, symbol, order_id);
CREATE INDEX IF NOT EXISTS audit_trades_symbol ON "monitoring"."trades" (symbol, exchange, executed_at);
CREATE INDEX IF NOT EXISTS audit_trades_whose ON "monitoring"."trades" (account, exchange, purpose, executed_at);
CREATE INDEX IF NOT EXISTS audit_trades_partly ON "monitoring"."trades" (executed_at) WHERE status <> 'FILLED';
CREATE INDEX IF NOT EXISTS audit_trades_executed ON "monitoring"."trades" (executed_at);
CREATE INDEX IF NOT EXISTS audit_trades_not_ours ON "monitoring"."trades" (order_id, exchange) WHERE order_key IS NULL;
