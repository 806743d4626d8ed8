-- Claims that a trusted connection signs and an ordinary one presents: no passphrase is ever sent where strangers run SQL. Run as
-- claimpool_owner. Nothing is written when a ticket is presented, so it works on standbys, too; it ends by its time alone.

CREATE TABLE claimpool_ticket.keys (
	kid     text        PRIMARY KEY,
	inside  bytea       NOT NULL CHECK (length(inside) = 64), -- the two blocks that HMAC makes of a key (RFC 2104)
	outside bytea       NOT NULL CHECK (length(outside) = 64),
	created timestamptz NOT NULL DEFAULT clock_timestamp()
);
REVOKE ALL ON claimpool_ticket.keys FROM PUBLIC;
COMMENT ON TABLE claimpool_ticket.keys IS 'the keys that sign tickets; they never leave the database';

-- For administrators: a new key. Tickets of the one before stay good, those of older ones do not: two calls end all tickets.
CREATE FUNCTION claimpool_ticket.rotate() RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET plan_cache_mode = force_generic_plan
	SET debug_print_parse = off
	SET debug_print_rewritten = off
	SET debug_print_plan = off
AS $function$
DECLARE
	inside  bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
		|| decode(repeat('00', 32), 'hex'); -- padded to the block size of SHA-256
	outside bytea := inside;
BEGIN
	FOR i IN 0..63 LOOP
		inside := set_byte(inside, i, get_byte(inside, i) # 54); -- ipad, 0x36
		outside := set_byte(outside, i, get_byte(outside, i) # 92); -- opad, 0x5c
	END LOOP;
	LOCK TABLE claimpool_ticket.keys IN SHARE ROW EXCLUSIVE MODE;
	DELETE FROM claimpool_ticket.keys k WHERE k.kid <> (SELECT n.kid FROM claimpool_ticket.keys n ORDER BY n.created DESC LIMIT 1);
	INSERT INTO claimpool_ticket.keys (kid, inside, outside) VALUES (left(replace(gen_random_uuid()::text, '-', ''), 16), inside, outside);
END
$function$;

-- For everybody: names this connection, so that a ticket can be made for it alone.
CREATE FUNCTION claimpool_ticket.connection() RETURNS text
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN pg_catalog.concat(pg_catalog.pg_backend_pid(), '/',
		EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()));

-- What is signed is exactly the rest of the ticket, behind a text that keeps apart whatever else is signed with a key. The key
-- stays in plain PL/pgSQL expressions: in a query it would be a constant of the plan, which debug_print_plan prints.
CREATE FUNCTION claimpool_ticket.mac(inside bytea, outside bytea, signed text) RETURNS text
	LANGUAGE plpgsql IMMUTABLE STRICT
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	RETURN encode(sha256(outside || sha256(inside || convert_to('claimpool-ticket-v1|' || signed, 'UTF8'))), 'hex');
END
$function$;

-- For administrators and the services that they trust: MAC "." KID "." JSON. A ticket is for one login role, and with connection
-- (as claimpool_ticket.connection() gives it there) for that connection alone.
CREATE FUNCTION claimpool_ticket.sign(claims jsonb, role name, life interval DEFAULT '15 minutes', connection text DEFAULT NULL) RETURNS text
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	key  claimpool_ticket.keys;
	rest text;
BEGIN
	IF jsonb_typeof(claims) IS DISTINCT FROM 'object' OR jsonb_typeof(claims -> 'sub') IS DISTINCT FROM 'string' THEN
		RAISE invalid_parameter_value
			USING MESSAGE = 'claims must be a JSON object whose "sub" is a string', HINT = 'As in: {"sub": "ada", "tenant_id": "acme"}';
	END IF;
	IF life IS NULL OR life <= interval '0' OR life > interval '1 day' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'a ticket lives for up to a day';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
		RAISE undefined_object USING MESSAGE = format('role "%s" does not exist', role);
	END IF;
	SELECT k.* INTO STRICT key FROM claimpool_ticket.keys k ORDER BY k.created DESC LIMIT 1;
	rest := format('.%s.%s', key.kid, jsonb_build_object('claims', claims, 'role', role, 'connection', connection,
		'exp', extract(epoch FROM clock_timestamp() + life)));
	RETURN claimpool_ticket.mac(key.inside, key.outside, rest) || rest;
END
$function$;

-- The claims of a ticket. Nothing of it is interpreted before it is verified; one error for all that is wrong.
CREATE FUNCTION claimpool_ticket.find(ticket text) RETURNS jsonb
	LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER COST 1000
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	rest    text := substr(ticket, 65);
	inside  bytea;
	outside bytea;
	mac     text;
	body    jsonb;
BEGIN
	SELECT k.inside, k.outside INTO inside, outside FROM claimpool_ticket.keys k WHERE k.kid = split_part(rest, '.', 2);
	mac := claimpool_ticket.mac(inside, outside, rest);
	IF mac IS NOT NULL AND sha256(convert_to(mac, 'UTF8')) = sha256(convert_to(left(ticket, 64), 'UTF8')) THEN
		body := substr(rest, strpos(rest, '{'));
		IF body ->> 'role' = session_user AND (body ->> 'exp')::numeric > extract(epoch FROM clock_timestamp())
			AND coalesce(body ->> 'connection', claimpool_ticket.connection()) = claimpool_ticket.connection() THEN
			RETURN body -> 'claims';
		END IF;
	END IF;
	RAISE invalid_authorization_specification USING MESSAGE = 'ticket is not valid', HINT = 'Get a new one.';
END
$function$;

-- For everybody: makes a ticket the one that policies see, until the end of the transaction; with stay for the connection.
CREATE FUNCTION claimpool_ticket.present(ticket text, stay boolean DEFAULT false) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	claims jsonb := claimpool_ticket.find(coalesce(ticket, ''));
BEGIN
	PERFORM set_config('claimpool_ticket.ticket', ticket, stay IS NOT TRUE);
	RETURN claims;
END
$function$;

-- For policies. The bodies are bound when they are created: no search_path bends them.
CREATE FUNCTION claimpool_ticket.claims() RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN claimpool_ticket.find(NULLIF(pg_catalog.current_setting('claimpool_ticket.ticket', true), ''));

CREATE FUNCTION claimpool_ticket.claim(claim text) RETURNS text
	LANGUAGE sql STABLE PARALLEL RESTRICTED COST 1000
	RETURN claimpool_ticket.claims() OPERATOR(pg_catalog.->>) claim;

COMMENT ON FUNCTION claimpool_ticket.claims() IS 'all claims of the ticket that was presented; NULL without one';
COMMENT ON FUNCTION claimpool_ticket.claim(text) IS 'one claim of the ticket that was presented, as text; NULL where it is absent';
REVOKE ALL ON FUNCTION claimpool_ticket.mac(bytea, bytea, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION claimpool_ticket.sign(jsonb, name, interval, text), claimpool_ticket.rotate() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claimpool_ticket.sign(jsonb, name, interval, text), claimpool_ticket.rotate() TO SESSION_USER WITH GRANT OPTION;
GRANT USAGE ON SCHEMA claimpool_ticket TO PUBLIC;
SELECT claimpool_ticket.rotate();
