-- The views that people read: what happened, what it came to, and what it cost. docs/figures.md has every figure.
-- "monitoring" stands for the schema that the settings name.
--
-- The bot's tables are reached through functions whose bodies are text: PostgreSQL looks into a text only when it runs, so
-- no view of ours stands in the way when the bot alters a column. It puts them in place of the call like views all the same, and
-- uses the indexes.

CREATE FUNCTION audit.bot_orders() RETURNS TABLE (
    id bigint, position_id text, exchange text, symbol text, order_id text, client_order_id text, type text, side text,
    size numeric, price numeric, status text, filled numeric, remaining numeric, fee numeric, fee_currency text,
    created_at timestamp, updated_at timestamp, order_key uuid, account text, signal_id bigint, purpose text,
    average_price numeric, limit_price numeric, trigger_price numeric, reduce_only boolean, fee_status text, reason text,
    unified_symbol text, exchange_symbol text, exchange_status text, link_how text, replaced_by uuid, correlation_id uuid,
    origin text, found_by text
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT o.id::bigint, o.position_id::text, o.exchange::text, o.symbol::text, o.order_id::text, o.client_order_id::text,
           o.type::text, o.side::text, o.size::numeric, o.price::numeric, o.status::text, o.filled::numeric,
           o.remaining::numeric, o.fee::numeric, o.fee_currency::text, o.created_at::timestamp, o.updated_at::timestamp,
           o.order_key, o.account::text, o.signal_id::bigint, o.purpose::text, o.average_price::numeric,
           o.limit_price::numeric, o.trigger_price::numeric, o.reduce_only, o.fee_status::text, o.reason::text,
           o.unified_symbol::text, o.exchange_symbol::text, o.exchange_status::text, o.link_how::text, o.replaced_by,
           o.correlation_id, o.origin::text, o.found_by::text
    FROM "monitoring"."orders" o WHERE o.order_key IS NOT NULL
$$;

-- A record that PostgreSQL can take apart: it cannot hold a NUL, which stands as a replacement character then.
CREATE FUNCTION audit.readable(body json) RETURNS json LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN position('\u0000' IN body::text) = 0 THEN body ELSE replace(body::text, '\u0000', '\ufffd')::json END
$$;

-- Every order of the trail, as it stands.
CREATE VIEW audit.v_orders AS SELECT * FROM audit.bot_orders();

-- Every order with what the record that placed it says of the market and of the price that was meant.
-- A stop is meant to be executed at its trigger, a limit order at its limit, a market order that opens a position at the price
-- that the bot opened it for. A trailing stop has no such price, and a market order that closes has none that anybody named.
CREATE VIEW audit.v_orders_meant AS
SELECT p.*,
       CASE p.intended_by WHEN 'trigger' THEN p.trigger_price WHEN 'limit' THEN p.limit_price
                          WHEN 'atomic' THEN p.opened_for WHEN 'repository' THEN p.opened_for END AS intended_price,
       CASE WHEN p.is_spot THEN 1 ELSE p.contract_size END AS unit,
       coalesce(p.quote, '') <> coalesce(p.settle, p.quote, '') AS is_inverse
FROM (
    SELECT m.*,
           CASE WHEN m.type LIKE '%TRAILING%' THEN NULL
                WHEN m.trigger_price IS NOT NULL THEN 'trigger'
                WHEN m.type <> 'MARKET' AND m.limit_price IS NOT NULL THEN 'limit'
                WHEN m.type = 'MARKET' AND m.purpose = 'entry' AND m.opened_for > 0
                     AND m.meant_side IS NOT DISTINCT FROM m.side THEN m.meant_how
           END AS intended_by
    FROM (
        SELECT o.*,
               coalesce(e.quote,
                        nullif(split_part(split_part(split_part(o.unified_symbol, '/', 2), ':', 1), '-', 1), '')) AS quote,
               coalesce(e.settle, nullif(split_part(split_part(o.unified_symbol, ':', 2), '-', 1), '')) AS settle,
               coalesce(e.type = 'spot', o.unified_symbol LIKE '%/%' AND o.unified_symbol NOT LIKE '%:%') AS is_spot,
               e.type = 'option' AS is_option, e.contract_size, e.opened_for, e.meant_side, e.meant_how
        FROM audit.bot_orders() o
        LEFT JOIN audit.orders k ON k.order_key = o.order_key
        -- a record is long: OFFSET 0 has it taken apart once, before anything is sorted, and only where it is needed
        LEFT JOIN LATERAL (
            SELECT r.market ->> 'quote' AS quote, r.market ->> 'settle' AS settle, r.market ->> 'type' AS type,
                   (r.market ->> 'contract_size')::numeric AS contract_size,
                   (r.opening ->> 'intended_price')::numeric AS opened_for, r.opening ->> 'side' AS meant_side,
                   CASE WHEN r.opening ->> 'how' IN ('atomic', 'repository') THEN r.opening ->> 'how' END AS meant_how
            FROM (
                SELECT audit.readable(e.body) -> 'market' AS market,
                       CASE WHEN o.purpose = 'entry' AND o.type = 'MARKET' THEN audit.readable(e.body) -> 'position' END
                           AS opening
                FROM audit.events e WHERE e.record_id = k.intent_id AND o.filled <> 0 OFFSET 0
            ) AS r OFFSET 0
        ) AS e ON true
    ) AS m
) AS p;

-- What a price worse than the one that was meant has cost; a better one makes it negative.
CREATE VIEW audit.v_slippage AS
SELECT m.order_key, m.account, m.exchange, m.position_id, m.symbol, m.purpose, m.type, m.side, m.intended_price, m.intended_by,
       m.average_price, m.filled,
       CASE WHEN NOT m.is_inverse AND m.is_option IS NOT TRUE
            THEN (coalesce(e.cost, m.average_price * m.filled) - m.intended_price * m.filled) * m.unit
                 * CASE m.side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END
       END AS slippage,
       m.quote AS currency, m.created_at AT TIME ZONE 'utc' AS created_at
FROM audit.v_orders_meant m
-- an average price is a rounded quotient: where every execution is known, they say exactly what was paid
LEFT JOIN LATERAL (
    SELECT sum(f.price * f.quantity) AS cost FROM audit.fills f WHERE f.order_key = m.order_key
    HAVING bool_and(f.price IS NOT NULL AND f.quantity IS NOT NULL AND NOT f.conflicts) AND sum(f.quantity) = m.filled
) AS e ON true
WHERE m.intended_price IS NOT NULL AND m.filled <> 0;

-- Every position with its figures, from its executions. NULL is explained in why_not.
CREATE VIEW audit.v_position_figures AS
SELECT w.account, w.exchange, w.position_id, w.symbol, w.opening_side AS side, w.signal_id, w.currency, w.is_open, w.opened_at, w.closed_at, w.last_fill_at,
       w.last_order, w.last_trade,
       CASE WHEN w.entry_known THEN w.entry_quantity END AS entry_quantity,
       CASE WHEN w.entry_known THEN w.entry_cost / nullif(w.entry_quantity, 0) END AS entry_price,
       CASE WHEN w.exit_known THEN w.exit_quantity END AS exit_quantity,
       CASE WHEN w.exit_known THEN w.exit_cost / nullif(w.exit_quantity, 0) END AS exit_price,
       CASE WHEN w.entry_known AND w.entry_meant THEN w.entry_meant_cost / nullif(w.entry_quantity, 0) END
           AS intended_entry_price,
       CASE WHEN w.exit_known AND w.exit_meant THEN w.exit_meant_cost / nullif(w.exit_quantity, 0) END
           AS intended_exit_price,
       CASE WHEN w.entry_known AND w.entry_meant AND w.counts
            THEN (w.entry_cost - w.entry_meant_cost) * w.unit * w.direction END AS entry_slippage,
       CASE WHEN w.exit_known AND w.exit_meant AND w.counts AND w.exit_quantity > 0
            THEN (w.exit_meant_cost - w.exit_cost) * w.unit * w.direction END AS exit_slippage,
       CASE WHEN w.fees_known AND w.currency IS NOT NULL THEN w.fees END AS fees, w.fees_other,
       CASE WHEN w.closed_at IS NOT NULL AND w.counts AND w.complete
            THEN (w.exit_cost - w.entry_cost) * w.unit * w.direction END AS gross_result,
       nullif(concat_ws('; ',
           CASE WHEN w.executed = 0 AND w.unsaid = 0 THEN 'nothing was executed' END,
           CASE WHEN w.unsaid > 0 THEN 'of ' || w.unsaid || ' of its orders it is not known what was filled' END,
           CASE WHEN w.gappy > 0 THEN 'executions of ' || w.gappy || ' of its orders are missing' END,
           CASE WHEN w.doubtful > 0 THEN w.doubtful || ' of its executions were reported in two forms' END,
           CASE WHEN w.untimed > 0 THEN w.untimed || ' of its executions have no time' END,
           CASE WHEN w.is_open THEN 'it is open' END,
           CASE WHEN w.turned THEN 'it went through zero to the other side: it has no one entry and exit' END,
           CASE WHEN w.symbols > 1 THEN 'its orders are of several symbols' END,
           CASE WHEN w.executed > 0 AND w.currency IS NULL THEN 'its currency is not known' END,
           CASE WHEN w.inverse THEN 'an inverse contract: its result is not price times quantity' END,
           CASE WHEN w.option THEN 'an option: it may end without an order' END,
           CASE WHEN w.executed > 0 AND w.unit IS NULL THEN 'the size of the contract is not known' END,
           CASE WHEN w.executed > 0 AND NOT w.fees_known THEN 'a fee is not known' END,
           CASE WHEN w.entry_quantity > 0 AND NOT w.entry_meant THEN 'no price was meant for the entry' END,
           CASE WHEN w.exit_quantity > 0 AND NOT w.exit_meant THEN 'no price was meant for the exit' END
       ), '') AS why_not,
       w.orders, w.fills, w.executed
FROM (
    SELECT v.*, v.unsaid = 0 AND v.gappy = 0 AND v.doubtful = 0 AND v.untimed = 0 AS complete,
           v.crossed AND v.entry_gaps = 0 AS turned,
           v.entry_gaps = 0 AND v.doubtful = 0 AND v.untimed = 0 AND NOT v.crossed AS entry_known,
           v.entry_gaps = 0 AND v.exit_gaps = 0 AND v.doubtful = 0 AND v.untimed = 0 AND NOT v.crossed AS exit_known,
           v.currency IS NOT NULL AND v.unit IS NOT NULL AND NOT v.inverse AND NOT v.option AND v.symbols = 1 AS counts,
           CASE WHEN v.unsaid = 0 THEN v.left_over <> 0 END AS is_open,
           CASE WHEN v.unsaid = 0 AND v.gappy = 0 AND v.untimed = 0 AND v.left_over = 0 THEN v.last_fill_at END AS closed_at
    FROM (
        SELECT u.account, u.exchange, u.position_id, max(u.symbol) AS symbol, max(u.opening_side) AS opening_side, max(u.signal_id) AS signal_id,
               max(u.currency) AS currency,
               CASE max(u.opening_side) WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END AS direction,
               CASE WHEN min(u.unit) = max(u.unit) THEN max(u.unit) END AS unit,
               count(DISTINCT coalesce(u.unified_symbol, u.symbol)) AS symbols,
               coalesce(bool_or(u.is_inverse), false) AS inverse, coalesce(bool_or(u.is_option), false) AS option,
               count(*) FILTER (WHERE u.nth = 1) AS orders, count(u.exchange_trade_id) AS fills,
               count(*) FILTER (WHERE u.nth = 1 AND u.filled <> 0) AS executed,
               count(*) FILTER (WHERE u.nth = 1 AND u.is_unsaid) AS unsaid,
               count(*) FILTER (WHERE u.nth = 1 AND u.is_gappy) AS gappy,
               count(*) FILTER (WHERE u.nth = 1 AND (u.is_gappy OR u.is_unsaid) AND u.side IS DISTINCT FROM u.closing_side)
                   AS entry_gaps,
               count(*) FILTER (WHERE u.nth = 1 AND (u.is_gappy OR u.is_unsaid) AND u.side IS DISTINCT FROM u.opening_side)
                   AS exit_gaps,
               count(*) FILTER (WHERE u.conflicts) AS doubtful,
               count(*) FILTER (WHERE u.exchange_trade_id IS NOT NULL AND u.exchange_at IS NULL) AS untimed,
               coalesce(sum(u.filled * CASE u.side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END) FILTER (WHERE u.nth = 1), 0)
                   AS left_over,
               coalesce(bool_or(CASE u.opening_side WHEN 'buy' THEN u.net < 0 WHEN 'sell' THEN u.net > 0 END), false)
                   AS crossed,
               CASE WHEN max(u.opening_side) IS NOT NULL THEN min(u.exchange_at) END AS opened_at,
               max(u.exchange_at) AS last_fill_at,
               (max(u.order_key::text) FILTER (WHERE u.exchange_at IS NOT NULL AND u.nth_timed = u.timed))::uuid AS last_order,
               max(u.exchange_trade_id) FILTER (WHERE u.exchange_at IS NOT NULL AND u.nth_timed = u.timed) AS last_trade,
               coalesce(sum(u.quantity) FILTER (WHERE u.fill_side = u.opening_side), 0) AS entry_quantity,
               coalesce(sum(u.quantity) FILTER (WHERE u.fill_side = u.closing_side), 0) AS exit_quantity,
               coalesce(sum(u.fill_price * u.quantity) FILTER (WHERE u.fill_side = u.opening_side), 0) AS entry_cost,
               coalesce(sum(u.fill_price * u.quantity) FILTER (WHERE u.fill_side = u.closing_side), 0) AS exit_cost,
               sum(u.intended_price * u.quantity) FILTER (WHERE u.fill_side = u.opening_side) AS entry_meant_cost,
               sum(u.intended_price * u.quantity) FILTER (WHERE u.fill_side = u.closing_side) AS exit_meant_cost,
               coalesce(bool_and(u.intended_price IS NOT NULL) FILTER (WHERE u.fill_side = u.opening_side), false)
                   AS entry_meant,
               coalesce(bool_and(u.intended_price IS NOT NULL) FILTER (WHERE u.fill_side = u.closing_side), false)
                   AS exit_meant,
               coalesce(bool_and(u.is_fee_known), true) AS fees_known,
               coalesce(sum(u.paid) FILTER (WHERE u.paid_in = u.currency), 0) AS fees,
               jsonb_object_agg(u.paid_in, u.paid_in_all)
                   FILTER (WHERE u.paid_in IS NOT NULL AND u.paid_in IS DISTINCT FROM u.currency AND u.paid <> 0) AS fees_other
        FROM (
            SELECT r.*, CASE r.opening_side WHEN 'buy' THEN 'sell' WHEN 'sell' THEN 'buy' END AS closing_side
            FROM (
                SELECT t.*, sum(t.paid) OVER (PARTITION BY t.account, t.exchange, t.position_id, t.paid_in) AS paid_in_all,
                       -- not where an order of the other side may have been executed before
                       CASE WHEN NOT bool_or((t.is_unsaid OR t.is_gappy) AND t.side IS DISTINCT FROM t.first_side
                                             AND t.created_at < t.first_created_at)
                                  OVER (PARTITION BY t.account, t.exchange, t.position_id)
                            THEN t.first_side END AS opening_side
                FROM (
                    SELECT s.*,
                           s.filled IS NULL OR s.status = 'UNKNOWN' OR s.filled <> 0 AND s.side IS NULL AS is_unsaid,
                           s.filled <> 0 AND s.shown IS DISTINCT FROM s.filled AS is_gappy,
                           CASE WHEN s.fee_status = 'several_currencies' THEN s.fill_fee WHEN s.nth = 1 THEN s.fee END AS paid,
                           CASE WHEN s.fee_status = 'several_currencies' THEN s.fill_fee_currency
                                WHEN s.nth = 1 THEN s.fee_currency END AS paid_in,
                           CASE WHEN s.filled = 0 THEN true
                                WHEN s.fee_status = 'several_currencies'
                                THEN s.fill_fee IS NOT NULL AND (s.fill_fee_currency IS NOT NULL OR s.fill_fee = 0)
                                     AND s.shown = s.filled
                                ELSE s.fee IS NOT NULL AND (s.fee_currency IS NOT NULL OR s.fee = 0) END AS is_fee_known,
                           max(s.quote) OVER (PARTITION BY s.account, s.exchange, s.position_id) AS currency,
                           first_value(s.fill_side) OVER (in_order) AS first_side,
                           first_value(s.created_at) OVER (in_order) AS first_created_at,
                           count(s.exchange_at) OVER (PARTITION BY s.account, s.exchange, s.position_id) AS timed,
                           count(s.exchange_at) OVER (in_order) AS nth_timed,
                           sum(s.quantity * CASE s.fill_side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END) OVER (in_order) AS net
                    FROM (
                        SELECT o.*, f.order_key AS fill_of, f.exchange_trade_id, f.price AS fill_price, f.quantity,
                               coalesce(f.side, o.side) AS fill_side, f.fee AS fill_fee, f.fee_currency AS fill_fee_currency,
                               f.exchange_at, f.conflicts,
                               sum(f.quantity) FILTER (WHERE f.price IS NOT NULL) OVER (of_order) AS shown,
                               row_number() OVER (of_order) AS nth
                        FROM audit.v_orders_meant o
                        LEFT JOIN audit.fills f ON f.order_key = o.order_key
                        WHERE o.position_id IS NOT NULL
                        WINDOW of_order AS (PARTITION BY o.account, o.exchange, o.position_id, o.order_key)
                    ) AS s
                    WINDOW in_order AS (PARTITION BY s.account, s.exchange, s.position_id
                                        ORDER BY s.exchange_at NULLS LAST, s.created_at, s.order_key, s.exchange_trade_id)
                ) AS t
            ) AS r
        ) AS u
        GROUP BY u.account, u.exchange, u.position_id
    ) AS v
) AS w;

-- When a position had a stop, and when it had none, from its first execution to its last, or until now. has_stop is NULL
-- where only a stop stands of which nobody knows whether it does.
-- A stop stands from the answer that took it (else from when it was made) to its end: the answer to its cancel, the answer that
-- set the stop in its place, its last execution, or else its last change.
CREATE FUNCTION audit.position_stops(
    of_account text, of_exchange text, of_position text, opening_side text, first_at timestamptz, last_at timestamptz
) RETURNS TABLE (from_at timestamptz, until_at timestamptz, has_stop boolean, order_key uuid) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH stops AS (
        SELECT o.order_key, o.status <> 'UNKNOWN' AS is_sure,
               coalesce(taken.at, o.created_at AT TIME ZONE 'utc') AS from_at,
               CASE WHEN o.status IN ('NEW', 'PARTIALLY_FILLED', 'UNKNOWN') THEN 'infinity'
                    WHEN o.status = 'FILLED' THEN coalesce(executed.at, o.updated_at AT TIME ZONE 'utc')
                    WHEN o.status = 'MODIFIED' THEN coalesce(replaced.at, o.updated_at AT TIME ZONE 'utc')
                    ELSE coalesce(canceled.at, swept.at, o.updated_at AT TIME ZONE 'utc') END AS until_at
        FROM audit.bot_orders() o
        LEFT JOIN LATERAL (
            SELECT e.answered_at AS at, e.stream, e.seq, k.scope
            FROM audit.orders k JOIN audit.order_events oe ON oe.order_key = k.order_key AND oe.part = k.part
            JOIN audit.events e ON e.stream = oe.stream AND e.seq = oe.seq
            WHERE k.order_key = o.order_key AND e.kind = 'acknowledged' ORDER BY e.answered_at LIMIT 1
        ) AS taken ON true
        LEFT JOIN LATERAL (
            SELECT min(e.answered_at) AS at
            FROM audit.orders k JOIN audit.order_events oe ON oe.order_key = k.order_key AND oe.part = k.part
            JOIN audit.events e ON e.stream = oe.stream AND e.seq = oe.seq
            WHERE k.order_key = o.replaced_by AND e.kind = 'acknowledged'
        ) AS replaced ON true
        LEFT JOIN LATERAL (
            SELECT min(e.answered_at) AS at
            FROM audit.order_events oe JOIN audit.events e ON e.stream = oe.stream AND e.seq = oe.seq
            WHERE oe.order_key = o.order_key AND oe.part LIKE 'target%' AND e.kind = 'acknowledged' AND e.action = 'cancel'
        ) AS canceled ON true
        -- whatever else is heard later: the first confirmed cancel of all orders of its symbol has taken it, save that Binance's
        -- allOpenOrders leaves conditional orders standing
        LEFT JOIN LATERAL (
            SELECT min(e.answered_at) AS at FROM audit.events e
            WHERE o.status = 'CANCELED' AND e.stream = taken.stream AND e.scope = taken.scope AND e.seq > taken.seq
              AND e.kind = 'acknowledged' AND e.action = 'cancel_all'
              AND coalesce(audit.readable(e.body) #>> '{request,path}', '') !~ '/v[0-9]+(/(um|cm))?/allOpenOrders$'
              AND e.answered_at <= o.updated_at AT TIME ZONE 'utc'
        ) AS swept ON true
        LEFT JOIN LATERAL (
            SELECT max(f.exchange_at) AS at FROM audit.fills f WHERE f.order_key = o.order_key
        ) AS executed ON true
        WHERE o.account = of_account AND o.exchange = of_exchange AND o.position_id = of_position
          AND (o.purpose = 'stop_loss'
               OR o.purpose IS NULL AND o.type IN ('STOP_LOSS', 'STOP_MARKET', 'STOP_LIMIT', 'TRAILING_STOP_MARKET'))
          AND o.status <> 'REJECTED' AND o.side IS DISTINCT FROM opening_side
    ), bounds AS (
        SELECT b.at, lead(b.at) OVER (ORDER BY b.at) AS next_at
        FROM (SELECT first_at AS at UNION SELECT last_at
              UNION SELECT s.from_at FROM stops s WHERE s.from_at > first_at AND s.from_at < last_at
              UNION SELECT s.until_at FROM stops s WHERE s.until_at > first_at AND s.until_at < last_at) AS b
        WHERE b.at IS NOT NULL
    ), pieces AS (
        SELECT b.at, b.next_at, s.order_key, CASE WHEN s.is_sure THEN true WHEN s.order_key IS NULL THEN false END AS has_stop
        FROM bounds b
        LEFT JOIN LATERAL (
            SELECT s.order_key, s.is_sure FROM stops s WHERE s.from_at <= b.at AND s.until_at >= b.next_at
            ORDER BY s.is_sure DESC, s.from_at DESC, s.order_key LIMIT 1
        ) AS s ON true
        WHERE b.next_at IS NOT NULL
    )
    SELECT min(g.at), max(g.next_at), g.has_stop, g.order_key
    FROM (SELECT p.*, row_number() OVER (ORDER BY p.at)
                      - row_number() OVER (PARTITION BY p.has_stop, p.order_key ORDER BY p.at) AS island FROM pieces p) AS g
    GROUP BY g.has_stop, g.order_key, g.island
$$;

CREATE VIEW audit.v_position_stops AS
SELECT p.account, p.exchange, p.position_id, s.from_at, s.until_at, s.has_stop, s.order_key
FROM audit.v_position_figures p
CROSS JOIN LATERAL audit.position_stops(
    p.account, p.exchange, p.position_id, p.side, p.opened_at,
    CASE WHEN p.is_open IS NOT FALSE THEN now() ELSE coalesce(p.closed_at, p.last_fill_at) END) AS s;

-- Positions, one row each. intended_result - slippage = gross_result, gross_result - fees = net_result.
-- Which there are, and which are open or were closed when, is kept (audit.positions), so that some of them are found by an
-- index. Then each is reckoned by itself, which OFFSET 0 sees to.
CREATE VIEW audit.v_positions AS
SELECT k.account, nullif(k.exchange, '') AS exchange, k.position_id, p.symbol, CASE p.side WHEN 'buy' THEN 'long' WHEN 'sell' THEN 'short' END AS side,
       p.signal_id, p.currency, k.is_open, p.opened_at, k.closed_at,
       round(extract(epoch FROM coalesce(k.closed_at, CASE WHEN k.is_open THEN now() END) - p.opened_at)::numeric, 6)
           AS seconds_open,
       p.entry_quantity, p.entry_price, p.exit_quantity, p.exit_price, p.intended_entry_price, p.intended_exit_price,
       p.entry_slippage, p.exit_slippage,
       p.gross_result + p.entry_slippage + p.exit_slippage AS intended_result,
       CASE WHEN p.gross_result IS NOT NULL THEN p.entry_slippage + p.exit_slippage END AS slippage,
       p.fees, p.fees_other, p.gross_result, p.gross_result - p.fees AS net_result, p.why_not,
       CASE WHEN k.is_open OR k.closed_at IS NOT NULL THEN (
           SELECT CASE WHEN bool_and(s.has_stop IS NOT NULL)
                       THEN coalesce(sum(round(extract(epoch FROM s.until_at - s.from_at)::numeric, 6))
                                     FILTER (WHERE NOT s.has_stop), 0) END
           FROM audit.position_stops(p.account, p.exchange, p.position_id, p.side, p.opened_at,
                                     coalesce(k.closed_at, now())) AS s
       ) END AS seconds_without_stop,
       p.orders, p.fills
FROM audit.positions k
CROSS JOIN LATERAL (
    SELECT * FROM audit.v_position_figures f
    WHERE f.account = k.account AND f.exchange IS NOT DISTINCT FROM nullif(k.exchange, '') AND f.position_id = k.position_id
    OFFSET 0
) AS p
WHERE k.bot_schema = '"monitoring"';

-- Closed positions whose result is known, one after the other; the account begins at 0.
CREATE VIEW audit.v_equity AS
SELECT q.account, q.currency, q.exchange, q.position_id, q.symbol, q.closed_at, q.net_result, q.equity, q.peak,
       q.peak - q.equity AS drawdown
FROM (
    SELECT e.*, greatest(max(e.equity) OVER (PARTITION BY e.account, e.currency
                                             ORDER BY e.closed_at, e.exchange, e.position_id), 0) AS peak
    FROM (
        SELECT p.account, p.currency, p.exchange, p.position_id, p.symbol, p.closed_at, p.gross_result - p.fees AS net_result,
               sum(p.gross_result - p.fees) OVER (PARTITION BY p.account, p.currency
                                                  ORDER BY p.closed_at, p.exchange, p.position_id) AS equity
        FROM audit.v_position_figures p
        WHERE p.closed_at IS NOT NULL AND p.gross_result - p.fees IS NOT NULL
    ) AS e
) AS q;

-- What an account has come to, over its closed positions.
CREATE VIEW audit.v_performance AS
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
       count(*) FILTER (WHERE e.net_result IS NULL) AS unknown
FROM (
    SELECT d.*, max(d.equity) OVER (PARTITION BY d.account, d.currency
                                    ORDER BY d.closed_at, d.exchange, d.position_id) AS peak
    FROM (
        SELECT p.account, p.currency, p.exchange, p.position_id, p.closed_at, p.fees, p.gross_result - p.fees AS net_result,
               p.entry_slippage + p.exit_slippage AS slippage,
               coalesce(sum(p.gross_result - p.fees) OVER (PARTITION BY p.account, p.currency
                                                           ORDER BY p.closed_at, p.exchange, p.position_id), 0) AS equity
        FROM audit.v_position_figures p
        WHERE p.is_open IS NOT TRUE AND (p.executed > 0 OR p.is_open IS NULL)
    ) AS d
) AS e
GROUP BY e.account, e.currency;

-- Day by day, in UTC: the positions closed on it with their result and fees; the orders made, refused and executed on it.
CREATE VIEW audit.v_daily AS
SELECT a.day, a.account, a.exchange, a.currency, sum(a.positions_closed)::bigint AS positions_closed,
       sum(a.orders)::bigint AS orders, sum(a.fills)::bigint AS fills, sum(a.rejected)::bigint AS rejected,
       sum(a.net_result) AS net_result, sum(a.fees) FILTER (WHERE a.net_result IS NOT NULL) AS fees,
       sum(a.unknown)::bigint AS unknown
FROM (
    SELECT (p.closed_at AT TIME ZONE 'utc')::date AS day, p.account, p.exchange, p.currency, 1 AS positions_closed, 0 AS orders,
           0 AS fills, 0 AS rejected, p.gross_result - p.fees AS net_result, p.fees,
           CASE WHEN p.gross_result - p.fees IS NULL THEN 1 ELSE 0 END AS unknown
    FROM audit.v_position_figures p WHERE p.closed_at IS NOT NULL
    UNION ALL
    SELECT o.created_at::date, o.account, o.exchange,
           nullif(split_part(split_part(split_part(o.unified_symbol, '/', 2), ':', 1), '-', 1), ''), 0, 1, 0,
           CASE WHEN o.status = 'REJECTED' THEN 1 ELSE 0 END, NULL, NULL, 0
    FROM audit.bot_orders() o
    UNION ALL
    SELECT (f.exchange_at AT TIME ZONE 'utc')::date, o.account, o.exchange,
           nullif(split_part(split_part(split_part(o.unified_symbol, '/', 2), ':', 1), '-', 1), ''), 0, 0, 1, 0, NULL, NULL, 0
    FROM audit.fills f JOIN audit.bot_orders() o ON o.order_key = f.order_key
) AS a
GROUP BY a.day, a.account, a.exchange, a.currency;

-- Orders that were refused, by the exchange's code and words.
CREATE VIEW audit.v_rejections AS
SELECT r.exchange, r.account, r.code, r.reason, count(*) AS n, min(r.at) AS first_at, max(r.at) AS last_at
FROM (
    SELECT o.exchange, o.account, (regexp_match(o.reason, '^([A-Za-z0-9_.-]+): '))[1] AS code,
           regexp_replace(o.reason, '^[A-Za-z0-9_.-]+: ', '') AS reason, o.created_at AT TIME ZONE 'utc' AS at
    FROM audit.bot_orders() o WHERE o.status = 'REJECTED'
) AS r
GROUP BY r.exchange, r.account, r.code, r.reason;

-- From the bot's call to the answer that it got, for every request that changes orders.
CREATE VIEW audit.v_latency AS
SELECT e.exchange, e.account, e.action, e.called_at, e.answered_at,
       round((extract(epoch FROM e.answered_at - e.called_at) * 1000)::numeric, 3) AS milliseconds, e.kind,
       (audit.readable(e.body) #>> '{response,http_status}')::integer AS http_status,
       e.correlation_id, e.intent_id, e.stored_no
FROM audit.events e
WHERE e.kind IN ('acknowledged', 'unchanged', 'rejected', 'not_sent', 'outcome_unknown')
  AND e.action IN ('place', 'amend', 'cancel', 'cancel_all', 'set_stops', 'close') AND e.intent_id IS NOT NULL
UNION ALL
SELECT i.exchange, i.account, i.action, i.called_at, NULL, NULL, NULL, NULL, i.correlation_id, i.record_id, i.stored_no
FROM audit.events i
WHERE i.kind = 'intent' AND i.action IN ('place', 'amend', 'cancel', 'cancel_all', 'set_stops', 'close')
  AND i.correlation_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM audit.events e
                  WHERE e.correlation_id = i.correlation_id AND e.intent_id = i.record_id
                    AND e.kind IN ('acknowledged', 'unchanged', 'rejected', 'not_sent', 'outcome_unknown'));

-- What nobody knows yet, or nobody has explained.
CREATE VIEW audit.v_open_questions AS
SELECT 'unknown' AS kind, o.exchange, o.account, o.symbol, o.order_key, o.created_at AT TIME ZONE 'utc' AS at,
       coalesce(o.reason, 'no answer came that can be trusted') AS words
FROM audit.bot_orders() o WHERE o.status = 'UNKNOWN'
UNION ALL
SELECT 'unattributed', e.exchange, e.account, coalesce(audit.readable(e.body) #>> '{market,exchange_symbol}',
                                                       audit.readable(e.body) #>> '{market,symbol}'),
       NULL, e.called_at,
       concat_ws(' ', 'a private write that nothing explains:', audit.readable(e.body) #>> '{request,method}',
                 audit.readable(e.body) #>> '{request,path}')
FROM audit.events e WHERE e.kind = 'unattributed' AND e.intent_id IS NULL
UNION ALL
SELECT 'unlinked', o.exchange, o.account, o.symbol, o.order_key, o.created_at AT TIME ZONE 'utc',
       concat_ws(' ', o.side, o.type, o.size::text, 'belongs to no position that is known')
FROM audit.bot_orders() o
WHERE o.position_id IS NULL AND o.origin = 'bot' AND o.status <> 'REJECTED'
  -- a bot that links nothing has no positions
  AND EXISTS (SELECT FROM audit.bot_orders() p
              WHERE p.account = o.account AND p.exchange = o.exchange AND p.position_id IS NOT NULL)
UNION ALL
SELECT 'without_id', o.exchange, o.account, o.symbol, o.order_key, o.created_at AT TIME ZONE 'utc',
       concat_ws(' ', o.type, o.status || ', but the exchange''s id of it is not known')
FROM audit.bot_orders() o
WHERE o.order_id IS NULL AND o.status IN ('NEW', 'PARTIALLY_FILLED', 'FILLED', 'MODIFIED', 'CANCELED')
  AND o.found_by IS DISTINCT FROM 'absence'
UNION ALL
SELECT 'fee_missing', o.exchange, o.account, o.symbol, o.order_key, o.updated_at AT TIME ZONE 'utc',
       CASE o.fee_status WHEN 'missing' THEN 'the exchange was asked for the fee and did not say'
                         ELSE 'the exchange has not named the fee yet' END
FROM audit.bot_orders() o WHERE o.fee_status IN ('pending', 'missing') AND o.filled <> 0
UNION ALL
SELECT 'quarantined', NULL, NULL, NULL, NULL, q.quarantined_at,
       'entry ' || q.seq || ' of journal ' || q.stream || ' could not be stored: ' || q.reason
FROM audit.quarantine q WHERE q.resolved_at IS NULL
UNION ALL
SELECT 'gap', e.exchange, e.account, NULL, NULL, e.called_at,
       coalesce(audit.readable(e.body) #>> '{reason}', 'records are missing here')
FROM audit.events e WHERE e.kind = 'gap';
