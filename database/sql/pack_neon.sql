-- For policies that were written for Neon's pg_session_jwt, beside pack_auth.sql. Run as claimpool_owner.

-- As there, the JSON value null without claims, and not NULL.
CREATE OR REPLACE FUNCTION auth.session() RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN COALESCE(:"api".jwt(), 'null'::pg_catalog.jsonb);

CREATE OR REPLACE FUNCTION auth.user_id() RETURNS text
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN :"api".jwt('sub');

-- Neon Auth puts an object into the claim o: {"id": "a uuid", "slug": "acme", "role": "owner"}. Anything else there is none.
CREATE OR REPLACE FUNCTION auth.organization() RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN (SELECT CASE WHEN pg_catalog.jsonb_typeof(o) OPERATOR(pg_catalog.=) 'object' THEN o END
		FROM (SELECT :"api".jwt() OPERATOR(pg_catalog.->) 'o') claims (o));

CREATE OR REPLACE FUNCTION auth.organization_id() RETURNS uuid
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN (SELECT CASE WHEN id OPERATOR(pg_catalog.~) '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' THEN id::pg_catalog.uuid END
		FROM (SELECT auth.organization() OPERATOR(pg_catalog.->>) 'id') organization (id));

COMMENT ON FUNCTION auth.session() IS 'all verified claims of the client; the JSON value null without a trusted context';
COMMENT ON FUNCTION auth.user_id() IS 'the verified claim sub';
COMMENT ON FUNCTION auth.organization() IS 'the verified claim o, if it is an object';
COMMENT ON FUNCTION auth.organization_id() IS 'the id in the verified claim o, if it is a uuid';
