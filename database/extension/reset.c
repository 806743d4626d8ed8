/*
 * reset.c
 *		Leaves nothing of one identity's session for the next.
 *
 * DISCARD ALL as a statement can be made to fail by whoever used the session
 * before (a statement_timeout of 2 ms and 300 temporary tables), and it knows
 * nothing of other libraries' state.  Called with ExitOnAnyError set: what
 * cannot be cleaned ends the connection.
 */
#include "claimpool.h"

#include <dlfcn.h>
#include <link.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "commands/async.h"
#include "commands/discard.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/plancache.h"
#include "utils/portal.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

/*
 * What other libraries keep for a session.  Interpreters have variables of their
 * own (%_SHARED, GD, global Tcl variables), which nothing outside can reach.
 */
enum
{
	DBLINK, POSTGRES_FDW, PLPERL, PLPYTHON, PLTCL, LIBRARIES
};

static const char *const functions[LIBRARIES] = {
	"dblink_connect", "postgres_fdw_disconnect_all",
	"plperl_call_handler", "plpython3_call_handler", "pltcl_call_handler"
};

static PGFunction loaded[LIBRARIES];
static bool other_language = false; /* one of this database, PL/v8 or the like, is loaded */

/*
 * Has nothing been loaded since this was asked last?  What is loaded goes to the
 * end of the linker's list, so its last entry tells.  That one is held: an entry
 * that is unloaded is freed.
 */
static bool
nothing_new_loaded(void)
{
	static struct link_map *last = NULL;
	struct link_map *map;
	void	   *program;

	if (last != NULL && last->l_next == NULL)
		return true;
	last = NULL;
	program = dlopen(NULL, RTLD_LAZY);
	if (program == NULL)
		return false;
	if (dlinfo(program, RTLD_DI_LINKMAP, &map) == 0)
	{
		while (map->l_next != NULL)
			map = map->l_next;
		if (map->l_name[0] != '\0' && dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD) != NULL)
			last = map;
	}
	dlclose(program);
	return false;
}

/* Is this a language that is loaded, and of which we know no better? */
static bool
is_loaded(Oid handler)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(handler));
	Datum		source;
	bool		isnull;
	bool		found = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	if (!isnull)
	{
		char	   *name = TextDatumGetCString(source);

		found = strcmp(name, "plpgsql_call_handler") != 0 && dlsym(RTLD_DEFAULT, name) != NULL;
	}
	ReleaseSysCache(tuple);
	return found;
}

static bool
find_languages(void)
{
	Relation	languages = table_open(LanguageRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(languages, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Oid			handler = ((Form_pg_language) GETSTRUCT(tuple))->lanplcallfoid;

		if (OidIsValid(handler) && is_loaded(handler))	/* internal, C and SQL have none */
			found = true;
	}
	systable_endscan(scan);
	table_close(languages, AccessShareLock);
	return found;
}

/*
 * PostgreSQL loads libraries with RTLD_GLOBAL, so what is loaded is found.  To
 * look for what is not there takes microseconds, so it is done again only after
 * something new was loaded.
 */
static void
find_libraries(void)
{
	if (nothing_new_loaded())
		return;
	for (int i = 0; i < LIBRARIES; i++)
		loaded[i] = (PGFunction) dlsym(RTLD_DEFAULT, functions[i]);
	other_language = find_languages();
}

/* Calls a function of another extension that does not look at its FmgrInfo. */
static Datum
call(PGFunction function, int nargs, Datum arg, bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, nargs, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = arg;
	fcinfo->args[0].isnull = false;
	result = function(fcinfo);
	*isnull = fcinfo->isnull;
	return result;
}

/*
 * dblink has named connections, and one without a name that nothing shows: a
 * session that has loaded dblink is not handed over.
 */
static void
refuse_libraries(void)
{
	const char *reason = NULL;

	find_libraries();
	if (loaded[DBLINK])
		reason = "dblink was used";
	else if (!cp_keep_interpreters && (loaded[PLPERL] || loaded[PLPYTHON] || loaded[PLTCL] || other_language))
		reason = "a procedural language with session data was used";
	if (reason != NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("connection cannot change its identity"),
				 errdetail_log("Reason: %s.", reason)));
}

/* postgres_fdw can be told. */
static void
close_foreign_connections(void)
{
	bool		isnull;

	if (loaded[POSTGRES_FDW])
		call(loaded[POSTGRES_FDW], 0, (Datum) 0, &isnull);
}

