-- How the trail is doing, as the database knows it. Each of these reads a few rows, however large the tables are.

-- name: schema_version
SELECT max(version) FROM audit.migrations;

-- name: relation_exists
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'audit' AND c.relname = $1);

-- name: streams
-- $1: streams to look for; NULL: all. With the place and time of their newest record.
SELECT s.stream, s.delivered_seq, s.first_delivered_at, s.last_delivered_at, e.account, e.exchange,
       coalesce(e.answered_at, e.called_at) AS last_record_at
FROM audit.streams s
LEFT JOIN LATERAL (
    SELECT account, exchange, called_at, answered_at FROM audit.events
    WHERE stream = s.stream AND seq <= s.delivered_seq ORDER BY seq DESC LIMIT 1
) e ON true
WHERE $1::uuid[] IS NULL OR s.stream = ANY ($1)
ORDER BY s.last_delivered_at DESC, s.stream
LIMIT 100;

-- name: quarantined
-- $1: as above. What was brought in since does not count.
SELECT count(*) FROM audit.quarantine
WHERE resolved_at IS NULL AND ($1::uuid[] IS NULL OR stream = ANY ($1));

-- name: open_questions
SELECT kind, count(*) AS n FROM audit.v_open_questions GROUP BY kind ORDER BY kind;

-- name: newest_events
-- $1: how many of each stream.
SELECT e.stream, e.seq, e.body::text AS body
FROM (SELECT stream, delivered_seq FROM audit.streams ORDER BY last_delivered_at DESC LIMIT 10) s
CROSS JOIN LATERAL (
    SELECT stream, seq, body FROM audit.events WHERE stream = s.stream ORDER BY seq DESC LIMIT $1
) e;
