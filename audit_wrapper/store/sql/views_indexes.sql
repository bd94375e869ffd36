-- What the views ask the records for, and nothing else does. Numbers and times grow with the place on disk, so the second
-- one stays tiny.
CREATE INDEX IF NOT EXISTS events_unexplained ON audit.events (kind, stored_no) WHERE kind IN ('unattributed', 'gap');
CREATE INDEX IF NOT EXISTS events_called_at ON audit.events USING brin (called_at) WITH (pages_per_range = 16);
