-- Make the login roles of proxies and administrators members of it. Another database of the cluster may have made it.
DO $block$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'claimpool_revocation') THEN
		CREATE ROLE claimpool_revocation NOLOGIN;
		COMMENT ON ROLE claimpool_revocation IS 'may sign people out of claimpool, and read who has been';
	END IF;
END
$block$;
