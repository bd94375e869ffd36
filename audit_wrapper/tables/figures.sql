-- The figures of a report, for a range of time and whatever else it is restricted to. They come from the views audit.v_*, which
-- anybody can query. What a view has for all time is computed here for the range, by the formula of the view that is
-- named; tests hold the two against each other.
-- $1 since, $2 until (not included), $3 exchange, $4 account, $5 symbol, $6 position; NULL: not restricted; other arguments are named.
-- The symbol is an array, as symbols.py makes it: first the market in ccxt's spelling, where that is meant (else NULL), then every
-- name that rows may have.

-- name: has_views
SELECT to_regclass('audit.v_positions') IS NOT NULL AND to_regclass('audit.positions') IS NOT NULL;

-- name: database
SELECT current_database() AS name, current_setting('server_version') AS version, now() AS at;

-- name: extent
-- the first and the last moment of which there is anything, without regard to the range
SELECT min(created_at)::timestamptz AS first_at, max(created_at)::timestamptz AS last_at
FROM audit.v_orders
WHERE ($1::text IS NULL OR exchange = $1) AND ($2::text IS NULL OR account = $2)
  AND ($3::text[] IS NULL OR symbol = ANY($3) AND coalesce(upper(unified_symbol) = $3[1], true)) AND ($4::text IS NULL OR position_id = $4);

-- name: accounts
SELECT DISTINCT account, exchange FROM audit.v_orders
WHERE ($1::timestamptz IS NULL OR created_at >= $1) AND ($2::timestamptz IS NULL OR created_at < $2)
  AND ($3::text IS NULL OR exchange = $3) AND ($4::text IS NULL OR account = $4)
  AND ($5::text[] IS NULL OR symbol = ANY($5) AND coalesce(upper(unified_symbol) = $5[1], true))
  AND ($6::text IS NULL OR position_id = $6)
ORDER BY account, exchange;

-- name: in_range
-- Begins the queries of positions. in_range: the positions of the range (positions.sql), reckoned once for all of these queries, column
-- by column: $1 accounts, $2 exchanges, $3 ids, $4 symbols, $5 currencies, $6 is_open, $7 opened_at, $8 closed_at, $9 fees,
-- $10 fees_other, $11 entry_slippage, $12 exit_slippage, $13 gross_result; $14 until.
-- What was closed later was open at the end of the range: it has no result in it.
-- slippage_known: of the entry and the exit, as far as a price was meant for them; NULL: for neither.
WITH in_range AS (
    SELECT r.account, r.exchange, r.position_id, r.symbol, r.currency, r.opened_at, r.fees_other, r.closed_later,
           CASE WHEN r.closed_later IS NOT NULL THEN true ELSE r.is_open END AS is_open,
           CASE WHEN r.closed_later IS NULL THEN r.closed_at END AS closed_at,
           CASE WHEN r.closed_later IS NULL THEN r.fees END AS fees, r.entry_slippage, r.exit_slippage,
           r.entry_slippage + r.exit_slippage AS slippage,
           CASE WHEN r.closed_later IS NULL THEN r.gross_result END AS gross_result,
           CASE WHEN r.closed_later IS NULL THEN r.gross_result - r.fees END AS net_result,
           CASE WHEN r.closed_later IS NULL AND r.gross_result IS NOT NULL THEN
               CASE WHEN r.exit_slippage IS NULL THEN r.entry_slippage
                    ELSE coalesce(r.entry_slippage, 0) + r.exit_slippage END END AS slippage_known
    FROM (
        SELECT p.*, CASE WHEN p.closed_at >= $14::timestamptz THEN p.closed_at END AS closed_later
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::timestamptz[],
                    $8::timestamptz[], $9::numeric[], $10::jsonb[], $11::numeric[], $12::numeric[], $13::numeric[])
             AS p (account, exchange, position_id, symbol, currency, is_open, opened_at, closed_at, fees, fees_other,
                   entry_slippage, exit_slippage, gross_result)
    ) AS r
)

