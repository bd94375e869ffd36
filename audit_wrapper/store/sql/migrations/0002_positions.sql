-- Where each position stands, so that those of a time and the open ones are found without a look at every order. schema.py
-- reckons what is there already.

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
