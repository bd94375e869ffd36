-- Which positions a range of time has: those that were closed in it, and those that were still open at its end (or of which nobody
-- knows whether they were). The report, the export and the frames ask this and nothing else.

-- name: candidates
-- $1 since, $2 until (not included), $3 exchange, $4 account, $5 position; NULL: not restricted. One pass over the orders, which
-- leaves out what cannot be in the range before anything is reckoned: of a position that was closed in it an order changed in it,
-- give or take a day for clocks that differ.
SELECT o.account, o.exchange, o.position_id, min(o.created_at) AT TIME ZONE 'utc' AS begun_at
FROM audit.v_orders o
WHERE o.position_id IS NOT NULL AND ($3::text IS NULL OR o.exchange = $3) AND ($4::text IS NULL OR o.account = $4)
  AND ($5::text IS NULL OR o.position_id = $5)
GROUP BY o.position_id, o.account, o.exchange
HAVING ($2::timestamptz IS NULL OR min(o.created_at) < ($2 AT TIME ZONE 'utc') + interval '1 day')
   AND ($1::timestamptz IS NULL OR max(o.updated_at) >= ($1 AT TIME ZONE 'utc') - interval '1 day'
        OR bool_or(o.filled IS NULL OR o.status = 'UNKNOWN' OR o.filled <> 0 AND o.side IS NULL)
        OR coalesce(sum(o.filled) FILTER (WHERE o.side = 'buy'), 0) <> coalesce(sum(o.filled) FILTER (WHERE o.side = 'sell'), 0));

-- name: of_range
-- Those of these candidates that the range has, with their figures. $1 since, $2 until, $3 symbol (an array, as in figures.sql), $4 accounts, $5 exchanges,
-- $6 ids, $7 begun_at. Where no execution has a time, the first order says when it began. All are reckoned in one go: the ids
-- as an array reach the index, which a join does not.
SELECT p.*
FROM unnest($4::text[], $5::text[], $6::text[], $7::timestamptz[]) AS w (account, exchange, position_id, begun_at)
JOIN audit.v_position_figures p USING (account, exchange, position_id)
WHERE p.position_id = ANY($6) AND (p.executed > 0 OR p.is_open IS NULL)
  AND ($3::text[] IS NULL OR EXISTS (
      SELECT FROM audit.v_orders o WHERE o.position_id = p.position_id AND o.account = p.account AND o.exchange = p.exchange
         AND o.symbol = ANY($3) AND coalesce(upper(o.unified_symbol) = $3[1], true)))
  AND ($1::timestamptz IS NULL OR p.closed_at IS NULL OR p.closed_at >= $1)
  AND ($2::timestamptz IS NULL OR coalesce(p.opened_at, w.begun_at) < $2);

-- name: among
p.position_id = ANY({2}::text[]) AND (p.account, p.exchange, p.position_id) IN (SELECT * FROM unnest({0}::text[], {1}::text[], {2}::text[]))