-- name: positions
-- begins with in_range; as audit.v_positions, less what came after the range. $15: so many, the newest
, shown AS (
    SELECT p.*, count(*) OVER () AS of_so_many
    FROM in_range p
    ORDER BY p.closed_at DESC NULLS FIRST, p.opened_at DESC NULLS FIRST, p.account, p.exchange, p.position_id
    LIMIT $15
)
SELECT s.account, s.exchange, s.position_id, s.symbol, p.side, s.currency, s.is_open, s.opened_at, s.closed_at, p.entry_quantity,
       p.entry_price, s.entry_slippage, s.exit_slippage, s.slippage_known, s.gross_result + s.slippage_known AS intended_known,
       s.gross_result, s.net_result, s.fees, s.of_so_many,
       CASE WHEN s.closed_later IS NULL THEN p.exit_price END AS exit_price,
       CASE WHEN s.closed_later IS NULL THEN s.fees_other END AS fees_other,
       CASE WHEN s.closed_later IS NULL THEN p.seconds_open
            ELSE round(extract(epoch FROM $14 - s.opened_at)::numeric, 6) END AS seconds_open,
       CASE WHEN s.closed_later IS NULL THEN p.seconds_without_stop END AS seconds_without_stop,
       CASE WHEN s.closed_later IS NULL THEN p.why_not
            ELSE 'it was open at the end of this range, and closed at ' ||
                 to_char(s.closed_later AT TIME ZONE 'utc', 'YYYY-MM-DD HH24:MI:SS') END AS why_not
FROM shown s
JOIN audit.v_positions p USING (account, exchange, position_id)
WHERE p.position_id = ANY(ARRAY(SELECT position_id FROM shown))
ORDER BY s.closed_at DESC NULLS FIRST, s.opened_at DESC NULLS FIRST, s.account, s.exchange, s.position_id;

-- name: stops
-- of the positions $1 (accounts), $2 (exchanges), $3 (ids): each interval, in seconds since the opening $4
SELECT s.account, s.exchange, s.position_id, s.from_at, s.has_stop,
       extract(epoch FROM s.from_at - w.opened_at) AS begins_s, extract(epoch FROM s.until_at - s.from_at) AS lasts_s
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) WITH ORDINALITY
     AS w (account, exchange, position_id, opened_at, place)
CROSS JOIN LATERAL (
    SELECT * FROM audit.v_position_stops v
    WHERE v.account = w.account AND v.exchange = w.exchange AND v.position_id = w.position_id OFFSET 0
) AS s
ORDER BY w.place, s.from_at;

