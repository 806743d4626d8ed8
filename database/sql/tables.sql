-- Run as claimpool_owner, so that nobody's default privileges open the tables.

CREATE TABLE claimpool.version (
	version   integer     NOT NULL,
	api       name        NOT NULL, -- the schema of jwt(), jwt(text) and jwt_required(text)
	installed timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE UNIQUE INDEX version_is_one_row ON claimpool.version ((true));
COMMENT ON TABLE claimpool.version IS 'which version of claimpool''s SQL is installed; one row';

-- A key is stored as the two blocks that HMAC makes of it (RFC 2104: key xor ipad, key xor opad), so that the core function
-- sha256() is enough to compute HMAC-SHA256, without pgcrypto.
CREATE TABLE claimpool.keys (
	kid     text        PRIMARY KEY CHECK (kid OPERATOR(pg_catalog.~) '^[A-Za-z0-9_-]{1,32}$'),
	inside  bytea       NOT NULL CHECK (pg_catalog.length(inside) OPERATOR(pg_catalog.=) 64),
	outside bytea       NOT NULL CHECK (pg_catalog.length(outside) OPERATOR(pg_catalog.=) 64),
	created timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
REVOKE ALL ON claimpool.version, claimpool.keys FROM PUBLIC;
COMMENT ON TABLE claimpool.keys IS 'the keys of the proxies; nobody but the owner may read them';
