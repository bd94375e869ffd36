-- Many closed positions, as the store would have written them: an entry, a stop that is canceled, an exit; the last ten are
-- open. {positions}: how many. One begins every ten minutes.
INSERT INTO audit.events (stream, seq, record_id, kind, action, exchange, account, correlation_id, intent_id, called_at,
                          answered_at, hash, body)
SELECT '00000000-0000-7000-8000-0000000000a1', n * 6 + k * 2 + step, md5(n || '-' || k || '-' || step)::uuid,
       CASE step WHEN 0 THEN 'intent' ELSE 'acknowledged' END, 'place', 'binanceusdm', 'default', md5('c' || n || '-' || k)::uuid,
       CASE step WHEN 1 THEN md5(n || '-' || k || '-0')::uuid END, began + k * interval '10 s',
       CASE step WHEN 1 THEN began + k * interval '10 s' + interval '1 s' END, '\x00',
       ('{{"market":{{"symbol":"MNT/USDT:USDT","exchange_symbol":"MNTUSDT","quote":"USDT","settle":"USDT","type":"swap",'
        '"contract_size":"1"}},"position":{{"position_id":"' || n || '","side":"buy","how":"atomic","intended_price":"1.2"}},'
        '"response":{{"http_status":200,"text":"' || repeat('x', 600) || '"}}}}')::json
FROM generate_series(1, {positions}) AS n, generate_series(0, 2) AS k, generate_series(0, 1) AS step,
     LATERAL (SELECT timestamptz '2020-01-01' + n * interval '10 min' AS began) AS b;

INSERT INTO monitoring.orders (position_id, exchange, symbol, order_id, type, side, size, price, status, filled, remaining, fee,
                               fee_currency, created_at, updated_at, order_key, account, signal_id, purpose, average_price,
                               trigger_price, fee_status, unified_symbol, exchange_symbol, origin)
SELECT n::text, 'binanceusdm', 'MNTUSDT', (n * 3 + k)::text, CASE k WHEN 1 THEN 'STOP_MARKET' ELSE 'MARKET' END,
       CASE k WHEN 0 THEN 'buy' ELSE 'sell' END, 10, 1.25, CASE k WHEN 1 THEN 'CANCELED' ELSE 'FILLED' END,
       CASE k WHEN 1 THEN 0 ELSE 10 END, 0, CASE k WHEN 1 THEN NULL ELSE 0.005 END, CASE k WHEN 1 THEN NULL ELSE 'USDT' END,
       began + k * interval '10 s', began + interval '1 min', md5('k' || n || '-' || k)::uuid, 'default', n,
       CASE k WHEN 0 THEN 'entry' WHEN 1 THEN 'stop_loss' ELSE 'exit' END,
       CASE k WHEN 1 THEN NULL ELSE 1.25 + (n * k % 7 - 3) * 0.01 END, CASE k WHEN 1 THEN 1.1 END,
       CASE k WHEN 1 THEN 'none_due' ELSE 'reported' END, 'MNT/USDT:USDT', 'MNTUSDT', 'bot'
FROM generate_series(1, {positions}) AS n, generate_series(0, 2) AS k,
     LATERAL (SELECT timestamp '2020-01-01' + n * interval '10 min' AS began) AS b
WHERE k < 2 OR n <= {positions} - 10;

INSERT INTO audit.orders (order_key, scope, open, intent_id, part)
SELECT md5('k' || n || '-' || k)::uuid, 'binanceusdm|default|MNT/USDT:USDT', false, md5(n || '-' || k || '-0')::uuid, 'order'
FROM generate_series(1, {positions}) AS n, generate_series(0, 2) AS k;

INSERT INTO audit.order_events (order_key, stream, seq, part)
SELECT md5('k' || n || '-' || k)::uuid, '00000000-0000-7000-8000-0000000000a1', n * 6 + k * 2 + step, 'order'
FROM generate_series(1, {positions}) AS n, generate_series(0, 2) AS k, generate_series(0, 1) AS step;

INSERT INTO audit.fills (order_key, exchange, account, symbol, exchange_trade_id, side, price, quantity, fee, fee_currency,
                         fee_status, exchange_at)
SELECT o.order_key, o.exchange, o.account, o.symbol, o.order_id || '-0', o.side, o.average_price, 10, 0.005, 'USDT', 'reported',
       (o.created_at + interval '1 s') AT TIME ZONE 'utc'
FROM monitoring.orders o WHERE o.filled = 10;

INSERT INTO audit.positions (bot_schema, account, exchange, position_id, begun_at, closed_at, is_open, executed)
SELECT '"monitoring"', 'default', 'binanceusdm', n::text, began,
       CASE WHEN n <= {positions} - 10 THEN began + interval '21 s' END, n > {positions} - 10, true
FROM generate_series(1, {positions}) AS n, LATERAL (SELECT timestamptz '2020-01-01' + n * interval '10 min' AS began) AS b;

ANALYZE audit.positions, audit.events, audit.orders, audit.order_events, audit.fills, monitoring.orders;