-- name: performance
-- begins with in_range; as audit.v_performance, and beside it intended_known - slippage_known = gross_result, gross_result - fees
-- = net_result, the fees in other currencies, of how many positions the slippage is known in part (slippage_positions: of how many
-- it is known whole), and of how many entries and exits it is not
, others AS (
    SELECT f.account, f.currency, jsonb_object_agg(f.key, f.fees) AS fees_other
    FROM (SELECT p.account, p.currency, o.key, sum(o.value::numeric) AS fees
          FROM in_range p CROSS JOIN LATERAL jsonb_each_text(p.fees_other) AS o
          WHERE p.net_result IS NOT NULL GROUP BY p.account, p.currency, o.key) AS f
    GROUP BY f.account, f.currency
)
SELECT a.*, o.fees_other
FROM (
    SELECT e.account, e.currency, count(e.net_result) AS positions, count(*) FILTER (WHERE e.net_result > 0) AS wins,
           count(*) FILTER (WHERE e.net_result < 0) AS losses,
           count(*) FILTER (WHERE e.net_result > 0)::numeric / nullif(count(e.net_result), 0) AS win_rate,
           avg(e.net_result) FILTER (WHERE e.net_result > 0) AS average_win,
           avg(e.net_result) FILTER (WHERE e.net_result < 0) AS average_loss,
           coalesce(sum(e.net_result) FILTER (WHERE e.net_result > 0), 0)
               / nullif(-sum(e.net_result) FILTER (WHERE e.net_result < 0), 0) AS profit_factor,
           sum(e.net_result) AS net_result, sum(e.fees) FILTER (WHERE e.net_result IS NOT NULL) AS fees,
           sum(e.slippage) FILTER (WHERE e.net_result IS NOT NULL) AS slippage,
           count(e.slippage) FILTER (WHERE e.net_result IS NOT NULL) AS slippage_positions,
           max(greatest(e.peak, 0) - e.equity) FILTER (WHERE e.net_result IS NOT NULL) AS max_drawdown,
           CASE WHEN count(e.net_result) > 1 THEN avg(e.net_result) / nullif(stddev_samp(e.net_result), 0) END AS sharpe,
           count(*) FILTER (WHERE e.net_result IS NULL) AS unknown,
           sum(e.gross_result) FILTER (WHERE e.net_result IS NOT NULL) AS gross_result,
           sum(e.gross_result) FILTER (WHERE e.net_result IS NOT NULL)
               + sum(e.slippage_known) FILTER (WHERE e.net_result IS NOT NULL) AS intended_known,
           sum(e.slippage_known) FILTER (WHERE e.net_result IS NOT NULL) AS slippage_known,
           count(e.slippage_known) FILTER (WHERE e.net_result IS NOT NULL AND e.slippage IS NULL) AS slippage_in_part,
           count(*) FILTER (WHERE e.net_result IS NOT NULL AND e.entry_slippage IS NULL) AS entries_not_meant,
           count(*) FILTER (WHERE e.net_result IS NOT NULL AND e.exit_slippage IS NULL) AS exits_not_meant
    FROM (
        SELECT d.*, max(d.equity) OVER (PARTITION BY d.account, d.currency
                                        ORDER BY d.closed_at, d.exchange, d.position_id) AS peak
        FROM (
            SELECT p.*, coalesce(sum(p.net_result) OVER (PARTITION BY p.account, p.currency
                                                         ORDER BY p.closed_at, p.exchange, p.position_id), 0) AS equity
            FROM in_range p WHERE p.is_open IS NOT TRUE
        ) AS d
    ) AS e
    GROUP BY e.account, e.currency
) AS a
LEFT JOIN others o ON o.account = a.account AND o.currency = a.currency
ORDER BY a.account, a.currency NULLS LAST;

-- name: equity
-- begins with in_range; as audit.v_equity, with 0 where the range begins. Of more than $15 points, cut into a third of $15 pieces, the
-- highest, the lowest and the last of each.
SELECT z.*
FROM (
    SELECT y.*, row_number() OVER (PARTITION BY y.account, y.currency, y.piece ORDER BY y.equity, y.place) AS from_low,
           row_number() OVER (PARTITION BY y.account, y.currency, y.piece ORDER BY y.equity DESC, y.place) AS from_high,
           row_number() OVER (PARTITION BY y.account, y.currency, y.piece ORDER BY y.place DESC) AS from_last
    FROM (
        SELECT q.account, q.currency, q.exchange, q.position_id, q.symbol, q.closed_at, q.net_result, q.equity, q.peak,
               q.peak - q.equity AS drawdown, q.place, q.of_so_many,
               CASE WHEN q.of_so_many <= $15 THEN q.place ELSE q.place / (q.of_so_many / ($15::bigint / 3) + 1) END AS piece
        FROM (
            SELECT e.*, greatest(max(e.equity) OVER (PARTITION BY e.account, e.currency
                                                     ORDER BY e.closed_at, e.exchange, e.position_id), 0) AS peak
            FROM (
                SELECT p.account, p.currency, p.exchange, p.position_id, p.symbol, p.closed_at, p.net_result,
                       sum(p.net_result) OVER (PARTITION BY p.account, p.currency
                                               ORDER BY p.closed_at, p.exchange, p.position_id) AS equity,
                       row_number() OVER (PARTITION BY p.account, p.currency
                                          ORDER BY p.closed_at, p.exchange, p.position_id) AS place,
                       count(*) OVER (PARTITION BY p.account, p.currency) AS of_so_many
                FROM in_range p WHERE p.closed_at IS NOT NULL AND p.net_result IS NOT NULL
            ) AS e
        ) AS q
    ) AS y
) AS z
WHERE z.from_low = 1 OR z.from_high = 1 OR z.from_last = 1
ORDER BY z.account, z.currency, z.place;

