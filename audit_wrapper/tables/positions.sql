-- Which positions a range of time has: those that were closed in it, and those that were still open at its end (or of which nobody
-- knows whether they were). The report, the export and the frames ask this and nothing else.

-- name: candidates
-- $1 since, $2 until, $3 exchange, $4 account, $5 position; NULL: not restricted. All that may be in the range, by an index: those that
-- had begun at its end, and were not closed before it.
SELECT k.account, k.exchange, k.position_id, k.begun_at
FROM audit.positions k
WHERE k.bot_schema = '"monitoring"' AND (k.executed OR k.is_open IS NULL)
  AND tstzrange(k.begun_at, k.closed_at, '[]') && tstzrange($1::timestamptz, CASE WHEN $2::timestamptz < $1 THEN $1 ELSE $2 END, '[]')
  AND ($3::text IS NULL OR k.exchange = $3) AND ($4::text IS NULL OR k.account = $4)
  AND ($5::text IS NULL OR k.position_id = $5);

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
