-- What one position or one order left behind. Every query goes by an index: tests/database/test_tables.py looks at the plans.

-- name: positions_named
SELECT account, exchange, min(symbol) AS symbol, count(*) AS orders, min(created_at) AS at,
       array_agg(DISTINCT ARRAY[symbol::text, unified_symbol::text, exchange_symbol::text]) AS markets
FROM "monitoring"."orders" WHERE order_key IS NOT NULL AND position_id = $1
GROUP BY account, exchange ORDER BY account, exchange;

-- name: keys_named
-- By the exchange's id, the client's id, or the record that announced the order (of two that were found to be one order, too).
SELECT order_key FROM audit.order_aliases WHERE value = $1
UNION
SELECT order_key FROM "monitoring"."orders" WHERE client_order_id = $1 AND order_key IS NOT NULL;

-- name: keys_between
SELECT order_key FROM "monitoring"."orders" WHERE order_key BETWEEN $1 AND $2 AND order_key IS NOT NULL LIMIT 1000;

-- name: orders_of_keys
SELECT * FROM "monitoring"."orders" WHERE order_key = ANY($1) ORDER BY created_at, id;

-- name: orders_of_position
SELECT * FROM "monitoring"."orders"
WHERE order_key IS NOT NULL AND position_id = $1 AND account = $2 AND exchange IS NOT DISTINCT FROM $3
ORDER BY created_at, id;

-- name: fills_of_keys
SELECT * FROM audit.fills WHERE order_key = ANY($1) ORDER BY exchange_at, exchange_trade_id;

-- name: records_of_keys
SELECT oe.order_key, oe.part, e.stream, e.seq, e.correlation_id, e.body::text AS body
FROM audit.order_events oe JOIN audit.events e USING (stream, seq)
WHERE oe.order_key = ANY($1) ORDER BY e.stream, e.seq, oe.part LIMIT $2;

-- name: records_of_calls
SELECT stream, seq, body::text AS body FROM audit.events WHERE correlation_id = ANY($1) ORDER BY stream, seq LIMIT $2;

-- name: scopes_of_keys
SELECT DISTINCT o.scope, oe.stream, min(oe.seq) AS seq
FROM audit.orders o JOIN audit.order_events oe USING (order_key)
WHERE o.order_key = ANY($1) AND o.scope IS NOT NULL GROUP BY o.scope, oe.stream;

-- name: records_of_scope
-- What hit the orders of a symbol without naming them.
SELECT stream, seq, body::text AS body FROM audit.events
WHERE stream = $1 AND scope = $2 AND seq > $3 ORDER BY seq LIMIT $4;

-- name: figures_of_position
SELECT * FROM audit.v_positions WHERE account = $1 AND exchange IS NOT DISTINCT FROM $2 AND position_id = $3;

-- name: stops_of_position
SELECT * FROM audit.v_position_stops WHERE account = $1 AND exchange IS NOT DISTINCT FROM $2 AND position_id = $3 ORDER BY from_at;

-- name: slippage_of_order
SELECT * FROM audit.v_slippage WHERE order_key = $1;
