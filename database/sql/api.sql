-- What policies call, in the schema of the user's choice. Run as claimpool_owner. The bodies are bound to our functions when
-- they are created, so that no search_path can bend them, and the planner puts them in line: they cost nothing.

CREATE OR REPLACE FUNCTION :"api".jwt() RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN claimpool.jwt();

CREATE OR REPLACE FUNCTION :"api".jwt(claim text) RETURNS text
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN claimpool.jwt() OPERATOR(pg_catalog.->>) claim;

CREATE OR REPLACE FUNCTION :"api".jwt_required(claim text) RETURNS text
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN COALESCE(claimpool.jwt() OPERATOR(pg_catalog.->>) claim, claimpool.missing(claim));

COMMENT ON FUNCTION :"api".jwt() IS 'all verified claims of the client; NULL without a trusted context';
COMMENT ON FUNCTION :"api".jwt(text) IS 'one verified claim of the client as text; NULL where it is absent';
COMMENT ON FUNCTION :"api".jwt_required(text) IS 'one verified claim of the client as text; error 28000 where it is absent';
