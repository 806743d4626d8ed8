/*
 * login.c
 *		Login triggers (PostgreSQL 17) behind a closed gate.
 *
 * They run before the client has said anything, and so before a context can be
 * there.  A superuser has made them; what they run is theirs, as long as they
 * say themselves where names are looked up.  A client cannot reach their
 * functions by itself: as long as the gate is closed it can call nothing.
 */
#include "claimpool.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/evtcache.h"
#include "utils/syscache.h"

static int	depth = 0;			/* calls of running that have not returned */

bool
cp_login_trigger_runs(void)
{
	return depth > 0;
}

#if PG_VERSION_NUM >= 170000

static fmgr_hook_type next_fmgr = NULL;
static Oid	running = InvalidOid;

/*
 * With a search_path of the client's choice the function could be led to what
 * the client has made.
 */
static bool
pins_search_path(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		pinned = false;
	bool		isnull;
	Datum		config;
	Datum	   *settings;
	int			count;

	if (!HeapTupleIsValid(tuple))
		return false;
	config = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proconfig, &isnull);
	if (!isnull)
	{
		deconstruct_array_builtin(DatumGetArrayTypeP(config), TEXTOID, &settings, NULL, &count);
		for (int i = 0; i < count; i++)
			pinned = pinned || pg_strncasecmp(TextDatumGetCString(settings[i]), "search_path=", 12) == 0;
	}
	ReleaseSysCache(tuple);
	return pinned;
}

static bool
is_login_trigger(Oid function)
{
	ListCell   *cell;

	foreach(cell, EventCacheLookup(EVT_Login))
	{
		if (((EventTriggerCacheItem *) lfirst(cell))->fnoid == function)
			return pins_search_path(function);
	}
	return false;
}

/* The server calls it around each function that has settings of its own. */
static void
login_fmgr(FmgrHookEventType event, FmgrInfo *function, Datum *private)
{
	if (event == FHET_START)
	{
		if (next_fmgr)
			next_fmgr(event, function, private);
		if (depth == 0 && cp_gate && IsTransactionState() && is_login_trigger(function->fn_oid))
			running = function->fn_oid;
		if (OidIsValid(running) && function->fn_oid == running)
			depth++;
		return;
	}
	if (OidIsValid(running) && function->fn_oid == running && --depth == 0)
		running = InvalidOid;
	if (next_fmgr)
		next_fmgr(event, function, private);
}

void
cp_login_init(void)
{
	next_fmgr = fmgr_hook;
	fmgr_hook = login_fmgr;
}

#else

void
cp_login_init(void)
{
}

#endif
