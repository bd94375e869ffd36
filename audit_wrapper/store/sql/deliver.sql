-- The way of a batch into the database: events, identity, rows, mark. All in one transaction.

-- name: begin
-- The second: a client that was cut off without a word must not keep the locks for as long as TCP believes in it.
SELECT set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true);

-- name: take_locks
-- Always in the order of their numbers, so that two deliverers cannot wait for each other.
SELECT pg_advisory_xact_lock(k) FROM (SELECT k FROM unnest($1::bigint[]) AS k ORDER BY k) AS sorted;

-- name: delivered
SELECT delivered_seq, delivered_hash FROM audit.streams WHERE stream = $1;

-- name: held
-- Which of these entries are here just as they are, set aside or not. $1: stream, $2: seq, $3: hash
SELECT seq FROM unnest($2::bigint[], $3::bytea[]) AS entry(seq, hash)
WHERE EXISTS (SELECT FROM audit.events e WHERE e.stream = $1 AND e.seq = entry.seq AND e.hash = entry.hash)
   OR EXISTS (SELECT FROM audit.quarantine q WHERE q.stream = $1 AND q.seq = entry.seq AND q.hash = entry.hash)

-- name: advance_stream
INSERT INTO audit.streams AS s (stream, delivered_seq, delivered_hash) VALUES ($1, $2, $3)
ON CONFLICT (stream) DO UPDATE
SET delivered_seq = excluded.delivered_seq, delivered_hash = excluded.delivered_hash, last_delivered_at = now()
WHERE s.delivered_seq < excluded.delivered_seq;

-- name: insert_events
INSERT INTO audit.events (stream, seq, record_id, kind, action, exchange, account, correlation_id, intent_id, called_at,
                          answered_at, scope, hash, body)
SELECT $1, seq, record_id, kind, action, exchange, account, correlation_id, intent_id, called_at, answered_at, scope,
       hash, body::json
FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::uuid[],
            $10::timestamptz[], $11::timestamptz[], $12::text[], $13::bytea[], $14::text[])
     AS entry(seq, record_id, kind, action, exchange, account, correlation_id, intent_id, called_at, answered_at, scope,
              hash, body)
ORDER BY seq
ON CONFLICT DO NOTHING
RETURNING seq;

-- name: stored_otherwise
-- Of entries that were there before: those whose number, or whose record's id, has something else. A record that is stored in
-- another place just as it is, is no more than there twice. $1: stream, $2: seq, $3: record_id, $4: hash, $5: body
SELECT entry.seq, e.stream, e.seq AS stored_seq, e.record_id, (e.stream, e.seq) = ($1, entry.seq) AS same_place
FROM unnest($2::bigint[], $3::uuid[], $4::bytea[], $5::text[]) AS entry(seq, record_id, hash, body)
JOIN audit.events e ON e.stream = $1 AND e.seq = entry.seq OR e.record_id = entry.record_id
WHERE CASE WHEN (e.stream, e.seq) = ($1, entry.seq) THEN (e.record_id, e.hash) <> (entry.record_id, entry.hash)
           ELSE e.body::text <> entry.body END
ORDER BY same_place DESC, entry.seq;

-- name: find_aliases
-- Whatever the spelling of the symbol: which of them is meant is decided by routing.Index.
SELECT a.exchange, a.account, a.symbol, a.kind, a.value, a.order_key
FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS q(exchange, account, kind, value))
     AS q
JOIN audit.order_aliases a USING (exchange, account, kind, value);

-- name: learn_aliases
INSERT INTO audit.order_aliases (exchange, account, symbol, kind, value, order_key)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[])
ON CONFLICT (exchange, account, kind, value, symbol) DO UPDATE SET order_key = excluded.order_key;

-- name: merge_events
INSERT INTO audit.order_events (order_key, stream, seq, part)
SELECT m.winner, e.stream, e.seq, e.part
FROM unnest($1::uuid[], $2::uuid[]) AS m(loser, winner) JOIN audit.order_events e ON e.order_key = m.loser
ON CONFLICT DO NOTHING;

-- name: merge_aliases
UPDATE audit.order_aliases a SET order_key = m.winner
FROM unnest($1::uuid[], $2::uuid[]) AS m(loser, winner) WHERE a.order_key = m.loser;

-- name: merge_order_rows
-- Where the winner has no row yet, it takes over a loser's with its serial id.
UPDATE "monitoring"."orders" o SET order_key = chosen.winner
FROM (SELECT DISTINCT ON (m.winner) m.winner, l.id
      FROM unnest($1::uuid[], $2::uuid[]) AS m(loser, winner) JOIN "monitoring"."orders" l ON l.order_key = m.loser
      WHERE NOT EXISTS (SELECT FROM "monitoring"."orders" w WHERE w.order_key = m.winner)
      ORDER BY m.winner, l.id) AS chosen
