-- Where the proxy asks for users' stored passwords (auth_query in PgBouncer's words). Run as claimpool_owner, which may read three
-- columns of pg_authid for it. Roles that would be a prize are not told: superusers, and whoever may replicate.

CREATE FUNCTION claimpool_lookup.password(name text) RETURNS text
	LANGUAGE sql STABLE STRICT SECURITY DEFINER PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT a.rolpassword FROM pg_catalog.pg_authid a
	WHERE a.rolname::pg_catalog.text OPERATOR(pg_catalog.=) $1 COLLATE pg_catalog."C"
	  AND a.rolcanlogin AND NOT a.rolsuper AND NOT a.rolreplication
	  AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp())
$function$;
REVOKE ALL ON FUNCTION claimpool_lookup.password(text) FROM PUBLIC;
COMMENT ON FUNCTION claimpool_lookup.password(text) IS 'the stored password of a role that may log in; for the proxy''s look-up role alone';
