-- Sessions that are kept in a table, so that an administrator can list and end them. Run as claimpool_owner. The idea is the
-- "vault" of Tomas Vondra's "Application users vs. Row Level Security". What is stored of a session or a passphrase is a hash.

CREATE TABLE claimpool_vault.accounts (
	name     text     PRIMARY KEY,
	salt     bytea    NOT NULL,
	verifier bytea,   -- NULL: no passphrase opens a session
	claims   jsonb    NOT NULL,
	life     interval NOT NULL
);
COMMENT ON TABLE claimpool_vault.accounts IS 'who may log in by passphrase; nobody but the owner may read it';

CREATE :persistence TABLE claimpool_vault.sessions (
	hash    bytea       PRIMARY KEY, -- SHA-256 of what the client has: 244 random bits, so a hash without salt is enough
	id      bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
	sub     text        NOT NULL,
	role    name        NOT NULL,
	claims  jsonb       NOT NULL,
	opened  timestamptz NOT NULL DEFAULT clock_timestamp(),
	expires timestamptz NOT NULL
);
CREATE INDEX ON claimpool_vault.sessions (sub);
CREATE INDEX ON claimpool_vault.sessions (expires);
COMMENT ON TABLE claimpool_vault.sessions IS 'the open sessions; see claimpool_vault.list()';
REVOKE ALL ON claimpool_vault.accounts, claimpool_vault.sessions FROM PUBLIC;

-- How often each name may be tried. A table would forget a guess when its transaction is rolled back; a sequence never does.
-- One counts in milliseconds for all names of one hash: constant memory, and a name without an account is slowed down alike.
DO $block$
BEGIN
	FOR i IN 0..63 LOOP
		EXECUTE format('CREATE SEQUENCE claimpool_vault.throttle_%s INCREMENT 1000 OWNED BY claimpool_vault.accounts.name', i);
	END LOOP;
END
$block$;

-- Ten logins with a name may come at once, then one per second. Who is refused gives his second back, so that hammering keeps
-- nobody out for longer than it lasts; of those who hammer at once, one per second is let in.
CREATE FUNCTION claimpool_vault.admit(name text) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	throttle regclass := 'claimpool_vault.throttle_' || (get_byte(sha256(convert_to(name, 'UTF8')), 0) & 63);
	now      bigint   := extract(epoch FROM clock_timestamp()) * 1000;
	due      bigint   := nextval(throttle);
BEGIN
	IF due < now - 10000 THEN
		PERFORM setval(throttle, now - 9000);
	ELSIF due > now THEN
		PERFORM setval(throttle, least(due - 1000, now + 1000));
		RAISE configuration_limit_exceeded
			USING MESSAGE = 'too many logins', HINT = 'Try again in a few seconds.';
	END IF;
END
$function$;

-- PBKDF2 with HMAC-SHA-256 and 4096 rounds (RFC 8018, section 5.2); the digits of its 256 bits are hashed once more.
CREATE FUNCTION claimpool_vault.stretch(passphrase text, salt bytea) RETURNS bytea
	LANGUAGE plpgsql IMMUTABLE STRICT
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	inside  bytea := convert_to(passphrase, 'UTF8');
	outside bytea;
	block   bytea;
	sum     bit(256);
