-- The append-only truth and what is derived from it. The caller has made sure that the schema "audit" exists.
-- A migration that was released is never changed; its checksum is kept in audit.migrations.

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