/*
 * setseed() lets one identity foretell what random() gives to the next.  OpenSSL
 * takes 25 µs for eight bytes as for thousands, so they are kept in store.
 */
static void
reseed(void)
{
	static uint64 store[256];
	static int	left = 0;
	uint64		bits;

	if (left == 0 && !pg_strong_random(store, sizeof(store)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random seed")));
	if (left == 0)
		left = lengthof(store);
	bits = store[--left];
	cp_wipe(&store[left], sizeof(store[left]));
	DirectFunctionCall1(setseed,
						Float8GetDatum((double) (bits >> 11) / (double) (UINT64CONST(1) << 53)));
}

#if PG_VERSION_NUM < 190000
typedef struct config_string Setting;

/*
 * Is the setting what it was when the connection began?  To look it up by its
 * name at each hand-over would be a good part of what one costs.
 */
static bool
is_reset(const char *name, Setting **setting)
{
	const char *value;
	const char *initial;

	if (*setting == NULL)
		*setting = (Setting *) cp_find_setting(name);
	value = *(*setting)->variable;
	initial = (*setting)->reset_val;
	return value == initial ||
		(value != NULL && initial != NULL && strcmp(value, initial) == 0);
}
#else
typedef void Setting;

static bool
is_reset(const char *name, Setting **setting)
{
	return false;				/* nobody has looked at this version yet */
}
#endif

/*
 * Back to the session's user, and to the role that the startup packet pinned,
 * where it pinned one.  To assign them costs more than all the rest, and hardly
 * anybody changes them.  The settings alone do not tell: before CVE-2024-10978
 * was mended, SET SESSION AUTHORIZATION ended SET ROLE without a word to it.
 */
static void
reset_roles(void)
{
	static Oid	session_user = InvalidOid;
	static Oid	role = InvalidOid;
	static Oid	user = InvalidOid;
	static Setting *authorization_setting = NULL;
	static Setting *role_setting = NULL;

	if (OidIsValid(user) && GetSessionUserId() == session_user &&
		GetCurrentRoleId() == role && GetUserId() == user &&
		is_reset("session_authorization", &authorization_setting) &&
		is_reset("role", &role_setting))
		return;
	SetPGVariable("session_authorization", NIL, false);
	SetPGVariable("role", NIL, false);
	session_user = GetSessionUserId();
	role = GetCurrentRoleId();
	user = GetUserId();
}

/* What DISCARD ALL does, in its order, but for the roles. */
static void
discard_all(void)
{
#if PG_VERSION_NUM < 190000
	PortalHashTableDeleteAll();
	reset_roles();
	cp_reset_options();
	DropAllPreparedStatements();
	Async_UnlistenAll();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetPlanCache();
	ResetTempTableNamespace();
	ResetSequenceCaches();
#else
	/* Nobody has compared the list with this version's. */
	DiscardStmt *discard = makeNode(DiscardStmt);

	discard->target = DISCARD_ALL;
	DiscardCommand(discard, true);
	reset_roles();
#endif
}

/*
 * How long a reset may wait for locks, in milliseconds.  The proxy cannot tell
 * such a wait from a long request that has come along with the hand-over.
 */
#define MAX_RESET_MS 5000

/*
 * With interrupts held, nobody can stop the work half-way, neither by a cancel
 * request nor by a timeout.  Temporary objects are the exception: to drop them
 * takes locks, which another session of the same role can hold for ever, so
 * that wait must stay interruptible, and has a timeout of its own in place of
 * the session's (an interrupt then ends the connection).
 */
void
cp_reset_session(void)
{
	Oid			temp_namespace;
	Oid			temp_toast_namespace;
	bool		hold;

	refuse_libraries();
	if (get_timeout_active(STATEMENT_TIMEOUT))
		disable_timeout(STATEMENT_TIMEOUT, false);

	GetTempNamespaceState(&temp_namespace, &temp_toast_namespace);
	hold = !OidIsValid(temp_namespace);
	if (hold)
		HOLD_INTERRUPTS();
	else
		enable_timeout_after(STATEMENT_TIMEOUT, MAX_RESET_MS);

	discard_all();
	reseed();
	close_foreign_connections();
	if (hold)
		RESUME_INTERRUPTS();
	else
		disable_timeout(STATEMENT_TIMEOUT, false);
}