-- name: funding
SELECT f.account, f.currency, sum(f.amount) AS amount, count(*) AS payments
FROM audit.funding f
WHERE ($1::timestamptz IS NULL OR f.exchange_at >= $1) AND ($2::timestamptz IS NULL OR f.exchange_at < $2)
  AND ($3::text IS NULL OR f.exchange = $3) AND ($4::text IS NULL OR f.account = $4)
  AND ($5::text[] IS NULL OR f.symbol = ANY($5) AND coalesce($5[1] LIKE '%:%', true)) AND $6::text IS NULL
GROUP BY f.account, f.currency;

-- name: rejections
-- as audit.v_rejections
SELECT r.exchange, r.account, r.code, r.reason, count(*) AS n, min(r.at) AS first_at, max(r.at) AS last_at
FROM (
    SELECT o.exchange, o.account, (regexp_match(o.reason, '^([A-Za-z0-9_.-]+): '))[1] AS code,
           regexp_replace(o.reason, '^[A-Za-z0-9_.-]+: ', '') AS reason, o.created_at AT TIME ZONE 'utc' AS at
    FROM audit.v_orders o
    WHERE o.status = 'REJECTED'
      AND ($1::timestamptz IS NULL OR o.created_at >= $1) AND ($2::timestamptz IS NULL OR o.created_at < $2)
      AND ($3::text IS NULL OR o.exchange = $3) AND ($4::text IS NULL OR o.account = $4)
      AND ($5::text[] IS NULL OR o.symbol = ANY($5) AND coalesce(upper(o.unified_symbol) = $5[1], true))
      AND ($6::text IS NULL OR o.position_id = $6)
) AS r
GROUP BY r.exchange, r.account, r.code, r.reason
ORDER BY n DESC, r.exchange, r.account, r.code, r.reason
LIMIT $7;

-- name: answers
-- Begins the queries of latency. Answered: the exchange took it, refused it, or said that it is so already.
WITH answers AS (
    SELECT l.exchange, l.action, l.milliseconds, l.kind IN ('acknowledged', 'unchanged', 'rejected') AS is_answered
    FROM audit.v_latency l
    WHERE l.kind IS DISTINCT FROM 'not_sent'
      AND ($1::timestamptz IS NULL OR l.called_at >= $1) AND ($2::timestamptz IS NULL OR l.called_at < $2)
      AND ($3::text IS NULL OR l.exchange = $3) AND ($4::text IS NULL OR l.account = $4)
      AND (($5::text[] IS NULL AND $6::text IS NULL)
           OR l.correlation_id IN (
               SELECT o.correlation_id FROM audit.v_orders o
               WHERE ($5::text[] IS NULL OR o.symbol = ANY($5) AND coalesce(upper(o.unified_symbol) = $5[1], true))
                 AND ($6::text IS NULL OR o.position_id = $6)))
)

-- name: latency
-- begins with answers; action NULL: all of the exchange. Each percentile is a time that was measured.
SELECT a.exchange, a.action, count(*) FILTER (WHERE a.is_answered) AS n,
       count(*) FILTER (WHERE a.is_answered IS NOT TRUE) AS unanswered,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY a.milliseconds) FILTER (WHERE a.is_answered) AS p50,
       percentile_disc(0.9) WITHIN GROUP (ORDER BY a.milliseconds) FILTER (WHERE a.is_answered) AS p90,
       percentile_disc(0.99) WITHIN GROUP (ORDER BY a.milliseconds) FILTER (WHERE a.is_answered) AS p99,
       max(a.milliseconds) FILTER (WHERE a.is_answered) AS longest
