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
-- Of those made after $2 also stops that are over and whose id was never learned (under it they may have been executed),
-- fees that the exchange has not named yet, and requests taken for absent (it may show their order after all).
SELECT o.*, a.intent_id AS placed_by, a.part AS placed_as
FROM "monitoring"."orders" o JOIN audit.orders a USING (order_key)
WHERE o.account = $1
  AND (o.status IN ('UNKNOWN', 'NEW', 'PARTIALLY_FILLED') OR o.fee_status = 'pending'
       OR o.created_at > $2
          AND (o.order_id IS NULL AND o.status IN ('MODIFIED', 'CANCELED') OR o.fee_status IN ('missing', 'derived')
               OR o.found_by = 'absence' AND o.order_id IS NULL))
ORDER BY o.created_at, o.id;

-- name: entries_of
-- The orders that stops of these requests travelled with.
SELECT a.intent_id AS placed_by, o.*
FROM audit.orders a JOIN "monitoring"."orders" o USING (order_key) WHERE a.part = 'order' AND a.intent_id = ANY($1);

-- name: orders_of_ids
SELECT o.* FROM "monitoring"."orders" o
WHERE o.order_key IN (SELECT order_key FROM audit.order_aliases
                      WHERE exchange = $1 AND account = $2 AND kind IN ('order', 'algo') AND value = ANY($3))
ORDER BY o.created_at, o.id;

-- name: orders_between
-- Made or executed in the time from $3 to $4, or open then and now.
SELECT o.* FROM "monitoring"."orders" o
WHERE o.order_key IS NOT NULL AND o.exchange = $1 AND o.account = $2 AND o.created_at < $4
  AND (o.created_at >= $3 OR o.status IN ('UNKNOWN', 'NEW', 'PARTIALLY_FILLED')
       OR o.order_key IN (SELECT order_key FROM audit.fills f
                          WHERE f.exchange_at >= $3::timestamp AT TIME ZONE 'utc' AND f.exchange_at < $4::timestamp AT TIME ZONE 'utc'))
ORDER BY o.created_at, o.id;

-- name: not_sent_by_us
-- Orders of which only the exchange knows who sent them: made between $3 and $4, or whenever with one of the client ids $5.
SELECT o.* FROM "monitoring"."orders" o
WHERE o.order_key IS NOT NULL AND o.exchange = $1 AND o.account = $2 AND o.origin IN ('external', 'backfilled')
  AND (o.created_at >= $3 AND o.created_at < $4 OR o.client_order_id = ANY($5))
ORDER BY o.created_at, o.id;

-- name: fills_of_orders
SELECT * FROM audit.fills WHERE order_key = ANY($1) ORDER BY order_key, exchange_trade_id;

-- name: conditional_keys
-- Of these orders, those whose id is that of a conditional order of Binance.
SELECT DISTINCT order_key FROM audit.order_aliases WHERE order_key = ANY($1) AND kind = 'algo';

-- name: payments_known
SELECT DISTINCT payment_id FROM audit.funding WHERE exchange = $1 AND account = $2 AND payment_id = ANY($3);

-- name: covered
SELECT body::text AS body FROM audit.events WHERE kind = 'covered' AND exchange = $1 AND account = $2 ORDER BY stored_no;

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
