-- Run as claimpool_owner. What each function promises, and the exact bytes of a seal: see README.md.

-- What the proxy asks for right after it has logged in: the version of the seal, what a seal on this connection is bound to,
-- and the server's clock in milliseconds.
CREATE OR REPLACE FUNCTION claimpool.greeting() RETURNS text
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	RETURN 'v1|' || claimpool.binding() || '|' || floor(extract(epoch FROM clock_timestamp()) * 1000);
END
$function$;

-- One backend of one run of the server: neither another backend, nor the same process id after a restart, nor a copy of the
-- database on another machine. (The body is bound to the catalog when it is created; no search_path is needed.)
CREATE OR REPLACE FUNCTION claimpool.binding() RETURNS text
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN pg_catalog.concat(pg_catalog.pg_backend_pid(), '/',
		EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()));

-- The verified claims: NULL when nothing is set, error 28000 when what is set does not verify. The only function that uses
-- a key. SECURITY DEFINER: it reads claimpool.keys. PARALLEL RESTRICTED: a worker has another process id.
--
-- The key stays in plain PL/pgSQL expressions: in a query its value would be a constant of the plan, which the caller prints
-- with debug_print_plan. The MACs are compared through their hashes: how long that takes tells nothing about them. Nothing
-- of the seal is interpreted before it is verified.
CREATE OR REPLACE FUNCTION claimpool.jwt() RETURNS jsonb
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER COST 1000
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	seal    text := current_setting('claimpool.context', true);
	sealed  text;
	inside  bytea;
	outside bytea;
	mac     text;
	iat     bigint;
	life    bigint;
	began   numeric;
BEGIN
	IF seal IS NULL OR seal = '' THEN
		RETURN NULL;
	END IF;
	sealed := substr(seal, 65);
	SELECT k.inside, k.outside INTO inside, outside FROM claimpool.keys k WHERE k.kid = split_part(sealed, '.', 2);
	mac := encode(sha256(outside || sha256(inside ||
		convert_to('claimpool-sql-v1|' || claimpool.binding() || '|' || sealed, 'UTF8'))), 'hex');
	IF mac IS NULL OR sha256(convert_to(mac, 'UTF8')) <> sha256(convert_to(left(seal, 64), 'UTF8')) THEN
		RAISE invalid_authorization_specification
			USING MESSAGE = 'trusted context is not valid', DETAIL = 'Its seal does not verify on this connection.';
	END IF;
	iat := split_part(sealed, '.', 3);
	life := least(split_part(sealed, '.', 4)::bigint, 3600000);
	began := extract(epoch FROM transaction_timestamp()) * 1000;
	IF began < iat - 1000 OR began > iat + life THEN
		RAISE invalid_authorization_specification
			USING MESSAGE = 'trusted context is not valid', DETAIL = 'The transaction began outside the window of its seal.';
	END IF;
	RETURN substr(sealed, strpos(sealed, '{'));
END
$function$;

CREATE OR REPLACE FUNCTION claimpool.missing(claim text) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	RAISE invalid_authorization_specification
		USING MESSAGE = format('claim "%s" is required', claim), DETAIL = 'The trusted context does not have it.';
END
$function$;

-- A new random key, stored and returned once, as a query result: a parameter or a literal would stand in logs. For the owner
-- and for superusers. The settings keep the key out of printed plans.
CREATE OR REPLACE FUNCTION claimpool.add_key(kid text) RETURNS text
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	SET plan_cache_mode = force_generic_plan
	SET debug_print_parse = off
	SET debug_print_rewritten = off
	SET debug_print_plan = off
AS $function$
DECLARE
	key     bytea := ''; -- four random UUIDs, 122 bits each, hashed to 32 bytes
	inside  bytea;
	outside bytea;
BEGIN
	FOR i IN 1..4 LOOP
		key := key || uuid_send(gen_random_uuid());
	END LOOP;
	key := sha256(key);
	inside := key || decode(repeat('00', 32), 'hex'); -- padded to the block size of SHA-256
	outside := inside;
	FOR i IN 0..63 LOOP
		inside := set_byte(inside, i, get_byte(inside, i) # 54); -- ipad, 0x36
		outside := set_byte(outside, i, get_byte(outside, i) # 92); -- opad, 0x5c
	END LOOP;
	INSERT INTO claimpool.keys (kid, inside, outside) VALUES (kid, inside, outside);
	RETURN encode(key, 'hex');
END
$function$;

REVOKE ALL ON FUNCTION claimpool.add_key(text) FROM PUBLIC;
GRANT USAGE ON SCHEMA claimpool TO PUBLIC;
