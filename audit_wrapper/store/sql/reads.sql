-- What people and the reconciliation ask for.

-- name: orders_of_position
SELECT * FROM "monitoring"."orders" WHERE position_id = $1 ORDER BY created_at, id;

-- name: trades_of_position
SELECT * FROM "monitoring"."trades" WHERE position_id = $1 ORDER BY executed_at, id;

-- name: open_stops
-- UNKNOWN is among them: it may be standing at the exchange.
SELECT * FROM "monitoring"."orders"
WHERE status IN ('NEW', 'PARTIALLY_FILLED', 'UNKNOWN')
  AND (purpose = 'stop_loss' OR type IN ('STOP', 'STOP_MARKET', 'STOP_LIMIT', 'STOP_LOSS', 'TRAILING_STOP_MARKET'))
  AND ($1::text IS NULL OR exchange = $1)
  AND ($2::text IS NULL OR $2 IN (symbol, unified_symbol, exchange_symbol))
ORDER BY created_at, id;

-- name: incomplete_orders
SELECT * FROM "monitoring"."orders"
WHERE order_key IS NOT NULL AND account = $1
  AND (status IN ('UNKNOWN', 'NEW', 'PARTIALLY_FILLED') OR fee_status = 'pending')
ORDER BY created_at, id;

-- name: keys_of_order_id
SELECT DISTINCT order_key FROM audit.order_aliases WHERE kind IN ('order', 'algo') AND value = $1;

-- name: order_history
SELECT oe.order_key, oe.part, e.stream, e.seq, e.stored_at, e.body::text AS body
FROM audit.order_events oe JOIN audit.events e USING (stream, seq)
WHERE oe.order_key = ANY($1)
ORDER BY oe.order_key, e.stream, e.seq, oe.part;

-- name: events
SELECT stored_no, stream, seq, record_id, kind, action, exchange, account, correlation_id, intent_id, called_at,
       answered_at, stored_at, body::text AS body
FROM audit.events
WHERE stored_no > $1
  AND ($3::uuid IS NULL OR stream = $3)
  AND ($4::text IS NULL OR account = $4)
  AND ($5::text IS NULL OR kind = $5)
  AND ($6::uuid IS NULL OR correlation_id = $6)
ORDER BY stored_no LIMIT $2;
