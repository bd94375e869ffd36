-- Everything derived, made anew from audit.events.

-- name: forget_everything_derived
-- For a rebuild: what identity and projection made out of audit.events. The rows people read keep their ids.
WITH a AS (DELETE FROM audit.order_aliases), e AS (DELETE FROM audit.order_events), f AS (DELETE FROM audit.fills),
     g AS (DELETE FROM audit.funding), p AS (DELETE FROM audit.positions WHERE bot_schema = '"monitoring"')
DELETE FROM audit.orders;

-- name: events_in_order_of_arrival
SELECT stream, seq, body::text AS body FROM audit.events
WHERE stored_no > $1 AND stored_no <= $1 + $2 ORDER BY stored_no;

-- name: mend_scopes
-- The scope is read from the body, and the reading may have been mended.
UPDATE audit.events e SET scope = q.scope
FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS q(stream, seq, scope)
WHERE (e.stream, e.seq) = (q.stream, q.seq) AND e.scope IS DISTINCT FROM q.scope;

-- name: next_orders
SELECT DISTINCT order_key FROM audit.order_events WHERE $1::uuid IS NULL OR order_key > $1 ORDER BY order_key LIMIT $2;

-- name: count_orders
SELECT count(DISTINCT order_key) FROM audit.order_events;

-- name: last_stored_no
SELECT coalesce(max(stored_no), 0) FROM audit.events;

-- name: drop_rows_without_events
WITH t AS (DELETE FROM "monitoring"."trades" t
           WHERE t.order_key IS NOT NULL AND NOT EXISTS (SELECT FROM audit.orders a WHERE a.order_key = t.order_key))
DELETE FROM "monitoring"."orders" o
WHERE o.order_key IS NOT NULL AND NOT EXISTS (SELECT FROM audit.orders a WHERE a.order_key = o.order_key)
RETURNING o.account, coalesce(o.exchange, '') AS exchange, o.position_id;

-- name: every_group
SELECT coalesce(exchange, '') AS exchange, account FROM audit.events
UNION SELECT exchange, account FROM audit.order_aliases;

-- name: hold_deliveries
-- Also those of exchanges and accounts that are met for the first time. Taken after the advisory locks, as they do.
LOCK TABLE audit.events IN SHARE ROW EXCLUSIVE MODE;
