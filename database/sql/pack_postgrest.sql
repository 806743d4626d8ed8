-- For policies that were written for PostgREST. They read current_setting('request.jwt.claims', true), which every client may
-- set, so they must be changed to read request.setting('request.jwt.claims', true). Run as claimpool_owner.

CREATE OR REPLACE FUNCTION request.refuse(name text) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF name = 'request.jwt.claims' OR starts_with(name, 'request.jwt.claim.') THEN
		RAISE undefined_object USING MESSAGE = format('"%s" has no verified value', name);
	END IF;
	RAISE invalid_parameter_value
		USING MESSAGE = format('"%s" cannot be verified', name),
			HINT = 'Only request.jwt.claims and request.jwt.claim.NAME can; current_setting() has what the client says.';
END
$function$;

-- request.jwt.claims, and request.jwt.claim.NAME of older versions of PostgREST, from the verified claims; nothing else.
CREATE OR REPLACE FUNCTION request.setting(name text, missing_ok boolean DEFAULT false) RETURNS text
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN CASE
		WHEN name OPERATOR(pg_catalog.=) 'request.jwt.claims'
			THEN COALESCE(:"api".jwt()::pg_catalog.text, CASE WHEN missing_ok THEN NULL ELSE request.refuse(name) END)
		WHEN pg_catalog.starts_with(name, 'request.jwt.claim.')
			THEN COALESCE(:"api".jwt(pg_catalog.substr(name, 19)), CASE WHEN missing_ok THEN NULL ELSE request.refuse(name) END)
		ELSE request.refuse(name)
	END;

COMMENT ON FUNCTION request.setting(text, boolean) IS 'the verified value of request.jwt.claims, in place of current_setting()';
GRANT USAGE ON SCHEMA request TO PUBLIC;
