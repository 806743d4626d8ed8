DO $block$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) d.refobjid
			WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass
			AND r.rolname OPERATOR(pg_catalog.=) 'claimpool_revocation') THEN
		DROP ROLE IF EXISTS claimpool_revocation;
	END IF;
END
$block$;