WHERE o.id = chosen.id AND o.order_key = ANY($1);

-- name: merge_trade_rows
UPDATE "monitoring"."trades" t SET order_key = chosen.winner
FROM (SELECT DISTINCT ON (m.winner) m.winner, l.id
      FROM unnest($1::uuid[], $2::uuid[]) AS m(loser, winner) JOIN "monitoring"."trades" l ON l.order_key = m.loser
      WHERE NOT EXISTS (SELECT FROM "monitoring"."trades" w WHERE w.order_key = m.winner)
      ORDER BY m.winner, l.id) AS chosen
WHERE t.id = chosen.id AND t.order_key = ANY($1);

-- name: merge_replaced_by
-- No index leads there, so it is asked only where it can be.
UPDATE "monitoring"."orders" o SET replaced_by = m.winner
FROM unnest($1::uuid[], $2::uuid[]) AS m(loser, winner) WHERE o.replaced_by = m.loser;

-- name: forget_events
DELETE FROM audit.order_events WHERE order_key = ANY($1);

-- name: forget_states
DELETE FROM audit.orders WHERE order_key = ANY($1);

-- name: forget_order_rows
DELETE FROM "monitoring"."orders" WHERE order_key = ANY($1);

-- name: forget_trade_rows
DELETE FROM "monitoring"."trades" WHERE order_key = ANY($1);

-- name: forget_fills
DELETE FROM audit.fills WHERE order_key = ANY($1);

-- name: add_order_events
INSERT INTO audit.order_events (order_key, stream, seq, part)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[])
ON CONFLICT DO NOTHING;

-- name: count_of_orders
-- Events and fills of these orders.
SELECT (SELECT count(*) FROM audit.order_events WHERE order_key = ANY($1))
     + (SELECT count(*) FROM audit.fills WHERE order_key = ANY($1));

-- name: open_orders_in_scopes
SELECT order_key FROM audit.orders WHERE open AND scope = ANY($1);

-- name: late_scopes
-- Of records with a scope: the scopes of those that came after a later one. $1: stream, $2: seq, $3: scope
SELECT DISTINCT q.scope FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS q(stream, seq, scope)
WHERE EXISTS (SELECT FROM audit.events e
              WHERE e.stream = q.stream AND e.scope = q.scope AND e.seq > q.seq AND e.seq <> ALL ($2));

-- name: orders_in_scopes
SELECT order_key FROM audit.orders WHERE scope = ANY($1);

-- name: events_of_orders
SELECT order_key, stream, seq, part FROM audit.order_events WHERE order_key = ANY($1) ORDER BY order_key, stream, seq, part;

-- name: scope_events
-- What hit each scope after its first order began, in the journals that know the orders. Stops that are set on the
-- position concern only what is attached to it.
SELECT q.place, e.stream, e.seq
FROM unnest($1::int[], $2::uuid[], $3::text[], $4::boolean[], $5::bigint[])
     AS q(place, stream, scope, attached, after_seq)
JOIN audit.events e ON e.stream = q.stream AND e.scope = q.scope AND e.seq > q.after_seq
WHERE q.attached OR e.action <> 'set_stops'
ORDER BY q.place, e.stream, e.seq;

-- name: bodies
SELECT e.stream, e.seq, e.body::text AS body
FROM unnest($1::uuid[], $2::bigint[]) AS q(stream, seq) JOIN audit.events e USING (stream, seq);

-- name: order_rows
-- Which of these have a row; with the position that was found in the bot's own table, for orders whose records name none.
SELECT order_key, position_id, signal_id, symbol, side, purpose, link_how
FROM "monitoring"."orders" WHERE order_key = ANY($1);

-- name: trade_rows
SELECT order_key FROM "monitoring"."trades" WHERE order_key = ANY($1);

-- name: save_states
INSERT INTO audit.orders (order_key, scope, open, intent_id, part)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::uuid[], $5::text[])
ON CONFLICT (order_key) DO UPDATE
SET scope = excluded.scope, open = excluded.open, intent_id = excluded.intent_id, part = excluded.part;

-- name: add_funding
INSERT INTO audit.funding AS f
SELECT n.* FROM json_populate_recordset(NULL::audit.funding, $1::json) AS n
ON CONFLICT (exchange, account, payment_id) DO NOTHING;

