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

#include "catalog/namespace.h"
#include "commands/discard.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
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

/* How many objects were ever loaded into this process. */
static int
count_loads(struct dl_phdr_info *info, size_t size, void *count)
{
	*(unsigned long long *) count = info->dlpi_adds;
	return 1;
}

/*
 * PostgreSQL loads libraries with RTLD_GLOBAL, so what is loaded is found.  To
 * look for what is not there takes microseconds, so it is done again only after
 * something new was loaded.
 */
static void
find_libraries(void)
{
	static unsigned long long known = 0;
	unsigned long long count = 0;

	dl_iterate_phdr(count_loads, &count);
	if (count != 0 && count == known)
		return;
	for (int i = 0; i < LIBRARIES; i++)
		loaded[i] = (PGFunction) dlsym(RTLD_DEFAULT, functions[i]);
	known = count;
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
	else if (!cp_keep_interpreters && (loaded[PLPERL] || loaded[PLPYTHON] || loaded[PLTCL]))
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

/* setseed() lets one identity foretell what random() gives to the next. */
static void
reseed(void)
{
	uint64		bits;

	if (!pg_strong_random(&bits, sizeof(bits)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random seed")));
	DirectFunctionCall1(setseed,
						Float8GetDatum((double) (bits >> 11) / (double) (UINT64CONST(1) << 53)));
}

/*
 * With interrupts held, nobody can stop the work half-way, neither by a cancel
 * request nor by a timeout.  Temporary objects are the exception: to drop them
 * takes locks, which another session of the same role can hold for ever, so
 * that wait must stay interruptible (an interrupt then ends the connection).
 */
void
cp_reset_session(void)
{
	DiscardStmt *discard = makeNode(DiscardStmt);
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

	discard->target = DISCARD_ALL;
	DiscardCommand(discard, true);

	/* Back to the role that the startup packet pinned, where it pinned one. */
	SetPGVariable("role", NIL, false);
	reseed();
	close_foreign_connections();
	if (hold)
		RESUME_INTERRUPTS();
}
