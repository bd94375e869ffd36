-- What is there: read from PostgreSQL's catalogs, so that only what is missing is changed. Names are looked up in
-- pg_class and not by to_regclass(), which fails where the role may not look into a schema.

-- name: migrations_table_exists
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'audit' AND c.relname = 'migrations');

-- name: applied_migrations
SELECT version, name, checksum FROM audit.migrations ORDER BY version;

-- name: record_migration
INSERT INTO audit.migrations (version, name, checksum) VALUES ($1, $2, $3);

-- name: try_migration_lock
SELECT pg_try_advisory_lock($1);

-- name: migration_unlock
SELECT pg_advisory_unlock($1);

-- name: lock_timeout
SELECT set_config('lock_timeout', $1, true);

-- name: server
SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
       current_database() AS database, current_user AS role, pg_is_in_recovery() AS in_recovery;

-- name: schema_exists
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1);

-- name: create_audit_schema
CREATE SCHEMA IF NOT EXISTS audit;

-- name: create_bot_schema
CREATE SCHEMA IF NOT EXISTS "monitoring";

-- name: missing_rights
-- Statements for a DBA, one per right that this role lacks. $1: schema of the bot; $2, $3: are tables to be made in the
-- schema audit, in the bot's?
WITH schemas AS (
    SELECT s.name, n.oid, s.to_be_filled
    FROM (VALUES ('audit', $2::boolean), ($1::text, $3::boolean)) AS s(name, to_be_filled)
    LEFT JOIN pg_namespace n ON n.nspname = s.name
), tables AS (
    SELECT c.oid, c.relkind, n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'audit' AND c.relkind = 'r'
       OR n.nspname = $1 AND c.relname IN ('orders', 'trades') AND c.relkind IN ('r', 'p')
), sequences AS (
    SELECT DISTINCT s.oid, n.nspname, s.relname
    FROM tables t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = 'id' AND a.attnum > 0
    JOIN pg_depend d ON d.refobjid = t.oid AND d.refobjsubid = a.attnum AND d.deptype = 'a'
    JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    JOIN pg_namespace n ON n.oid = s.relnamespace
)
SELECT statement FROM (
    SELECT 1 AS step, format('CREATE SCHEMA %I AUTHORIZATION %I;', name, current_user) AS statement
    FROM schemas WHERE oid IS NULL AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT 2, format('GRANT USAGE, CREATE ON SCHEMA %I TO %I;', name, current_user)
    FROM schemas WHERE oid IS NOT NULL AND to_be_filled
                   AND NOT (has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE'))
    UNION ALL
    SELECT 2, format('GRANT USAGE ON SCHEMA %I TO %I;', name, current_user)
    FROM schemas WHERE oid IS NOT NULL AND NOT to_be_filled AND NOT has_schema_privilege(oid, 'USAGE')
    UNION ALL
    SELECT 3, format('GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE %I.%I TO %I;', nspname, relname, current_user)
    FROM tables WHERE NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
                           AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
    UNION ALL
    SELECT 4, format('GRANT USAGE, SELECT, UPDATE ON SEQUENCE %I.%I TO %I;', nspname, relname, current_user)
    FROM sequences WHERE NOT (has_sequence_privilege(oid, 'USAGE') AND has_sequence_privilege(oid, 'UPDATE'))
) AS needed
ORDER BY step, statement;

-- name: bot_table_changes
-- How a table that exists differs from what it has to be, one row per column. $1: schema, $2..$4: the expected columns.
-- "clause" is a part of ALTER TABLE that rewrites nothing; "problem" is something only the owner of the bot can decide.
WITH expected AS (
    SELECT e.table_name, e.column_name, e.type, c.oid
    FROM unnest($2::text[], $3::text[], $4::text[]) AS e(table_name, column_name, type)
    JOIN pg_namespace n ON n.nspname = $1
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = e.table_name
), existing AS (
    SELECT c.oid, c.relname AS table_name, c.relkind FROM pg_class c
    WHERE c.oid IN (SELECT oid FROM expected)
), found AS (
    SELECT x.oid, x.table_name, a.attname AS column_name, a.attnum, a.attnotnull, a.attidentity, a.attgenerated,
           a.atthasdef, a.atttypmod, a.atttypid, t.typname, format_type(a.atttypid, a.atttypmod) AS type
    FROM existing x
    JOIN pg_attribute a ON a.attrelid = x.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
), compared AS (
    SELECT e.table_name, e.column_name, e.type AS wanted, f.type, f.typname, f.attnum, f.attnotnull, f.atttypmod
    FROM expected e
    JOIN existing x ON x.oid = e.oid AND x.relkind IN ('r', 'p')
    LEFT JOIN found f ON f.oid = e.oid AND f.column_name = e.column_name
)
SELECT table_name, clause, problem, statement FROM (
    SELECT 1 AS step, table_name, 0 AS place, NULL AS clause,
           format('%I.%I is no table', $1, table_name) AS problem, NULL AS statement
    FROM existing WHERE relkind NOT IN ('r', 'p')
    UNION ALL
    SELECT 2, table_name, attnum, format('ALTER COLUMN %I DROP NOT NULL', column_name), NULL, NULL
    FROM compared WHERE attnotnull
    UNION ALL
    SELECT 3, table_name, attnum,
           format('ALTER COLUMN %I TYPE %s', column_name,
                  CASE typname WHEN 'varchar' THEN 'text' WHEN 'numeric' THEN 'numeric'
                               WHEN 'timestamp' THEN 'timestamp' ELSE 'timestamptz' END),
           NULL, NULL
    FROM compared
    WHERE atttypmod <> -1 AND (wanted, typname::text) IN (('text', 'varchar'), ('numeric', 'numeric'),
                                                          ('timestamp', 'timestamp'), ('timestamp', 'timestamptz'))
    UNION ALL
    SELECT 4, table_name, 0, NULL,
           format('%I.%I.%I is %s, which cannot hold every %s', $1, table_name, column_name, type, wanted),
           format('ALTER TABLE %I.%I ALTER COLUMN %I TYPE %s USING %I::%s;', $1, table_name, column_name, wanted,
                  column_name, wanted)
    FROM compared
    WHERE attnum IS NOT NULL
      AND (wanted, typname::text) NOT IN (('text', 'text'), ('text', 'varchar'), ('numeric', 'numeric'),
                                          ('timestamp', 'timestamp'), ('timestamp', 'timestamptz'),
                                          ('integer', 'int4'), ('integer', 'int8'), ('boolean', 'bool'), ('uuid', 'uuid'))
    UNION ALL
    SELECT 5, table_name, row_number() OVER (), format('ADD COLUMN %I %s', column_name, wanted), NULL, NULL
    FROM compared WHERE attnum IS NULL
    UNION ALL
    -- the bot numbers its rows itself; from now on the database can, too
    SELECT 6, table_name, 0, format('ALTER COLUMN %I ADD GENERATED BY DEFAULT AS IDENTITY', column_name), NULL, NULL
    FROM found
    WHERE column_name = 'id' AND attnotnull AND NOT atthasdef AND attidentity = '' AND typname IN ('int2', 'int4', 'int8')
    UNION ALL
    SELECT 7, x.table_name, 0, NULL, format('%I.%I has no whole-number key "id"', $1, x.table_name),
           format('ALTER TABLE %I.%I ADD COLUMN id serial PRIMARY KEY;', $1, x.table_name)
    FROM existing x
    WHERE x.relkind IN ('r', 'p')
      AND NOT EXISTS (SELECT FROM found f WHERE f.oid = x.oid AND f.column_name = 'id'
                      AND f.typname IN ('int2', 'int4', 'int8') AND (f.attnotnull OR f.atthasdef))
    UNION ALL
    SELECT 8, f.table_name, f.attnum, NULL,
           format('%I.%I.%I must not be NULL and has no default, so no row but the bot''s own can be written', $1,
                  f.table_name, f.column_name),
           format('ALTER TABLE %I.%I ALTER COLUMN %I DROP NOT NULL;', $1, f.table_name, f.column_name)
    FROM found f
    WHERE f.attnotnull AND NOT f.atthasdef AND f.attidentity = '' AND f.attgenerated = '' AND f.column_name <> 'id'
      AND NOT EXISTS (SELECT FROM expected e WHERE e.oid = f.oid AND e.column_name = f.column_name)
) AS changes
ORDER BY table_name, step, place;

-- name: alter_statement
SELECT format('ALTER TABLE %I.%I %s;', $1::text, $2::text, array_to_string($3::text[], ', '));

-- name: bot_tables
-- Those of the two tables that exist, and whether this role may change them.
SELECT c.relname::text AS name, pg_get_userbyid(c.relowner)::text AS owner,
       pg_has_role(current_user, c.relowner, 'USAGE') AS ours
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = ANY($2::text[]);

-- name: dependent_views
SELECT DISTINCT format('%I.%I', vn.nspname, v.relname) AS view, a.attname::text AS column_name
FROM pg_depend d
JOIN pg_rewrite r ON r.oid = d.objid
JOIN pg_class v ON v.oid = r.ev_class
JOIN pg_namespace vn ON vn.oid = v.relnamespace
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND v.oid <> d.refobjid
  AND d.refobjid = format('%I.%I', $1::text, $2::text)::regclass AND d.refobjsubid > 0
ORDER BY 1, 2;

-- name: index_states
-- The indexes of ours that exist. One that is not valid was begun and never finished.
SELECT c.relname::text AS name, i.indisvalid AS valid
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = $1 AND t.relname = ANY($2::text[]) AND c.relname LIKE 'audit\_%';

-- name: drop_index_statement
SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', $1::text, $2::text);

-- name: positions_columns
SELECT a.attname::text AS name
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0
  AND NOT a.attisdropped AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
  AND has_schema_privilege(n.oid, 'USAGE');

-- name: resync_orders_id
-- The bot may have numbered rows itself, past the sequence.
SELECT setval(s.oid, greatest((SELECT max(id) FROM "monitoring"."orders"), nextval(s.oid)))
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attname = 'id'
WHERE d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjid = '"monitoring"."orders"'::regclass;

-- name: resync_trades_id
SELECT setval(s.oid, greatest((SELECT max(id) FROM "monitoring"."trades"), nextval(s.oid)))
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attname = 'id'
WHERE d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjid = '"monitoring"."trades"'::regclass;

-- name: views_lock
SELECT pg_advisory_xact_lock($1);

-- name: views_installed
-- The views and functions that we have made, with the statements that give others their rights to them again.
SELECT 'VIEW' AS kind, format('%I.%I', n.nspname, c.relname) AS name, obj_description(c.oid, 'pg_class') AS mark,
       ARRAY(SELECT format('GRANT %s ON %I.%I TO %s%s', a.privilege_type, n.nspname, c.relname,
                           CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END,
                           CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
             FROM aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
             WHERE a.grantee <> c.relowner AND (a.grantee = 0 OR r.oid IS NOT NULL)) AS grants
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'audit' AND c.relkind = 'v' AND starts_with(obj_description(c.oid, 'pg_class'), 'audit_wrapper views ')
UNION ALL
SELECT 'FUNCTION', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
       obj_description(p.oid, 'pg_proc'), ARRAY[]::text[]
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'audit' AND starts_with(obj_description(p.oid, 'pg_proc'), 'audit_wrapper views ');

-- name: indexes_of_views
-- Those of these indexes that exist. One that is not valid was begun and never finished.
SELECT c.relname::text AS name, i.indisvalid AS valid
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'audit' AND c.relname = ANY($1::text[]);
