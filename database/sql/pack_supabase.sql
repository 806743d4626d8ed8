-- For policies that were written for Supabase, beside pack_auth.sql. Run as claimpool_owner.

CREATE OR REPLACE FUNCTION auth.role() RETURNS text
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN :"api".jwt('role');

CREATE OR REPLACE FUNCTION auth.email() RETURNS text
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN :"api".jwt('email');

COMMENT ON FUNCTION auth.role() IS 'the verified claim role';
COMMENT ON FUNCTION auth.email() IS 'the verified claim email';
