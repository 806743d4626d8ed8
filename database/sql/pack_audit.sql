-- Who did what through the proxies. Run as claimpool_owner. Members of claimpool_audit may add records, and neither read nor change them;
-- members of claimpool_auditor may read them. No role of a pool may be a member of either.

CREATE TABLE claimpool_audit.records (
	id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	recorded    timestamptz NOT NULL DEFAULT clock_timestamp(), -- by this database; "time" is the proxy's
	recorded_by name        NOT NULL DEFAULT session_user,
	proxy       uuid,   -- one run of one proxy
	number      bigint, -- its records, without a gap: whoever misses one asks why
	time        timestamptz NOT NULL,
	event       text        NOT NULL,
	client      bigint,
	addr        text,
	db          text,
	role        text,
	iss         text,
	sub         text,
	token_hash  text,
	sqlstate    text,
	reason      text,
	held        interval,
	rows        bigint,
	more        jsonb, -- what few kinds of events have
	CONSTRAINT records_proxy_number_key UNIQUE (proxy, number) -- what is written once more, because an answer was lost, is there once
);
CREATE INDEX ON claimpool_audit.records (recorded);
COMMENT ON TABLE claimpool_audit.records IS 'who did what through claimpool';
REVOKE ALL ON claimpool_audit.records FROM PUBLIC;

-- Takes away the records that are older than keep, and records that. Nobody but the owner may call it before it is granted.
CREATE FUNCTION claimpool_audit.prune(keep interval) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	gone bigint;
BEGIN
	IF keep IS NULL OR keep < interval '1 day' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'audit records are kept for a day or longer';
	END IF;
	DELETE FROM claimpool_audit.records r WHERE r.recorded < clock_timestamp() - keep;
	GET DIAGNOSTICS gone = ROW_COUNT;
	IF gone > 0 THEN
		INSERT INTO claimpool_audit.records (time, event, reason, rows)
			VALUES (clock_timestamp(), 'prune', 'what was older than ' || keep, gone);
	END IF;
	RETURN gone;
END
$function$;

REVOKE ALL ON FUNCTION claimpool_audit.prune(interval) FROM PUBLIC;
GRANT INSERT (proxy, number, time, event, client, addr, db, role, iss, sub, token_hash, sqlstate, reason, held, rows, more)
	ON claimpool_audit.records TO claimpool_audit;
GRANT SELECT ON claimpool_audit.records TO claimpool_auditor;
GRANT USAGE ON SCHEMA claimpool_audit TO claimpool_audit, claimpool_auditor;
