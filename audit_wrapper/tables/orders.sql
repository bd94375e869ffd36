-- Orders and trades as the commands and the frames read them. /* filters */ stands for conditions that orders.py adds: each
-- question gets the plan that fits what it asks.

-- name: orders
SELECT o.* FROM "monitoring"."orders" o
WHERE o.order_key IS NOT NULL /* filters */
ORDER BY o.created_at DESC, o.id DESC;

-- name: orders_ascending
SELECT o.* FROM "monitoring"."orders" o
WHERE o.order_key IS NOT NULL /* filters */
ORDER BY o.created_at, o.id;

-- name: trades
SELECT t.* FROM "monitoring"."trades" t
WHERE t.order_key IS NOT NULL /* filters */
ORDER BY t.executed_at DESC, t.id DESC;

-- name: trades_ascending
SELECT t.* FROM "monitoring"."trades" t
WHERE t.order_key IS NOT NULL /* filters */
ORDER BY t.executed_at, t.id;

-- name: fills_ascending
SELECT f.* FROM audit.fills f
WHERE true /* filters */
ORDER BY f.exchange_at, f.order_key, f.exchange_trade_id;

-- name: positions_ascending
SELECT p.* FROM audit.v_positions p
WHERE true /* filters */
ORDER BY p.opened_at, p.account, p.exchange, p.position_id;

-- name: events_ascending
-- By their key: it is the order of each journal, and needs no sort of everything before the first row.
SELECT e.* FROM audit.events e
WHERE true /* filters */
ORDER BY e.stream, e.seq;

-- name: order_place
SELECT created_at AS at, id FROM "monitoring"."orders" WHERE id = $1::bigint;

-- name: trade_place
SELECT executed_at AS at, id FROM "monitoring"."trades" WHERE id = $1::bigint;

-- name: symbols_of_orders
-- Every spelling there is, each found by one step in the index: as quick with ten million rows as with ten.
WITH RECURSIVE spelling AS (
    (SELECT symbol FROM "monitoring"."orders" WHERE symbol IS NOT NULL ORDER BY symbol LIMIT 1)
    UNION ALL
    SELECT (SELECT o.symbol FROM "monitoring"."orders" o WHERE o.symbol > spelling.symbol ORDER BY o.symbol LIMIT 1)
    FROM spelling WHERE spelling.symbol IS NOT NULL
)
SELECT symbol FROM spelling WHERE symbol IS NOT NULL;

-- name: markets_of_symbols
-- What the spellings $1 stand for on the exchanges $2: as ccxt and the exchange spell it in the newest and the oldest few orders. An
-- exchange that has one spelling for several markets is asked by its letters too (symbols.py). From one place in the index of symbols on,
-- and what is of the next symbol left out: by = the planner would go through the orders by their time, and of a rare symbol through all.
SELECT DISTINCT s.symbol, o.unified_symbol, o.exchange_symbol
FROM unnest($1::text[]) AS s (symbol) CROSS JOIN unnest($2::text[]) AS e (exchange)
CROSS JOIN LATERAL (
    (SELECT n.symbol, n.exchange, n.unified_symbol, n.exchange_symbol FROM "monitoring"."orders" n
     WHERE (n.symbol, n.exchange, n.created_at) <= (s.symbol, e.exchange, 'infinity')
     ORDER BY n.symbol DESC, n.exchange DESC, n.created_at DESC LIMIT 10)
    UNION ALL
    (SELECT n.symbol, n.exchange, n.unified_symbol, n.exchange_symbol FROM "monitoring"."orders" n
     WHERE (n.symbol, n.exchange, n.created_at) >= (s.symbol, e.exchange, '-infinity')
     ORDER BY n.symbol, n.exchange, n.created_at LIMIT 10)
) AS o
WHERE o.symbol = s.symbol AND o.exchange = e.exchange;

-- name: exchanges_of_orders
WITH RECURSIVE name AS (
    (SELECT exchange FROM "monitoring"."orders" WHERE exchange IS NOT NULL ORDER BY exchange LIMIT 1)
    UNION ALL
    SELECT (SELECT o.exchange FROM "monitoring"."orders" o WHERE o.exchange > name.exchange ORDER BY o.exchange LIMIT 1)
    FROM name WHERE name.exchange IS NOT NULL
)
SELECT exchange FROM name WHERE exchange IS NOT NULL;

-- name: accounts_of_orders
WITH RECURSIVE name AS (
    (SELECT account FROM "monitoring"."orders" WHERE account IS NOT NULL ORDER BY account LIMIT 1)
    UNION ALL
    SELECT (SELECT o.account FROM "monitoring"."orders" o WHERE o.account > name.account ORDER BY o.account LIMIT 1)
    FROM name WHERE name.account IS NOT NULL
)
SELECT account FROM name WHERE account IS NOT NULL;

-- name: keys_of_position
SELECT order_key FROM "monitoring"."orders" WHERE position_id = {0}

-- name: of_another_market
SELECT FROM "monitoring"."orders" u WHERE u.order_key = {key} AND upper(u.unified_symbol) <> {symbol}

-- name: position_of_symbol
EXISTS (SELECT FROM "monitoring"."orders" u
        WHERE u.order_key IS NOT NULL AND u.position_id = p.position_id AND u.account = p.account AND u.exchange = p.exchange
          AND u.symbol = ANY({0}::text[]) AND coalesce(upper(u.unified_symbol) = ({0}::text[])[1], true))

-- name: event_of_symbol
-- A record that holds a NUL cannot be taken apart by PostgreSQL: it stands as a replacement character then.
(SELECT CASE WHEN {0}::text IS NULL OR m.unified IS NULL THEN m.own = ANY({1}::text[]) OR m.unified = ANY({1}::text[])
             ELSE upper(m.unified) = {0} END
 FROM (SELECT r.body #>> '{{market,symbol}}' AS unified, r.body #>> '{{market,exchange_symbol}}' AS own
       FROM (SELECT replace(e.body::text, '\u0000', '\ufffd')::json AS body) AS r) AS m)
