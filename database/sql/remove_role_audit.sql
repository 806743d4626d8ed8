DO $block$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['claimpool_audit', 'claimpool_auditor'] LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) d.refobjid
				WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass
				AND r.rolname OPERATOR(pg_catalog.=) name) THEN
			EXECUTE pg_catalog.format('DROP ROLE IF EXISTS %I', name);
		END IF;
	END LOOP;
END
$block$;