-- name: has_rows_of_the_bot
-- Whether the next three may concern anything: rows with one of these ids that the trail did not write.
SELECT EXISTS (SELECT FROM "monitoring"."orders" WHERE order_id = ANY($1::text[]) AND order_key IS NULL)
    OR EXISTS (SELECT FROM "monitoring"."trades" WHERE order_id = ANY($1::text[]) AND order_key IS NULL);

-- name: give_way_orders
-- A row of ours that was made before the exchange's id was known gives way to the one that the bot made in the meantime,
-- whose serial id the bot holds.
DELETE FROM "monitoring"."orders" ours
USING unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
      AS n(order_key, exchange, account, order_id, symbol, unified_symbol, exchange_symbol)
WHERE ours.order_key = n.order_key AND ours.order_id IS NULL
  AND EXISTS (SELECT FROM "monitoring"."orders" b
              WHERE b.exchange = n.exchange AND b.symbol IN (n.symbol, n.unified_symbol, n.exchange_symbol)
                AND b.order_id = n.order_id AND b.order_key IS NULL AND b.account = n.account);

-- name: adopt_orders
-- A row that the bot wrote through create_order() (it has an account, the bot's own INSERTs have none) becomes the
-- order's row, with its serial id.
UPDATE "monitoring"."orders" row SET order_key = chosen.order_key
FROM (SELECT DISTINCT ON (n.order_key) n.order_key, b.id
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
           AS n(order_key, exchange, account, order_id, symbol, unified_symbol, exchange_symbol)
      JOIN "monitoring"."orders" b
        ON b.exchange = n.exchange AND b.symbol IN (n.symbol, n.unified_symbol, n.exchange_symbol)
       AND b.order_id = n.order_id AND b.order_key IS NULL AND b.account = n.account
      WHERE NOT EXISTS (SELECT FROM "monitoring"."orders" w WHERE w.order_key = n.order_key)
      ORDER BY n.order_key, b.id) AS chosen
WHERE row.id = chosen.id;

-- name: update_orders
UPDATE "monitoring"."orders" AS o
SET (position_id, exchange, symbol, order_id, client_order_id, type, side, size, price, status, filled, remaining, fee,
     fee_currency, created_at, updated_at, account, signal_id, purpose, average_price, limit_price, trigger_price,
     reduce_only, fee_status, reason, unified_symbol, exchange_symbol, exchange_status, link_how, replaced_by,
     correlation_id, origin, found_by)
  = (n.position_id, n.exchange, n.symbol, n.order_id, n.client_order_id, n.type, n.side, n.size, n.price, n.status,
     n.filled, n.remaining, n.fee, n.fee_currency, n.created_at, n.updated_at, n.account, n.signal_id, n.purpose,
     n.average_price, n.limit_price, n.trigger_price, n.reduce_only, n.fee_status, n.reason, n.unified_symbol,
     n.exchange_symbol, n.exchange_status, n.link_how, n.replaced_by, n.correlation_id, n.origin, n.found_by)
FROM json_populate_recordset(NULL::"monitoring"."orders", $1::json) AS n
WHERE o.order_key = n.order_key;

-- name: insert_orders
INSERT INTO "monitoring"."orders"
    (position_id, exchange, symbol, order_id, client_order_id, type, side, size, price, status, filled, remaining, fee,
     fee_currency, created_at, updated_at, order_key, account, signal_id, purpose, average_price, limit_price,
     trigger_price, reduce_only, fee_status, reason, unified_symbol, exchange_symbol, exchange_status, link_how,
     replaced_by, correlation_id, origin, found_by)
SELECT n.position_id, n.exchange, n.symbol, n.order_id, n.client_order_id, n.type, n.side, n.size, n.price, n.status,
       n.filled, n.remaining, n.fee, n.fee_currency, n.created_at, n.updated_at, n.order_key, n.account, n.signal_id,
       n.purpose, n.average_price, n.limit_price, n.trigger_price, n.reduce_only, n.fee_status, n.reason,
       n.unified_symbol, n.exchange_symbol, n.exchange_status, n.link_how, n.replaced_by, n.correlation_id,
       n.origin, n.found_by
FROM json_populate_recordset(NULL::"monitoring"."orders", $1::json) AS n
WHERE NOT EXISTS (SELECT FROM "monitoring"."orders" o WHERE o.order_key = n.order_key)
ORDER BY n.created_at, n.order_key;

-- name: adopt_trades
UPDATE "monitoring"."trades" row SET order_key = chosen.order_key
FROM (SELECT DISTINCT ON (n.order_key) n.order_key, b.id
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
           AS n(order_key, exchange, account, order_id, symbol, unified_symbol, exchange_symbol)
      JOIN "monitoring"."trades" b
        ON b.exchange = n.exchange AND b.symbol IN (n.symbol, n.unified_symbol, n.exchange_symbol)
       AND b.order_id = n.order_id AND b.order_key IS NULL AND b.account = n.account
      WHERE NOT EXISTS (SELECT FROM "monitoring"."trades" w WHERE w.order_key = n.order_key)
      ORDER BY n.order_key, b.id) AS chosen
WHERE row.id = chosen.id;

-- name: update_trades
UPDATE "monitoring"."trades" AS t
SET (signal_id, symbol, exchange, side, order_type, quantity, price, executed_qty, average_price, order_id,
     client_order_id, status, fee, fee_currency, executed_at, updated_at, account, position_id, purpose, fee_status,
     origin)
  = (n.signal_id, n.symbol, n.exchange, n.side, n.order_type, n.quantity, n.price, n.executed_qty, n.average_price,
     n.order_id, n.client_order_id, n.status, n.fee, n.fee_currency, n.executed_at, n.updated_at, n.account,
     n.position_id, n.purpose, n.fee_status, n.origin)
FROM json_populate_recordset(NULL::"monitoring"."trades", $1::json) AS n
WHERE t.order_key = n.order_key;

-- name: insert_trades
INSERT INTO "monitoring"."trades"
    (signal_id, symbol, exchange, side, order_type, quantity, price, executed_qty, average_price, order_id,
     client_order_id, status, fee, fee_currency, executed_at, updated_at, order_key, account, position_id, purpose,
     fee_status, origin)
SELECT n.signal_id, n.symbol, n.exchange, n.side, n.order_type, n.quantity, n.price, n.executed_qty, n.average_price,
       n.order_id, n.client_order_id, n.status, n.fee, n.fee_currency, n.executed_at, n.updated_at, n.order_key,
       n.account, n.position_id, n.purpose, n.fee_status, n.origin
FROM json_populate_recordset(NULL::"monitoring"."trades", $1::json) AS n
WHERE NOT EXISTS (SELECT FROM "monitoring"."trades" t WHERE t.order_key = n.order_key)
ORDER BY n.executed_at, n.order_key;

-- name: orders_sharing_fills
-- Other orders with a flagged fill that one of these orders has too.
SELECT DISTINCT other.order_key
FROM audit.fills mine JOIN audit.fills other USING (exchange_trade_id)
WHERE mine.order_key = ANY($1) AND mine.conflicts AND other.conflicts AND other.order_key <> ALL($1);

-- name: insert_fills
INSERT INTO audit.fills
SELECT n.* FROM json_populate_recordset(NULL::audit.fills, $1::json) AS n;

-- name: flag_conflicting_fills
-- Two orders with a fill of the same id: both are kept, both are flagged. On different sides it is a trade of the
-- account with itself, which is no conflict.
UPDATE audit.fills f SET conflicts = true
FROM audit.fills mine
JOIN audit.fills other ON other.exchange_trade_id = mine.exchange_trade_id AND other.order_key <> mine.order_key
    AND (other.exchange, other.account, other.symbol, other.side)
        IS NOT DISTINCT FROM (mine.exchange, mine.account, mine.symbol, mine.side)
WHERE mine.order_key = ANY($1) AND f.exchange_trade_id = mine.exchange_trade_id
  AND f.order_key IN (mine.order_key, other.order_key) AND NOT f.conflicts;

-- name: quarantine
INSERT INTO audit.quarantine AS q (stream, seq, payload, hash, reason) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (stream, seq) DO UPDATE SET retries = q.retries + 1, retried_at = now(), reason = excluded.reason;

-- name: quarantined
-- A page of it, after the place $1, $2. $4: of streams that begin so, $5: of this number; NULL: of every one.
SELECT stream, seq, payload, hash, reason, quarantined_at, retries, retried_at
FROM audit.quarantine
WHERE resolved_at IS NULL AND (stream, seq) > ($1, $2::bigint)
  AND ($4::text IS NULL OR starts_with(stream::text, $4)) AND ($5::bigint IS NULL OR seq = $5)
ORDER BY stream, seq LIMIT $3;

-- name: count_quarantined
SELECT count(*) FROM audit.quarantine WHERE stream = $1 AND resolved_at IS NULL;

-- name: resolve_quarantine
UPDATE audit.quarantine SET resolved_at = now(), retried_at = now(), retries = retries + 1
WHERE stream = $1 AND seq = $2 AND resolved_at IS NULL;