BEGIN
	IF length(inside) > 64 THEN
		inside := sha256(inside);
	END IF;
	inside := inside || decode(repeat('00', 64 - length(inside)), 'hex'); -- padded to the block size of SHA-256
	outside := inside;
	FOR i IN 0..63 LOOP
		inside := set_byte(inside, i, get_byte(inside, i) # 54); -- ipad, 0x36
		outside := set_byte(outside, i, get_byte(outside, i) # 92); -- opad, 0x5c
	END LOOP;
	block := sha256(outside || sha256(inside || salt || decode('00000001', 'hex')));
	sum := ('x' || encode(block, 'hex'))::bit(256);
	FOR i IN 2..4096 LOOP
		block := sha256(outside || sha256(inside || block));
		sum := sum # ('x' || encode(block, 'hex'))::bit(256);
	END LOOP;
	RETURN sha256(convert_to(sum::text, 'UTF8'));
END
$function$;

CREATE FUNCTION claimpool_vault.check_claims(claims jsonb, life interval) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF jsonb_typeof(claims) IS DISTINCT FROM 'object' OR jsonb_typeof(claims -> 'sub') IS DISTINCT FROM 'string' THEN
		RAISE invalid_parameter_value
			USING MESSAGE = 'claims must be a JSON object whose "sub" is a string', HINT = 'As in: {"sub": "ada", "tenant_id": "acme"}';
	END IF;
	IF life IS NULL OR life <= interval '0' OR life > interval '30 days' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'a session lives for up to 30 days';
	END IF;
END
$function$;

-- Opens a session for whoever was proved, and takes away some that have expired.
CREATE FUNCTION claimpool_vault.put(claims jsonb, role name, life interval) RETURNS text
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	session text := encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex');
BEGIN
	DELETE FROM claimpool_vault.sessions s WHERE s.hash IN (SELECT e.hash FROM claimpool_vault.sessions e
		WHERE e.expires < clock_timestamp() LIMIT 100 FOR UPDATE SKIP LOCKED); -- waits for nobody's transaction
	IF 100 <= (SELECT count(*) FROM claimpool_vault.sessions s WHERE s.sub = put.claims ->> 'sub' AND s.expires > clock_timestamp()) THEN
		RAISE configuration_limit_exceeded
			USING MESSAGE = 'too many sessions of one subject', HINT = 'Log out of one, or wait for the end of one.';
	END IF;
	INSERT INTO claimpool_vault.sessions (hash, sub, role, claims, expires)
		VALUES (sha256(convert_to(session, 'UTF8')), put.claims ->> 'sub', put.role, put.claims, clock_timestamp() + put.life);
	RETURN session;
END
$function$;

-- For everybody: from a name and a passphrase to a session, for the login role of this connection. One text for all failures,
-- and the same work for a name without an account.
CREATE FUNCTION claimpool_vault.login(name text, passphrase text) RETURNS text
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	account  claimpool_vault.accounts;
	verifier bytea;
BEGIN
	IF name IS NULL OR passphrase IS NULL OR length(passphrase) > 1000 THEN
		RAISE invalid_password USING MESSAGE = 'login failed';
	END IF;
	PERFORM claimpool_vault.admit(name);
	SELECT a.* INTO account FROM claimpool_vault.accounts a WHERE a.name = login.name;
	verifier := claimpool_vault.stretch(passphrase, coalesce(account.salt, sha256(convert_to(name, 'UTF8'))));
	IF account.verifier IS NULL OR sha256(verifier) <> sha256(account.verifier) THEN
		RAISE invalid_password USING MESSAGE = 'login failed';
	END IF;
	RETURN claimpool_vault.put(account.claims, session_user, account.life);
END
$function$;

-- The claims of a session: of this login role, and not over. One error for all that is wrong.
CREATE FUNCTION claimpool_vault.find(session text) RETURNS jsonb
	LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER COST 1000
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	claims jsonb;
BEGIN
	SELECT s.claims INTO claims FROM claimpool_vault.sessions s
	WHERE s.hash = sha256(convert_to(session, 'UTF8')) AND s.role = session_user AND s.expires > clock_timestamp();
	IF claims IS NULL THEN
		RAISE invalid_authorization_specification USING MESSAGE = 'session is not valid', HINT = 'Log in again.';
	END IF;
	RETURN claims;
END
$function$;

-- For everybody: makes a session the one that policies see, until the end of the transaction; with stay for the connection.
CREATE FUNCTION claimpool_vault.resume(session text, stay boolean DEFAULT false) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	claims jsonb := claimpool_vault.find(coalesce(session, ''));
BEGIN
	PERFORM set_config('claimpool_vault.session', session, stay IS NOT TRUE);
	RETURN claims;
END
$function$;

-- For everybody: ends a session; without one, that of this connection. Says whether there was one.
CREATE FUNCTION claimpool_vault.logout(session text DEFAULT NULL) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	here  text := current_setting('claimpool_vault.session', true);
	ended bigint;
BEGIN
	DELETE FROM claimpool_vault.sessions s
	WHERE s.hash = sha256(convert_to(coalesce(session, here), 'UTF8')) AND s.role = session_user;
	GET DIAGNOSTICS ended = ROW_COUNT;
	IF coalesce(session, here) = here THEN
		PERFORM set_config('claimpool_vault.session', '', false);
	END IF;
	RETURN ended > 0;
END
$function$;

-- For policies. The bodies are bound when they are created: no search_path bends them.
CREATE FUNCTION claimpool_vault.claims() RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN claimpool_vault.find(NULLIF(pg_catalog.current_setting('claimpool_vault.session', true), ''));

CREATE FUNCTION claimpool_vault.claim(claim text) RETURNS text
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN claimpool_vault.claims() OPERATOR(pg_catalog.->>) claim;

-- For administrators and the services that they trust: a session without a passphrase, for whoever such a service has proved.
CREATE FUNCTION claimpool_vault.open(claims jsonb, role name, life interval DEFAULT '12 hours') RETURNS text
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	PERFORM claimpool_vault.check_claims(claims, life);
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
		RAISE undefined_object USING MESSAGE = format('role "%s" does not exist', role);
	END IF;
	RETURN claimpool_vault.put(claims, role, life);
END
$function$;

-- For administrators: makes or changes an account, and ends its sessions. Without a passphrase nobody can log in to it.
CREATE FUNCTION claimpool_vault.set_account(name text, passphrase text, claims jsonb DEFAULT '{}', life interval DEFAULT '12 hours') RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	salt bytea := uuid_send(gen_random_uuid());
BEGIN
	IF name IS NULL OR length(name) NOT BETWEEN 1 AND 256 THEN
		RAISE invalid_parameter_value USING MESSAGE = 'the name of an account has 1 to 256 characters';
	END IF;
	IF length(passphrase) NOT BETWEEN 8 AND 1000 THEN
		RAISE invalid_parameter_value USING MESSAGE = 'a passphrase has 8 to 1000 characters';
	END IF;
	claims := claims || jsonb_build_object('sub', name);
	PERFORM claimpool_vault.check_claims(claims, life);
	DELETE FROM claimpool_vault.sessions s WHERE s.sub = set_account.name;
	DELETE FROM claimpool_vault.accounts a WHERE a.name = set_account.name;
	INSERT INTO claimpool_vault.accounts (name, salt, verifier, claims, life)
		VALUES (name, salt, claimpool_vault.stretch(passphrase, salt), claims, life);
END
$function$;

-- For administrators: removes an account and ends its sessions. Says whether there was one.
CREATE FUNCTION claimpool_vault.remove_account(name text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	DELETE FROM claimpool_vault.sessions s WHERE s.sub = remove_account.name;
	DELETE FROM claimpool_vault.accounts a WHERE a.name = remove_account.name;
	RETURN FOUND;
END
$function$;

-- For administrators: the open sessions.
CREATE FUNCTION claimpool_vault.list() RETURNS TABLE (id bigint, sub text, role name, opened timestamptz, expires timestamptz)
	LANGUAGE plpgsql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	RETURN QUERY SELECT s.id, s.sub, s.role, s.opened, s.expires FROM claimpool_vault.sessions s
		WHERE s.expires > clock_timestamp() ORDER BY s.id;
END
$function$;

-- For administrators: end one session, or all of a subject. That holds for every statement that begins after the commit, and
-- at the isolation levels repeatable read and serializable for every transaction that begins after it.
CREATE FUNCTION claimpool_vault.revoke(id bigint) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	DELETE FROM claimpool_vault.sessions s WHERE s.id = revoke.id;
	RETURN FOUND;
END
$function$;

CREATE FUNCTION claimpool_vault.revoke_all(sub text) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	ended bigint;
BEGIN
	DELETE FROM claimpool_vault.sessions s WHERE s.sub = revoke_all.sub;
	GET DIAGNOSTICS ended = ROW_COUNT;
	RETURN ended;
END
$function$;

COMMENT ON FUNCTION claimpool_vault.claims() IS 'all claims of the session that was resumed; NULL without one';
COMMENT ON FUNCTION claimpool_vault.claim(text) IS 'one claim of the session that was resumed, as text; NULL where it is absent';
REVOKE ALL ON FUNCTION claimpool_vault.admit(text), claimpool_vault.stretch(text, bytea),
	claimpool_vault.put(jsonb, name, interval), claimpool_vault.check_claims(jsonb, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION claimpool_vault.open(jsonb, name, interval), claimpool_vault.set_account(text, text, jsonb, interval),
	claimpool_vault.remove_account(text), claimpool_vault.list(), claimpool_vault.revoke(bigint), claimpool_vault.revoke_all(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claimpool_vault.open(jsonb, name, interval), claimpool_vault.set_account(text, text, jsonb, interval),
	claimpool_vault.remove_account(text), claimpool_vault.list(), claimpool_vault.revoke(bigint), claimpool_vault.revoke_all(text)
	TO SESSION_USER WITH GRANT OPTION;
GRANT USAGE ON SCHEMA claimpool_vault TO PUBLIC;
