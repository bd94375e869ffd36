-- The records as they come in.

-- name: last_number
-- From the sequence, where the role may read it: the records have no index by which the last is found.
SELECT CASE WHEN has_sequence_privilege(pg_get_serial_sequence('audit.events', 'stored_no'), 'SELECT')
            THEN pg_sequence_last_value(pg_get_serial_sequence('audit.events', 'stored_no')::regclass)
            ELSE (SELECT max(stored_no) FROM audit.events) END;

-- name: events_behind
-- Those behind $1 that are not among $2, in the order in which they came.
SELECT stored_no, stored_at, kind, action, exchange, account, called_at, answered_at, body::text AS body
FROM audit.events e
WHERE stored_no > $1 AND stored_no <> ALL($2::bigint[]) AND ($3::text IS NULL OR exchange = $3)
  AND ($4::text IS NULL OR account = $4) /* filters */
ORDER BY stored_no;
