-- The tables of the bot. Timestamps are UTC, without a zone.

CREATE SCHEMA IF NOT EXISTS monitoring;

CREATE TABLE IF NOT EXISTS monitoring.positions (
    id                SERIAL PRIMARY KEY,
    signal_id         INTEGER,
    symbol            VARCHAR(20) NOT NULL,
    exchange          VARCHAR(50) NOT NULL,
    side              VARCHAR(10) NOT NULL,          -- long, short
    quantity          DECIMAL(20, 8) NOT NULL,
    entry_price       DECIMAL(20, 8),
    current_price     DECIMAL(20, 8),
    stop_loss_price   DECIMAL(20, 8),
    exchange_order_id VARCHAR(100),                  -- the entry order
    status            VARCHAR(20) NOT NULL,          -- pending_entry, entry_placed, pending_sl, active, closed,
                                                     -- failed, rolled_back, canceled
    exit_reason       TEXT,
    opened_at         TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    closed_at         TIMESTAMP,
    updated_at        TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

CREATE TABLE IF NOT EXISTS monitoring.orders (
    id              SERIAL PRIMARY KEY,
    position_id     VARCHAR(100),
    exchange        VARCHAR(50),
    symbol          VARCHAR(20),
    order_id        VARCHAR(100),
    client_order_id VARCHAR(100),
    type            VARCHAR(20),
    side            VARCHAR(10),
    size            DECIMAL(20, 8),
    price           DECIMAL(20, 8),
    status          VARCHAR(20),
    filled          DECIMAL(20, 8),
    remaining       DECIMAL(20, 8),
    fee             DECIMAL(20, 8),
    fee_currency    VARCHAR(10),
    created_at      TIMESTAMP DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at      TIMESTAMP DEFAULT (now() AT TIME ZONE 'utc')
);

CREATE TABLE IF NOT EXISTS monitoring.trades (
    id              SERIAL PRIMARY KEY,
    signal_id       INTEGER,
    symbol          VARCHAR(20),
    exchange        VARCHAR(50),
    side            VARCHAR(10),
    order_type      VARCHAR(20),
    quantity        DECIMAL(20, 8),
    price           DECIMAL(20, 8),
    executed_qty    DECIMAL(20, 8),
    average_price   DECIMAL(20, 8),
    order_id        VARCHAR(100),
    client_order_id VARCHAR(100),
    status          VARCHAR(20),
    fee             DECIMAL(20, 8),
    fee_currency    VARCHAR(10),
    executed_at     TIMESTAMP DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at      TIMESTAMP DEFAULT (now() AT TIME ZONE 'utc')
);
