/*
 * context.c
 *		The trusted context of this backend: one store, one reader.
 *
 * The bytes live in backend-private memory that no setting, no catalog and no
 * other session shows.  Only cp_context_install() puts something there, and it
 * is called with what the proxy's MAC covers and nothing else.
 */
#include "claimpool.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

static struct
{
	CpPublished public;
	bool		pending;		/* the transaction that installed it runs still */
	bool		reset;			/* which has reset the session, too: if it fails, that is undone */
	bool		followed;		/* in a parallel worker: taken from the leader */
	char	   *json;			/* in memory; UTF-8 */
	Jsonb	   *claims;			/* parsed at the first reading; in memory */
	MemoryContext memory;
}			context;

/* Who was here last: outlives the context itself, to tell same from other. */
static uint8 last_identity[CP_IDENTITY_BYTES];
static bool has_last_identity = false;

/* The transaction is ending because the client said ROLLBACK. */
static bool rollback_asked = false;

/*
 * Takes the context off this backend.  What others see of it follows with the
 * next cp_context_install(), or ends with the process: switch() knows no third
 * way.
 */
void
cp_context_forget(void)
{
	if (context.json != NULL)
		cp_wipe(context.json, strlen(context.json));
	if (context.claims != NULL)
		cp_wipe(context.claims, VARSIZE(context.claims));
	if (context.memory != NULL)
		MemoryContextReset(context.memory);
	context.json = NULL;
	context.claims = NULL;
	context.pending = false;
	context.public.present = false;
}

void
cp_context_wipe(void)
{
	bool		published = context.public.present;

	cp_context_forget();
	if (published)
		cp_context_publish();
}

/* Shows the others what context there is, or that there is none. */
void
cp_context_publish(void)
{
	cp_slot_publish(&context.public, context.json);
}

/* Makes the memory that json and claims live in, at the first use. */
static MemoryContext
memory(void)
{
	if (context.memory == NULL)
		context.memory = AllocSetContextCreate(TopMemoryContext,
											   "claimpool context",
											   ALLOCSET_SMALL_SIZES);
	return context.memory;
}

/* A parallel worker has its leader's context for its whole short life. */
static void
follow_leader(void)
{
	MemoryContext old = MemoryContextSwitchTo(memory());

	cp_slot_follow_leader(&context.public, &context.json);
	context.followed = true;
	MemoryContextSwitchTo(old);
}

bool
cp_context_same_identity(const uint8 *identity)
{
	return has_last_identity &&
		memcmp(identity, last_identity, CP_IDENTITY_BYTES) == 0;
}

/*
 * Takes a verified grant.  The claims are copied, not parsed: most transactions
 * never look at them.  reset: the session has been reset for it.
 */
void
cp_context_install(const CpGrant *grant, bool reset)
{
	MemoryContext old;

	cp_context_forget();
	old = MemoryContextSwitchTo(memory());
	context.json = pnstrdup(grant->claims, grant->claims_len);
	MemoryContextSwitchTo(old);

	context.public.scope = grant->scope;
	context.public.expires = grant->expires;
	context.pending = true;
	context.reset = reset;
	memcpy(last_identity, grant->identity, CP_IDENTITY_BYTES);
	has_last_identity = true;
	memcpy(context.public.identity, grant->identity, CP_IDENTITY_BYTES);
	context.public.present = true;
	cp_context_publish();
}

/* Is there a context, and is it still good at this moment? */
bool
cp_context_valid(void)
{
	return context.public.present && GetCurrentTimestamp() < context.public.expires;
}

/* Is this connection handed over from transaction to transaction? */
bool
cp_context_leased(void)
{
	return cp_session_challenged() && context.public.scope == CP_SCOPE_LEASE;
}

/*
 * Parses JSON into a memory context.  The parser's own message would quote the
 * claims, so another one takes its place.
 */
Jsonb *
cp_context_parse(const char *json, MemoryContext memory)
{
	MemoryContext caller = CurrentMemoryContext;
	Jsonb	   *volatile claims = NULL;

	PG_TRY();
	{
		const char *converted = pg_any_to_server(json, strlen(json), PG_UTF8);
		Datum		parsed = DirectFunctionCall1(jsonb_in, CStringGetDatum(converted));

		MemoryContextSwitchTo(memory);
		claims = DatumGetJsonbPCopy(parsed);
		MemoryContextSwitchTo(caller);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();

	if (claims == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("trusted context is not valid JSON")));
	return claims;
}

/* For fewer rows there would be no reason to see; so it is an error. */
void
cp_context_expired(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("trusted context has expired")));
}

/*
 * The claims, or NULL where no context is installed.  The memory is the
 * store's: copy what must outlive the call.  Expiry is looked up against the
 * clock: now() stands still for as long as a transaction likes.
 */
Jsonb *
cp_context_claims(void)
{
	if (IsParallelWorker())
	{
		if (!context.followed)
			follow_leader();
	}
	else if (!cp_session_challenged())
		return cp_direct_claims();

	if (!context.public.present)
		return NULL;
	if (GetCurrentTimestamp() >= context.public.expires)
		cp_context_expired();
	if (context.claims == NULL)
		context.claims = cp_context_parse(context.json, memory());
	return context.claims;
}

/*
 * In a parallel worker: what its leader's setting jwt.context says, as JSON; NULL
 * where that has none.
 */
const char *
cp_context_of_leader(void)
{
	return cp_context_claims() != NULL && context.public.scope == CP_SCOPE_DIRECT ? context.json : NULL;
}

/* A ROLLBACK was accepted: the abort that follows is no failure. */
void
cp_context_rollback_asked(void)
{
	rollback_asked = true;
}

/* Something failed outside of any transaction. */
void
cp_context_failed(void)
{
	if (!context.public.present || !(context.pending || context.public.scope == CP_SCOPE_LEASE))
		return;
	if (context.pending && context.reset)
		has_last_identity = false;
	cp_context_wipe();
}

/*
 * A context of scope lease does not survive a failure: a cancel request can hit
 * the backend before the next switch() runs, and what the client sent behind
 * it must then find no context, rather than its predecessor's.
 *
 * An abort is no failure if the client asked for it, by ROLLBACK or from inside
 * a procedure.  (ActivePortal: by the time that an error has reached the top,
 * PortalRun has put it back to NULL.)
 */
static void
transaction_ended(XactEvent event, void *arg)
{
	bool		asked = rollback_asked || ActivePortal != NULL;

	switch (event)
	{
		case XACT_EVENT_ABORT:
			rollback_asked = false;
			if (context.pending || !asked)
				cp_context_failed();
			break;
		case XACT_EVENT_COMMIT:
			rollback_asked = false;
			context.pending = false;
			break;
		case XACT_EVENT_PREPARE:
			rollback_asked = false;
			context.pending = false;
			cp_context_failed();
			break;
		default:
			break;
	}
}

void
cp_context_init(void)
{
	RegisterXactCallback(transaction_ended, NULL);
}
