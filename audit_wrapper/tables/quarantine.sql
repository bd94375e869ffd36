-- What the database refused and keeps as it is.

-- name: waiting
-- What is in quarantine and was not brought in since. $1: of streams that begin so, $2: of this number; NULL: of every
-- one; $3: as many at the most. "of": how many there are of them altogether.
SELECT stream, seq, payload, reason, quarantined_at, retries, retried_at, count(*) OVER () AS of
FROM audit.quarantine
WHERE resolved_at IS NULL
  AND ($1::text IS NULL OR starts_with(stream::text, $1)) AND ($2::bigint IS NULL OR seq = $2)
ORDER BY stream, seq LIMIT $3;
