/*
 * switch.c
 *		The hand-over: another identity's context on this connection.
 */
#include "claimpool.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/guc.h"

/*
 * One text for every reason: a client behind the proxy learns nothing, and the
 * server log has the reason.  FATAL, because no EXCEPTION block catches that
 * and because nothing that waits behind this message may run.
 */
static void
refuse(const char *reason)
{
	ereport(FATAL,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("trusted context refused"),
			 errdetail_log("Reason: %s.", reason)));
}

/*
 * Shows a claim in pg_stat_activity, where that was asked for.  What the client
 * writes there later is its own affair: nobody should decide by it.
 */
static void
show_name(void)
{
	JsonbValue	value;
	Jsonb	   *claims;

	if (*cp_name_claim == '\0')
		return;
	claims = cp_context_claims();
	if (!JB_ROOT_IS_OBJECT(claims) ||
		getKeyJsonValueFromContainer(&claims->root, cp_name_claim,
									 strlen(cp_name_claim), &value) == NULL ||
		value.type != jbvString)
		return;
	SetConfigOption("application_name",
					pnstrdup(value.val.string.val, value.val.string.len),
					PGC_USERSET, PGC_S_SESSION);
}

/*
 * switch(bytea): puts another identity's context on this connection.
 *
 * The order matters.  The old context goes first, so that whatever fails below
 * leaves none; the new one comes last, so that it is never seen by the reset.
 * ExitOnAnyError turns an error of the reset itself into a closed connection.
 */
PG_FUNCTION_INFO_V1(claimpool_switch);
Datum
claimpool_switch(PG_FUNCTION_ARGS)
{
	bytea	   *argument;
	CpGrant		grant;
	const char *reason;
	bool		reset;

	ExitOnAnyError = true;
	cp_context_forget();

	/* A statement of the client cannot be a hand-over: it would end itself. */
	if (ActivePortal != NULL || IsSubTransaction())
		refuse("not called by a function call message");
	if (PG_ARGISNULL(0))
		refuse("no argument");

	argument = PG_GETARG_BYTEA_PP(0);
	reason = cp_grant_parse((const uint8 *) VARDATA_ANY(argument),
							VARSIZE_ANY_EXHDR(argument), &grant);
	if (reason == NULL)
		reason = cp_session_verify(&grant);
	if (reason == NULL && !pg_verify_mbstr(PG_UTF8, grant.claims, grant.claims_len, true))
		reason = "claims are not UTF-8";
	if (reason != NULL)
		refuse(reason);

	reset = grant.reset || !cp_context_same_identity(grant.identity);
	if (reset)
	{
		if (IsTransactionBlock())
			refuse("hand-over inside a transaction");
		cp_reset_session();
	}
	cp_context_install(&grant, reset);
	if (reset)
		show_name();
	ExitOnAnyError = false;
	if (grant.scope == CP_SCOPE_LEASE)
		cp_answers_hold(grant.following + 1);
	PG_RETURN_NULL();			/* a void would be looked up, to be sent as no bytes */
}
