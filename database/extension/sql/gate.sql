-- a role behind the gate, without the proxy: nothing but the ends of transactions
CREATE ROLE regress_claimpool_pool LOGIN;
ALTER ROLE regress_claimpool_pool SET claimpool.gate = on;
\c - regress_claimpool_pool
SELECT 1;
SET search_path = public;
SHOW search_path;
DO $$ BEGIN NULL; END $$;
COPY (SELECT 1) TO STDOUT;
BEGIN;
COMMIT;
RESET ALL;
RESET claimpool.gate;
SELECT 1;
\c - postgres
-- the sandbox
ALTER ROLE regress_claimpool_pool RESET ALL;
ALTER ROLE regress_claimpool_pool SET claimpool.sandbox = on;
CREATE ROLE regress_claimpool_other;
GRANT regress_claimpool_other TO regress_claimpool_pool;
\c - regress_claimpool_pool
SET ROLE regress_claimpool_other;
SELECT set_config('role', 'regress_claimpool_other', false);
RESET ROLE;
SET SESSION AUTHORIZATION DEFAULT;
CREATE TEMP TABLE t ();
PREPARE p AS SELECT 1;
LISTEN x;
SELECT setseed(0.5);
SELECT pg_advisory_lock(1);
SELECT pg_terminate_backend(0);
ALTER ROLE regress_claimpool_pool SET search_path = public;
SELECT 1 AS works;
\c - postgres
SELECT count(*) FROM claimpool.identities;
DROP ROLE regress_claimpool_pool, regress_claimpool_other;
DROP EXTENSION claimpool;
