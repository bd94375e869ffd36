-- Which position of the bot an order belongs to, read from the bot's own table; that table is never written to.
-- $1, $2: orders of these exchanges and accounts; $3: made since, UTC; $4: or these orders, whenever made; $5: how many.
-- A stop that was sent without a side leaves the position, so it stands on the other side of it; an order on the side that
-- opens the position is an entry, one on the other side an exit.
-- Columns that a bot's table need not have (p.side, p.signal_id, p.status, p.closed_at, p.updated_at) are put in as NULL by
-- links.py where they are missing. Returned is what was linked, and to what; "left": the position that it had before.

-- name: unlinked_groups
SELECT DISTINCT coalesce(exchange, '') AS exchange, account
FROM "monitoring"."orders"
WHERE order_key IS NOT NULL
  AND (position_id IS NULL AND (created_at > $1 OR order_key = ANY($2))
       OR link_how = 'positions_table:open_interval' AND order_key = ANY($2));

-- name: link_by_order_id
-- Also of orders of the batch that were linked by their time before their id was known.
WITH unlinked AS MATERIALIZED (
    SELECT o.id, o.exchange, o.order_id, o.symbol, o.unified_symbol, o.exchange_symbol, o.position_id AS "left"
    FROM "monitoring"."orders" o
    WHERE o.order_key IS NOT NULL AND o.order_id IS NOT NULL
      AND (o.position_id IS NULL AND (o.created_at > $3 OR o.order_key = ANY($4))
           OR o.link_how = 'positions_table:open_interval' AND o.order_key = ANY($4))
      AND (coalesce(o.exchange, ''), o.account) IN (SELECT * FROM unnest($1::text[], $2::text[]))
    ORDER BY o.created_at DESC LIMIT $5
), found AS (
    SELECT DISTINCT ON (o.id) o.id, o."left", p.id::text AS position_id, p.symbol::text AS symbol, p.signal_id::text AS signal_id
    FROM unlinked o
    JOIN "monitoring"."positions" p ON p.exchange_order_id::text = o.order_id
    WHERE p.symbol::text IN (o.symbol, o.unified_symbol, o.exchange_symbol)
      -- "binance" in the one and "binanceusdm" in the other are one exchange to a bot
      AND (starts_with(lower(o.exchange), lower(p.exchange)) OR starts_with(lower(p.exchange), lower(o.exchange)))
    ORDER BY o.id, p.id DESC
)
UPDATE "monitoring"."orders" o
SET position_id = found.position_id, symbol = found.symbol, link_how = 'positions_table:order_id',
    -- what a link by time has said of it does not count any more; what its records say is put back by `refresh`
    side = CASE WHEN o.position_id IS NULL THEN o.side END,
    signal_id = coalesce(CASE WHEN o.position_id IS NULL THEN o.signal_id END,
                         CASE WHEN found.signal_id ~ '^-?\d{1,9}$' THEN found.signal_id::int END),
    purpose = coalesce(CASE WHEN o.position_id IS NULL THEN o.purpose END, 'entry')
FROM found WHERE o.id = found.id
RETURNING o.order_key, o.account, coalesce(o.exchange, '') AS exchange, o.position_id, found."left";

-- name: link_by_open_interval
-- By the time the position was open, two seconds around it, and only where exactly one was.
WITH unlinked AS MATERIALIZED (
    SELECT o.id, o.exchange, o.created_at, o.symbol, o.unified_symbol, o.exchange_symbol
    FROM "monitoring"."orders" o
    WHERE o.order_key IS NOT NULL AND o.position_id IS NULL
      -- of an order that others sent nobody knows whose it is
      AND coalesce(o.origin, 'bot') = 'bot'
      AND (o.created_at > $3 OR o.order_key = ANY($4))
      AND (coalesce(o.exchange, ''), o.account) IN (SELECT * FROM unnest($1::text[], $2::text[]))
    ORDER BY o.created_at DESC LIMIT $5
), span AS (
    SELECT min(created_at) - interval '2 seconds' AS first, max(created_at) + interval '2 seconds' AS last FROM unlinked
), ended AS (
    SELECT p.id::text AS position_id, lower(p.exchange) AS exchange, p.symbol::text AS symbol,
           p.signal_id::text AS signal_id, p.opened_at,
           CASE WHEN lower(p.side) IN ('long', 'buy') THEN 'buy' WHEN lower(p.side) IN ('short', 'sell') THEN 'sell' END
               AS opening_side,
           -- a position that came to nothing may have no closing time
           coalesce(p.closed_at,
                    CASE WHEN lower(p.status) IN ('closed', 'failed', 'rolled_back', 'canceled', 'cancelled')
                         THEN p.updated_at END,
                    'infinity') AS ended_at
    FROM "monitoring"."positions" p
), candidates AS MATERIALIZED (
    -- of years of positions the few that these orders can belong to
    SELECT ended.* FROM ended, span WHERE ended.opened_at <= span.last AND ended.ended_at >= span.first
), found AS (
    SELECT o.id, min(c.position_id) AS position_id, min(c.symbol) AS symbol, min(c.signal_id) AS signal_id,
           min(c.opening_side) AS opens, CASE min(c.opening_side) WHEN 'buy' THEN 'sell' WHEN 'sell' THEN 'buy' END AS leaves
    FROM unlinked o
    JOIN candidates c ON c.symbol IN (o.symbol, o.unified_symbol, o.exchange_symbol)
    WHERE (starts_with(lower(o.exchange), c.exchange) OR starts_with(c.exchange, lower(o.exchange)))
      AND c.opened_at - interval '2 seconds' <= o.created_at AND o.created_at <= c.ended_at + interval '2 seconds'
    GROUP BY o.id HAVING count(*) = 1
)
UPDATE "monitoring"."orders" o
SET position_id = found.position_id, symbol = found.symbol, link_how = 'positions_table:open_interval',
    signal_id = coalesce(o.signal_id, CASE WHEN found.signal_id ~ '^-?\d{1,9}$' THEN found.signal_id::int END),
    side = coalesce(o.side, CASE WHEN o.type IN ('STOP_LOSS', 'TAKE_PROFIT', 'TRAILING_STOP_MARKET') THEN found.leaves END),
    purpose = coalesce(o.purpose, CASE o.side WHEN found.opens THEN 'entry' WHEN found.leaves THEN 'exit' END)
FROM found WHERE o.id = found.id
RETURNING o.order_key, o.account, coalesce(o.exchange, '') AS exchange, o.position_id, NULL AS "left";

-- name: trades_follow
UPDATE "monitoring"."trades" t
SET position_id = o.position_id, symbol = o.symbol, signal_id = o.signal_id, side = o.side, purpose = o.purpose
FROM "monitoring"."orders" o WHERE o.order_key = t.order_key AND o.order_key = ANY($1);
