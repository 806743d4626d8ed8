-- Who has been signed out before the end of their tokens, for all proxies. Run as claimpool_owner. Of a token or a session there is a
-- hash alone. The role claimpool_revocation may call the functions; nobody may touch the table, and no role of a pool may be a member.

CREATE TABLE claimpool_revocation.revocations (
	id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	kind    text        NOT NULL CHECK (kind IN ('token', 'session', 'subject', 'sessionless', 'issuer', 'logout', 'undo')),
	mark    bytea       NOT NULL CHECK (length(mark) = 32),
	issuer  text        NOT NULL CHECK (length(issuer) <= 1024),
	subject text        NOT NULL CHECK (length(subject) <= 255),
	before  timestamptz, -- what was issued up to then; NULL: whenever
	made    timestamptz NOT NULL DEFAULT clock_timestamp(),
	made_by name        NOT NULL DEFAULT session_user,
	reason  text        NOT NULL CHECK (length(reason) <= 200),
	by_issuer boolean   NOT NULL DEFAULT false, -- a logout token made it: nobody takes it back
	undoes  bigint      UNIQUE -- the id of the revocation that this row takes back
);
CREATE UNIQUE INDEX ON claimpool_revocation.revocations (mark) WHERE kind = 'logout'; -- a logout token is taken once
CREATE INDEX ON claimpool_revocation.revocations (made);
COMMENT ON TABLE claimpool_revocation.revocations IS 'who has been signed out; nobody but the owner may read it';
REVOKE ALL ON claimpool_revocation.revocations FROM PUBLIC;

-- Writes revocations: all that one request makes, with equal lengths. once, where it is given, is the mark of a logout token: one that
-- was here before makes no row, and the answer is false. Whoever writes waits for the others to commit, so that readers who have
-- seen a row have seen all with smaller numbers.
CREATE FUNCTION claimpool_revocation.revoke(kinds text[], marks bytea[], issuer text, subject text, before timestamptz, reason text,
	once bytea DEFAULT NULL) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	LOCK TABLE claimpool_revocation.revocations IN SHARE ROW EXCLUSIVE MODE;
	IF once IS NOT NULL THEN
		INSERT INTO claimpool_revocation.revocations (kind, mark, issuer, subject, reason)
			VALUES ('logout', once, revoke.issuer, revoke.subject, revoke.reason) ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			RETURN false;
		END IF;
	END IF;
	INSERT INTO claimpool_revocation.revocations (kind, mark, issuer, subject, before, reason, by_issuer)
		SELECT e.kind, e.mark, revoke.issuer, revoke.subject,
			CASE WHEN e.kind IN ('subject', 'sessionless', 'issuer') THEN coalesce(revoke.before, clock_timestamp()) END, revoke.reason, once IS NOT NULL
		FROM unnest(kinds, marks) WITH ORDINALITY e (kind, mark, n) ORDER BY e.n;
	PERFORM pg_notify('claimpool_revocation', '');
	RETURN true;
END
$function$;

-- Takes back one revocation that an administrator has made, by a row that says so: what a table has lost takes nothing back. The answer is
-- "done", or why not: "unknown", "undone" (before), or "issuer": what the issuer has ended stays ended.
CREATE FUNCTION claimpool_revocation.undo(id bigint, reason text) RETURNS text
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	found_row claimpool_revocation.revocations;
BEGIN
	LOCK TABLE claimpool_revocation.revocations IN SHARE ROW EXCLUSIVE MODE;
	SELECT r.* INTO found_row FROM claimpool_revocation.revocations r WHERE r.id = undo.id AND r.kind NOT IN ('logout', 'undo');
	IF NOT FOUND THEN
		RETURN 'unknown';
	ELSIF found_row.by_issuer THEN
		RETURN 'issuer';
	END IF;
	INSERT INTO claimpool_revocation.revocations (kind, mark, issuer, subject, before, reason, undoes)
		VALUES ('undo', found_row.mark, found_row.issuer, found_row.subject, found_row.before, undo.reason, found_row.id) ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN 'undone';
	END IF;
	PERFORM pg_notify('claimpool_revocation', '');
	RETURN 'done';
END
$function$;

-- Gives the rows behind a number, the oldest first, a thousand at a time.
CREATE FUNCTION claimpool_revocation.since(id bigint) RETURNS SETOF claimpool_revocation.revocations
	LANGUAGE plpgsql STABLE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	RETURN QUERY SELECT r.* FROM claimpool_revocation.revocations r WHERE r.id > since.id ORDER BY r.id LIMIT 1000;
END
$function$;

-- Takes away rows that are older than every token that they could be about; a thousand at most, the oldest first: what takes a revocation
-- back stays as long as that.
CREATE FUNCTION claimpool_revocation.forget(keep interval) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	gone bigint;
BEGIN
	IF keep IS NULL OR keep < interval '1 minute' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'revocations are kept for a minute or longer';
	END IF;
	DELETE FROM claimpool_revocation.revocations d WHERE d.id IN (SELECT r.id FROM claimpool_revocation.revocations r
		WHERE r.made < clock_timestamp() - keep AND coalesce(r.before, r.made) < clock_timestamp() - keep ORDER BY r.id LIMIT 1000 FOR UPDATE SKIP LOCKED);
	GET DIAGNOSTICS gone = ROW_COUNT;
	RETURN gone;
END
$function$;

REVOKE ALL ON FUNCTION claimpool_revocation.revoke(text[], bytea[], text, text, timestamptz, text, bytea),
	claimpool_revocation.undo(bigint, text), claimpool_revocation.since(bigint), claimpool_revocation.forget(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claimpool_revocation.revoke(text[], bytea[], text, text, timestamptz, text, bytea),
	claimpool_revocation.undo(bigint, text), claimpool_revocation.since(bigint), claimpool_revocation.forget(interval) TO claimpool_revocation;
GRANT USAGE ON SCHEMA claimpool_revocation TO claimpool_revocation;
