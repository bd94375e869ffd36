-- The whole schema as it stands after every migration, for a DBA to read and to run, and for people to learn it from.
-- A test proves that it equals the migrations. "monitoring" stands for the schema that the settings name.

CREATE SCHEMA IF NOT EXISTS audit;
CREATE SCHEMA IF NOT EXISTS "monitoring";


CREATE TABLE audit.migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,                        -- the file's name
    checksum   text NOT NULL,                        -- sha256 of the file, in hex
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- One row per journal: how far it has been delivered.
CREATE TABLE audit.streams (
    stream             uuid PRIMARY KEY,             -- the journal's own id
    delivered_seq      bigint NOT NULL,              -- everything up to here is in audit.events or audit.quarantine
    delivered_hash     bytea NOT NULL,               -- the hash of that entry: the next one must follow from it
    first_delivered_at timestamptz NOT NULL DEFAULT now(),
    last_delivered_at  timestamptz NOT NULL DEFAULT now()
);

-- One row per record. Never updated, never deleted.
CREATE TABLE audit.events (
    stream         uuid NOT NULL,
    seq            bigint NOT NULL,                  -- the record's number in its journal; order is this, not a clock
    record_id      uuid NOT NULL,
    kind           text NOT NULL,                    -- intent, acknowledged, unchanged, rejected, not_sent,
                                                     -- outcome_unknown, reported, linked, reconciled, observed,
                                                     -- matched, covered, unattributed, gap
    action         text NOT NULL,                    -- place, amend, cancel, cancel_all, set_stops, close, account,
                                                     -- position, ask, other
    exchange       text,
    account        text NOT NULL,
    correlation_id uuid,                             -- the outermost call of the bot: one story
    intent_id      uuid,                             -- the intent that this is the outcome of
    called_at      timestamptz,
    answered_at    timestamptz,
    scope          text,                             -- exchange|account|symbol of a record that changes orders it
                                                     -- does not name (a cancel-all); else NULL
    hash           bytea NOT NULL,                   -- of the journal's entry: over body and the hash before it
    body           json NOT NULL,                    -- the record; json, not jsonb: kept byte for byte for the hash
    stored_at      timestamptz NOT NULL DEFAULT now(),
    stored_no      bigint GENERATED ALWAYS AS IDENTITY,  -- the order of arrival, over all streams
    PRIMARY KEY (stream, seq),
    UNIQUE (record_id)
);
CREATE INDEX events_scope ON audit.events (stream, scope, seq) WHERE scope IS NOT NULL;
CREATE INDEX events_correlation ON audit.events (correlation_id) WHERE correlation_id IS NOT NULL;
-- what a backfill has read already
CREATE INDEX events_covered ON audit.events (exchange, account) WHERE kind = 'covered';
-- numbers grow with the place on disk, so this index stays tiny
CREATE INDEX events_stored_no ON audit.events USING brin (stored_no) WITH (pages_per_range = 16);

-- Every name an order is known by.
CREATE TABLE audit.order_aliases (
    exchange  text NOT NULL,
    account   text NOT NULL,
    symbol    text NOT NULL,                         -- '' where nobody said, and for intents
    kind      text NOT NULL,                         -- order (exchange order id), algo (conditional order id), intent
    value     text NOT NULL,
    order_key uuid NOT NULL,
    PRIMARY KEY (exchange, account, kind, value, symbol)
);
CREATE INDEX order_aliases_order_key ON audit.order_aliases (order_key);
CREATE INDEX order_aliases_value ON audit.order_aliases (value);

-- Which records speak of which order. One record may speak of several.
CREATE TABLE audit.order_events (
    order_key uuid NOT NULL,
    stream    uuid NOT NULL,
    seq       bigint NOT NULL,
    part      text NOT NULL,                         -- which part of the record: order, target, replaced, seen.0, ...
    PRIMARY KEY (order_key, stream, seq, part)
);

