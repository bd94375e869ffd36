-- Where each position stands (audit.positions), kept with its orders.

-- name: positions_of_orders
SELECT DISTINCT o.account, coalesce(o.exchange, '') AS exchange, o.position_id
FROM "monitoring"."orders" o WHERE o.order_key = ANY($1) AND o.position_id IS NOT NULL AND o.account IS NOT NULL;

-- name: keep_positions
-- $1 accounts, $2 exchanges, $3 ids. Reckoned from all their orders, by the rules of audit.v_position_figures; so whatever
-- became of these, they are right.
INSERT INTO audit.positions AS p (bot_schema, account, exchange, position_id, begun_at, closed_at, is_open, executed)
SELECT '"monitoring"', r.* FROM (
    /* reckoned */
    WHERE o.order_key IS NOT NULL AND o.position_id = ANY($3)
      AND (o.account, coalesce(o.exchange, ''), o.position_id) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))
    GROUP BY o.account, coalesce(o.exchange, ''), o.position_id
) AS r
ON CONFLICT (position_id, account, exchange, bot_schema) DO UPDATE
SET begun_at = excluded.begun_at, closed_at = excluded.closed_at, is_open = excluded.is_open, executed = excluded.executed
WHERE (p.begun_at, p.closed_at, p.is_open, p.executed)
      IS DISTINCT FROM (excluded.begun_at, excluded.closed_at, excluded.is_open, excluded.executed);

-- name: forget_positions
-- Of these, those that no order belongs to any more.
DELETE FROM audit.positions p USING unnest($1::text[], $2::text[], $3::text[]) AS q(account, exchange, position_id)
WHERE (p.position_id, p.account, p.exchange, p.bot_schema) = (q.position_id, q.account, q.exchange, '"monitoring"')
  AND NOT EXISTS (SELECT FROM "monitoring"."orders" o
                  WHERE o.order_key IS NOT NULL AND o.position_id = q.position_id AND o.account = q.account
                    AND coalesce(o.exchange, '') = q.exchange);

-- name: reckon_every_position
INSERT INTO audit.positions (bot_schema, account, exchange, position_id, begun_at, closed_at, is_open, executed)
SELECT '"monitoring"', r.* FROM (
    /* reckoned */
    WHERE o.order_key IS NOT NULL AND o.position_id IS NOT NULL AND o.account IS NOT NULL
    GROUP BY o.account, coalesce(o.exchange, ''), o.position_id
) AS r;

-- name: reckoned
-- A position as its orders have it; stands in the queries above. See docs/figures.md for what "closed" and "open" take.
SELECT o.account, coalesce(o.exchange, '') AS exchange, o.position_id,
       least(min(o.created_at::timestamp) AT TIME ZONE 'utc', min(f.first_at)) AS begun_at,
       CASE WHEN coalesce(sum(o.filled * CASE o.side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END), 0) = 0
                 AND bool_and(o.filled IS NOT NULL AND o.status IS DISTINCT FROM 'UNKNOWN' AND f.are_timed
                              AND (o.filled = 0 OR o.side IS NOT NULL AND f.shown IS NOT DISTINCT FROM o.filled))
            THEN max(f.last_at) END AS closed_at,
       CASE WHEN NOT bool_or(o.filled IS NULL OR o.status IS NOT DISTINCT FROM 'UNKNOWN' OR o.filled <> 0 AND o.side IS NULL)
            THEN coalesce(sum(o.filled * CASE o.side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END), 0) <> 0 END AS is_open,
       coalesce(bool_or(o.filled <> 0), false) AS executed
FROM "monitoring"."orders" o
CROSS JOIN LATERAL (
    SELECT min(f.exchange_at) AS first_at, max(f.exchange_at) AS last_at, count(*) = count(f.exchange_at) AS are_timed,
           sum(f.quantity) FILTER (WHERE f.price IS NOT NULL) AS shown
    FROM audit.fills f WHERE f.order_key = o.order_key
) AS f

-- name: positions_are_kept
SELECT EXISTS (SELECT FROM audit.bot_schemas WHERE bot_schema = '"monitoring"');

-- name: keep_from_now_on
INSERT INTO audit.bot_schemas (bot_schema) VALUES ('"monitoring"');
