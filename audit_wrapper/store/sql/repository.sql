-- What a bot writes itself, by the repository methods. A row is found again by its exchange order id.

-- name: find_order
SELECT id, order_key FROM "monitoring"."orders"
WHERE exchange = $1 AND $2 IN (symbol, unified_symbol, exchange_symbol) AND order_id = $3
  AND (account = $4 OR account IS NULL)
ORDER BY order_key IS NULL, id LIMIT 1;

-- name: order_of_id
SELECT id, order_key, exchange, account FROM "monitoring"."orders" WHERE id = $1;

-- name: create_order
INSERT INTO "monitoring"."orders"
    (position_id, exchange, symbol, order_id, client_order_id, type, side, size, price, status, filled, remaining, fee,
     fee_currency, created_at, updated_at, account, signal_id, purpose, average_price, limit_price, trigger_price,
     reduce_only, reason)
SELECT n.position_id, n.exchange, n.symbol, n.order_id, n.client_order_id, n.type, n.side, n.size, n.price, n.status,
       n.filled, n.remaining, n.fee, n.fee_currency, coalesce(n.created_at, now() AT TIME ZONE 'utc'),
       coalesce(n.updated_at, now() AT TIME ZONE 'utc'), n.account, n.signal_id, n.purpose, n.average_price, n.limit_price,
       n.trigger_price, n.reduce_only, n.reason
FROM json_populate_record(NULL::"monitoring"."orders", $1::json) AS n
RETURNING id;

-- name: update_order
-- Only the columns that are in the JSON change.
UPDATE "monitoring"."orders" AS o
SET (position_id, exchange, symbol, order_id, client_order_id, type, side, size, price, status, filled, remaining, fee,
     fee_currency, created_at, updated_at, account, signal_id, purpose, average_price, limit_price, trigger_price,
     reduce_only, reason)
  = (SELECT n.position_id, n.exchange, n.symbol, n.order_id, n.client_order_id, n.type, n.side, n.size, n.price,
            n.status, n.filled, n.remaining, n.fee, n.fee_currency, n.created_at, n.updated_at, n.account, n.signal_id,
            n.purpose, n.average_price, n.limit_price, n.trigger_price, n.reduce_only, n.reason
     FROM json_populate_record(o, $2::json) AS n)
WHERE o.id = $1;

-- name: link_order
-- The row follows the exchange; the bot's word is taken for what only the bot knows.
UPDATE "monitoring"."orders" AS o
SET position_id = coalesce(o.position_id, n.position_id), signal_id = coalesce(o.signal_id, n.signal_id),
    link_how = CASE WHEN o.position_id IS NULL AND n.position_id IS NOT NULL THEN 'repository' ELSE o.link_how END
FROM json_populate_record(NULL::"monitoring"."orders", $2::json) AS n
WHERE o.id = $1;

-- name: find_trade
SELECT t.id, t.order_key FROM "monitoring"."trades" t
LEFT JOIN "monitoring"."orders" o ON o.order_key = t.order_key
WHERE t.exchange = $1 AND $2 IN (t.symbol, o.unified_symbol, o.exchange_symbol) AND t.order_id = $3
  AND (t.account = $4 OR t.account IS NULL)
ORDER BY t.order_key IS NULL, t.id LIMIT 1;

-- name: create_trade
INSERT INTO "monitoring"."trades"
    (signal_id, symbol, exchange, side, order_type, quantity, price, executed_qty, average_price, order_id,
     client_order_id, status, fee, fee_currency, executed_at, updated_at, account, position_id, purpose)
SELECT n.signal_id, n.symbol, n.exchange, n.side, n.order_type, n.quantity, n.price, n.executed_qty, n.average_price,
       n.order_id, n.client_order_id, n.status, n.fee, n.fee_currency, coalesce(n.executed_at, now() AT TIME ZONE 'utc'),
       coalesce(n.updated_at, now() AT TIME ZONE 'utc'), n.account, n.position_id, n.purpose
FROM json_populate_record(NULL::"monitoring"."trades", $1::json) AS n
RETURNING id;

-- name: update_trade
UPDATE "monitoring"."trades" AS t
SET (signal_id, symbol, exchange, side, order_type, quantity, price, executed_qty, average_price, order_id,
     client_order_id, status, fee, fee_currency, executed_at, updated_at, account, position_id, purpose)
  = (SELECT n.signal_id, n.symbol, n.exchange, n.side, n.order_type, n.quantity, n.price, n.executed_qty,
            n.average_price, n.order_id, n.client_order_id, n.status, n.fee, n.fee_currency, n.executed_at,
            n.updated_at, n.account, n.position_id, n.purpose
     FROM json_populate_record(t, $2::json) AS n)
WHERE t.id = $1;

-- name: link_trade
UPDATE "monitoring"."trades" AS t
SET position_id = coalesce(t.position_id, n.position_id), signal_id = coalesce(t.signal_id, n.signal_id)
FROM json_populate_record(NULL::"monitoring"."trades", $2::json) AS n
WHERE t.id = $1;
