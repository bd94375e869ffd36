-- What the role needs that writes the trail, and no more.
GRANT USAGE ON SCHEMA audit, "monitoring" TO "the_role";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA audit TO "the_role";
GRANT SELECT, INSERT, UPDATE, DELETE ON "monitoring"."orders", "monitoring"."trades" TO "the_role";
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA "monitoring" TO "the_role";
-- what an upgrade by this owner adds
ALTER DEFAULT PRIVILEGES IN SCHEMA audit GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "the_role";