FROM answers a
GROUP BY GROUPING SETS ((a.exchange), (a.exchange, a.action))
ORDER BY a.exchange, a.action NULLS FIRST;

-- name: latency_bins
-- begins with answers; ten bins for each power of ten, bin t is from 10^(t/10) ms to 10^((t+1)/10) ms
SELECT a.exchange, floor(log(greatest(a.milliseconds, 0.01)) * 10)::integer AS tenth, count(*) AS n
FROM answers a WHERE a.is_answered AND a.milliseconds IS NOT NULL
GROUP BY a.exchange, tenth ORDER BY a.exchange, tenth;

-- name: questions
-- whenever they were raised before the end of the range: they are open
SELECT q.*, count(*) OVER () AS of_so_many
FROM audit.v_open_questions q
WHERE ($1::timestamptz IS NULL OR q.at < $1)
  AND ($2::text IS NULL OR q.exchange = $2) AND ($3::text IS NULL OR q.account = $3)
  AND ($4::text[] IS NULL OR q.symbol = ANY($4) AND NOT EXISTS (
           SELECT FROM audit.v_orders o WHERE o.order_key = q.order_key AND upper(o.unified_symbol) <> $4[1]))
  AND ($5::text IS NULL OR q.order_key IN (SELECT o.order_key FROM audit.v_orders o WHERE o.position_id = $5))
ORDER BY q.at DESC NULLS FIRST, q.kind, q.order_key
LIMIT $6;

-- name: question_kinds
SELECT q.kind, count(*) AS n
FROM audit.v_open_questions q
WHERE ($1::timestamptz IS NULL OR q.at < $1)
  AND ($2::text IS NULL OR q.exchange = $2) AND ($3::text IS NULL OR q.account = $3)
  AND ($4::text[] IS NULL OR q.symbol = ANY($4) AND NOT EXISTS (
           SELECT FROM audit.v_orders o WHERE o.order_key = q.order_key AND upper(o.unified_symbol) <> $4[1]))
  AND ($5::text IS NULL OR q.order_key IN (SELECT o.order_key FROM audit.v_orders o WHERE o.position_id = $5))
GROUP BY q.kind ORDER BY n DESC, q.kind;

-- name: orders
SELECT o.*, s.intended_price, s.slippage
FROM (
    SELECT o.*, count(*) OVER () AS of_so_many
    FROM audit.v_orders o
    WHERE ($1::timestamptz IS NULL OR o.created_at >= $1) AND ($2::timestamptz IS NULL OR o.created_at < $2)
      AND ($3::text IS NULL OR o.exchange = $3) AND ($4::text IS NULL OR o.account = $4)
      AND ($5::text[] IS NULL OR o.symbol = ANY($5) AND coalesce(upper(o.unified_symbol) = $5[1], true))
      AND ($6::text IS NULL OR o.position_id = $6)
    ORDER BY o.created_at DESC, o.id DESC
    LIMIT $7
) AS o
LEFT JOIN audit.v_slippage s ON s.order_key = o.order_key
ORDER BY o.created_at DESC, o.id DESC;

-- name: fills
SELECT f.*, o.position_id, count(*) OVER () AS of_so_many
FROM audit.fills f LEFT JOIN audit.v_orders o ON o.order_key = f.order_key
WHERE ($1::timestamptz IS NULL OR f.exchange_at >= $1) AND ($2::timestamptz IS NULL OR f.exchange_at < $2)
  AND ($3::text IS NULL OR f.exchange = $3) AND ($4::text IS NULL OR f.account = $4)
  AND ($5::text[] IS NULL OR f.symbol = ANY($5) AND coalesce(upper(o.unified_symbol) = $5[1], true))
  AND ($6::text IS NULL OR o.position_id = $6)
ORDER BY f.exchange_at DESC NULLS FIRST, f.order_key, f.exchange_trade_id
LIMIT $7;
