-- The hash chains in the database: what was stored, journal by journal, entry by entry.

-- name: streams
-- Every journal that anything is here of. first_seq, last_seq: of its entries, NULL: none; delivered_seq: what its mark
-- says, NULL: it has none. Found by jumping along the index, since there may be ten million events of a few journals.
WITH RECURSIVE found(stream) AS (
    (SELECT stream FROM audit.events ORDER BY stream LIMIT 1)
    UNION ALL
    SELECT (SELECT e.stream FROM audit.events e WHERE e.stream > f.stream ORDER BY e.stream LIMIT 1)
    FROM found f WHERE f.stream IS NOT NULL
), every AS (
    SELECT stream FROM found WHERE stream IS NOT NULL
    UNION SELECT stream FROM audit.streams
    UNION SELECT stream FROM audit.quarantine
)
SELECT every.stream, s.delivered_seq, s.delivered_hash, least(e.first, q.first) AS first_seq,
       greatest(e.last, q.last) AS last_seq, s.first_delivered_at
FROM every
LEFT JOIN audit.streams s USING (stream)
CROSS JOIN LATERAL (SELECT min(seq) AS first, max(seq) AS last FROM audit.events x WHERE x.stream = every.stream) AS e
CROSS JOIN LATERAL (SELECT min(seq) AS first, max(seq) AS last FROM audit.quarantine x WHERE x.stream = every.stream) AS q
ORDER BY s.first_delivered_at NULLS FIRST, every.stream;

-- name: links
-- A page of one journal. $1: stream, $2: after this number, $3: up to this one, $4: as many. "body": as stored;
-- "payload": as set aside in quarantine.
SELECT seq, hash, body, payload FROM (
    (SELECT seq, hash, body::text AS body, NULL::bytea AS payload FROM audit.events
     WHERE stream = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4)
    UNION ALL
    (SELECT seq, hash, NULL, payload FROM audit.quarantine
     WHERE stream = $1 AND seq > $2 AND seq <= $3 AND resolved_at IS NULL ORDER BY seq LIMIT $4)
) AS entries
ORDER BY seq, body IS NULL LIMIT $4;

-- name: hashes_at
-- What other journals have under this number: one of them may be the one that this journal went on from.
SELECT hash FROM audit.events WHERE stream = ANY($1::uuid[]) AND seq = $2
UNION SELECT hash FROM audit.quarantine WHERE stream = ANY($1::uuid[]) AND seq = $2;

-- name: not_here
-- Those of these entries that are not here just as they are. $1: streams, $2: seq, $3: hash. "other": there is something
-- else under the number.
SELECT entry.seq,
       EXISTS (SELECT FROM audit.events e WHERE e.stream = ANY($1::uuid[]) AND e.seq = entry.seq) AS other
FROM unnest($2::bigint[], $3::bytea[]) AS entry(seq, hash)
WHERE NOT EXISTS (SELECT FROM audit.events e
                  WHERE e.stream = ANY($1::uuid[]) AND e.seq = entry.seq AND e.hash = entry.hash)
  AND NOT EXISTS (SELECT FROM audit.quarantine q
                  WHERE q.stream = ANY($1::uuid[]) AND q.seq = entry.seq AND q.hash = entry.hash)
ORDER BY entry.seq;
