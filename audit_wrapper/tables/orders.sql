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
SELECT FROM "monitoring"."orders" u WHERE u.order_key = {key} AND u.unified_symbol <> {symbol}