-- How each order stands for later records that do not name it.
CREATE TABLE audit.orders (
    order_key uuid PRIMARY KEY,
    scope     text,                                  -- what a cancel-all has to hit to hit this order
    open      boolean NOT NULL,                      -- it may still be filled or canceled
    intent_id uuid,                                  -- the record that placed it; NULL: nothing of this trail did
    part      text                                   -- and which order of that request it is
);
CREATE INDEX orders_open_scope ON audit.orders (scope) WHERE open;
CREATE INDEX orders_intent ON audit.orders (intent_id);

-- One row per execution.
CREATE TABLE audit.fills (
    order_key         uuid NOT NULL,
    exchange          text,
    account           text NOT NULL,
    symbol            text,
    exchange_trade_id text NOT NULL,
    exchange_order_id text,
    side              text,                          -- buy, sell
    price             numeric,
    quantity          numeric,                       -- contracts for contracts, base currency for spot
    fee               numeric,                       -- charged > 0, rebate < 0
    fee_currency      text,
    fee_rate          numeric,
    fee_status        text,                          -- reported, derived, pending, missing, several_currencies, none_due
    liquidity         text,                          -- maker, taker
    exchange_at       timestamptz,
    source            text,                          -- where it is known from first: answer (to the bot's request),
                                                     -- reconciled, observed, backfilled
    conflicts         boolean NOT NULL DEFAULT false,  -- another, different fill came under the same id
    -- with the order in it: of a trade with itself an account has two fills of one id, and both are true
    PRIMARY KEY (order_key, exchange_trade_id)
);
CREATE INDEX fills_trade_id ON audit.fills (exchange_trade_id);
CREATE INDEX fills_exchange_at ON audit.fills (exchange_at);

-- Funding payments of positions, as the exchange tells them. They belong to no order and to no position of the bot.
CREATE TABLE audit.funding (
    exchange    text NOT NULL,
    account     text NOT NULL,
    symbol      text NOT NULL,                       -- the exchange's spelling; '' where nobody said
    payment_id  text NOT NULL,                       -- the exchange's
    amount      numeric NOT NULL,                    -- received > 0, paid < 0
    currency    text,
    rate        numeric,
    exchange_at timestamptz,
    PRIMARY KEY (exchange, account, payment_id)
);

-- Entries that could not be stored as events. Nothing is thrown away; nothing behind them waits.
CREATE TABLE audit.quarantine (
    stream         uuid NOT NULL,
    seq            bigint NOT NULL,
    payload        bytea NOT NULL,                   -- as it stands in the journal
    hash           bytea NOT NULL,
    reason         text NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    retries        integer NOT NULL DEFAULT 0,
    retried_at     timestamptz,
    resolved_at    timestamptz,                      -- when a retry brought it into audit.events
    PRIMARY KEY (stream, seq)
);

-- Where each position stands, so that those of a time and the open ones are found without a look at every order.
CREATE TABLE audit.positions (
    bot_schema  text NOT NULL,                       -- where its orders are, in double quotes: "monitoring"
    account     text NOT NULL,
    exchange    text NOT NULL,                       -- '' where nobody said
    position_id text NOT NULL,
    begun_at    timestamptz,                         -- its first order, or execution
    closed_at   timestamptz,                         -- its last execution; NULL: something is left over, or not known
    is_open     boolean,                             -- NULL: of some order it is not known what was filled
    executed    boolean NOT NULL,                    -- something was
    PRIMARY KEY (position_id, account, exchange, bot_schema)
);
-- what a range of time has: of what was closed, from the beginning to the end; of the rest, from the beginning on
CREATE INDEX positions_time ON audit.positions USING gist (tstzrange(begun_at, closed_at, '[]'))
    WHERE executed OR is_open IS NULL;
CREATE INDEX positions_closed_at ON audit.positions (closed_at);
CREATE INDEX positions_open ON audit.positions (position_id) WHERE is_open;

-- Of which bots' schemas they are kept.
CREATE TABLE audit.bot_schemas (
    bot_schema text PRIMARY KEY,                     -- in double quotes
    kept_since timestamptz NOT NULL DEFAULT now()
);

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
