-- What Supabase and pg_session_jwt have in common. Run as claimpool_owner. Like those of api.sql, the bodies are bound to jwt()
-- when they are created: no search_path, no temporary object and no setting that a client can write bends them.

CREATE OR REPLACE FUNCTION auth.jwt() RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN :"api".jwt();

CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN NULLIF(:"api".jwt('sub'), '')::pg_catalog.uuid;

COMMENT ON FUNCTION auth.jwt() IS 'all verified claims of the client; NULL without a trusted context';
COMMENT ON FUNCTION auth.uid() IS 'the verified claim sub as uuid; NULL where it is absent, an error where it is none';
GRANT USAGE ON SCHEMA auth TO PUBLIC;
