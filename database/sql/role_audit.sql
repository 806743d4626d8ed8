-- Make the login roles of proxies members of claimpool_audit, and of those who read the records members of claimpool_auditor. Another
-- database of the cluster may have made them.
DO $block$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'claimpool_audit') THEN
		CREATE ROLE claimpool_audit NOLOGIN;
		COMMENT ON ROLE claimpool_audit IS 'may add records to the audit stream of claimpool, and nothing else';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'claimpool_auditor') THEN
		CREATE ROLE claimpool_auditor NOLOGIN;
		COMMENT ON ROLE claimpool_auditor IS 'may read the audit stream of claimpool, and nothing else';
	END IF;
END
$block$;
