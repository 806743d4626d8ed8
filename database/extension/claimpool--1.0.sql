\echo Use "CREATE EXTENSION claimpool" to load this file. \quit

-- What policies call. These live where the extension is created (public).

CREATE FUNCTION jwt() RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE COST 5
    AS 'MODULE_PATHNAME', 'claimpool_jwt';
CREATE FUNCTION jwt(claim text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 2
    AS 'MODULE_PATHNAME', 'claimpool_jwt_text';
CREATE FUNCTION jwt_required(claim text) RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE COST 2 -- not STRICT: nothing can be required of NULL, so it is an error
    AS 'MODULE_PATHNAME', 'claimpool_jwt_required';
CREATE FUNCTION jwt_path(VARIADIC path text[]) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 5
    AS 'MODULE_PATHNAME', 'claimpool_jwt_path';
CREATE FUNCTION jwt_int8(claim text) RETURNS int8
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 2
    AS 'MODULE_PATHNAME', 'claimpool_jwt_int8';
CREATE FUNCTION jwt_uuid(claim text) RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 2
    AS 'MODULE_PATHNAME', 'claimpool_jwt_uuid';
CREATE FUNCTION jwt_boolean(claim text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 2
    AS 'MODULE_PATHNAME', 'claimpool_jwt_boolean';
CREATE FUNCTION jwt_numeric(claim text) RETURNS numeric
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 2
    AS 'MODULE_PATHNAME', 'claimpool_jwt_numeric';
CREATE FUNCTION jwt_timestamptz(claim text) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 2
    AS 'MODULE_PATHNAME', 'claimpool_jwt_timestamptz';
CREATE FUNCTION jwt_text_array(claim text) RETURNS text[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 5
    AS 'MODULE_PATHNAME', 'claimpool_jwt_text_array';
CREATE FUNCTION jwt_has(claim text, value text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 5
    AS 'MODULE_PATHNAME', 'claimpool_jwt_has';

-- Tokens and keys, as jwt_context has them.

CREATE FUNCTION jwt_sign(algo text, secret text, header json, body json) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE COST 100
    AS 'MODULE_PATHNAME', 'claimpool_jwt_sign';
CREATE FUNCTION jwt_verify(secret text, context text) RETURNS boolean
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 100 -- not STRICT: NULL takes the keys that are set
    AS 'MODULE_PATHNAME', 'claimpool_jwt_verify';
CREATE FUNCTION jwt_generate_keys(algo text, OUT private_raw text, OUT private_pem text,
    OUT public_raw text, OUT public_pem text) RETURNS record
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE COST 1000
    AS 'MODULE_PATHNAME', 'claimpool_jwt_generate_keys';
CREATE FUNCTION jwt_generate_secret(algo text) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE COST 10
    AS 'MODULE_PATHNAME', 'claimpool_jwt_generate_secret';
CREATE FUNCTION jwt_challenge() RETURNS text -- what the next token of this connection has to answer
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'claimpool_jwt_challenge';
CREATE FUNCTION jwt_unseal() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'claimpool_jwt_unseal';
REVOKE ALL ON FUNCTION jwt_unseal() FROM PUBLIC;

-- What the proxy calls, by function call messages: see PROTOCOL.md.

CREATE SCHEMA claimpool;
GRANT USAGE ON SCHEMA claimpool TO PUBLIC;

CREATE FUNCTION claimpool.jwt() RETURNS jsonb -- where the SQL dialect has it, too
    LANGUAGE c STABLE PARALLEL SAFE COST 5
    AS 'MODULE_PATHNAME', 'claimpool_jwt';

CREATE FUNCTION claimpool.challenge() RETURNS bytea
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'claimpool_challenge';
CREATE FUNCTION claimpool.switch(grant_bytes bytea) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE -- not STRICT: NULL too must end the connection
    AS 'MODULE_PATHNAME', 'claimpool_switch';

-- Which backend holds which identity: no claims, and the beginning of a
-- fingerprint instead of a name.

CREATE FUNCTION claimpool.contexts(OUT pid int, OUT identity text, OUT scope text,
    OUT since timestamptz, OUT expires timestamptz, OUT hand_overs int8) RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 100
    AS 'MODULE_PATHNAME', 'claimpool_contexts';
REVOKE ALL ON FUNCTION claimpool.contexts() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claimpool.contexts() TO pg_read_all_stats;

CREATE VIEW claimpool.identities AS
    SELECT c.pid, a.datname, a.usename, c.identity, c.scope, c.since, c.expires, c.hand_overs
    FROM claimpool.contexts() c JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) c.pid;
GRANT SELECT ON claimpool.identities TO pg_read_all_stats;

-- What default privileges (ALTER DEFAULT PRIVILEGES) have given to others of what is not for everybody.

DO $block$
DECLARE
    taken text;
BEGIN
    FOR taken IN
        SELECT pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %I', p.oid::pg_catalog.regprocedure, r.rolname)
        FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) a JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.grantee
        WHERE p.oid OPERATOR(pg_catalog.=) ANY (ARRAY['jwt_unseal()'::pg_catalog.regprocedure, 'claimpool.contexts()'::pg_catalog.regprocedure])
            AND a.grantee OPERATOR(pg_catalog.<>) p.proowner AND r.rolname OPERATOR(pg_catalog.<>) 'pg_read_all_stats'
    LOOP
        EXECUTE taken;
    END LOOP;
END
$block$;
