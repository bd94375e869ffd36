-- What is there of the trail's schema, to tell afterwards what was changed. From the catalogs, which everybody may read.

-- name: shape
-- One row per thing. "below": the table that it is a part of; NULL: of none. $1: the bot's schema.
WITH tables AS (
    SELECT c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.nspname = 'audit' OR n.nspname = $1 AND c.relname IN ('orders', 'trades')) AND c.relkind IN ('r', 'p', 'v', 'm')
)
SELECT 'schema' AS kind, format('%I', nspname) AS name, '' AS how, NULL AS below
FROM pg_namespace WHERE nspname IN ('audit', $1)
UNION ALL
SELECT CASE WHEN relkind IN ('r', 'p') THEN 'table' ELSE 'view' END, name,
       CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) ELSE '' END, NULL
FROM tables
UNION ALL
SELECT 'column', format('%s.%I', t.name, a.attname),
       format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
       || CASE WHEN a.attidentity <> '' THEN ', numbered by the database' ELSE '' END, t.name
FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE t.relkind IN ('r', 'p')
UNION ALL
SELECT 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), t.name
FROM tables t JOIN pg_index i ON i.indrelid = t.oid
WHERE i.indisvalid;

-- name: may_read_version
-- NULL: there is no schema of the trail yet.
SELECT bool_and(CASE WHEN has_schema_privilege(n.oid, 'USAGE') THEN has_table_privilege(c.oid, 'SELECT') ELSE false END)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'audit' AND c.relname = 'migrations';

-- name: version
SELECT max(version) FROM audit.migrations;

-- name: look_at_the_tables
-- Fails where the trail's tables, or the bot's two, are not there under the names that the settings give.
SELECT EXISTS (SELECT FROM audit.streams), EXISTS (SELECT FROM "monitoring"."orders"), EXISTS (SELECT FROM "monitoring"."trades");
