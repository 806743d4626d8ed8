/*
 * slots.c
 *		What other processes may know of a backend's context.
 *
 * One slot per backend in shared memory.  A parallel worker takes the context
 * from the slot of its leader: without that, a policy would see no claims in
 * the worker, and a parallel query would silently return fewer rows.  The view
 * claimpool.identities reads who is where, and no claims.
 */
#include "claimpool.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#define TRANCHE "claimpool"
#define SHOWN_IDENTITY_BYTES 8	/* enough to tell people apart, on a screen */

typedef struct Slot
{
	int			pid;			/* 0: nobody */
	CpPublished context;
	uint64		hand_overs;
	TimestampTz since;
	int			json_len;		/* -1: it did not fit */
	char		json[FLEXIBLE_ARRAY_MEMBER];
} Slot;

static char *slots = NULL;
static LWLockPadded *locks = NULL;
static bool claimed = false;

#if PG_VERSION_NUM >= 150000
static shmem_request_hook_type next_request = NULL;
#endif
static shmem_startup_hook_type next_startup = NULL;

/* PostgreSQL 14 counts its backends only after libraries are loaded. */
static int
slot_count(void)
{
#if PG_VERSION_NUM >= 150000
	return MaxBackends;
#else
	return MaxConnections + autovacuum_max_workers + 1 +
		max_worker_processes + max_wal_senders;
#endif
}

static Size
slot_size(void)
{
	return MAXALIGN(offsetof(Slot, json) + cp_parallel_context_size);
}

static Slot *
slot_at(int i)
{
	return (Slot *) (slots + i * slot_size());
}

/* The number of a backend; -1 for a process that has no slot. */
static int
number_of(const PGPROC *proc)
{
	ptrdiff_t	number = proc == NULL ? -1 : proc - ProcGlobal->allProcs;

	return number >= 0 && number < slot_count() ? (int) number : -1;
}

static void
release_slot(int code, Datum number)
{
	int			i = DatumGetInt32(number);

	LWLockAcquire(&locks[i].lock, LW_EXCLUSIVE);
	memset(slot_at(i), 0, slot_size());
	LWLockRelease(&locks[i].lock);
}

/*
 * Tells the others what context this backend has.  json is UTF-8 and may be
 * NULL.  Called whenever the context changes, so it must not fail.
 */
void
cp_slot_publish(const CpPublished *context, const char *json)
{
	int			i = number_of(MyProc);
	int			len = json ? strlen(json) : 0;
	int			kept = len <= cp_parallel_context_size ? len : 0;
	Slot	   *slot;

	if (slots == NULL || i < 0 || MyProcPid == PostmasterPid || IsParallelWorker())
		return;
	slot = slot_at(i);
	if (!claimed)
		before_shmem_exit(release_slot, Int32GetDatum(i));
	claimed = true;

	LWLockAcquire(&locks[i].lock, LW_EXCLUSIVE);
	if (slot->json_len > kept)
		cp_wipe(slot->json + kept, slot->json_len - kept);
	slot->pid = MyProcPid;
	slot->context = *context;
	if (context->present)
	{
		slot->hand_overs++;
		slot->since = GetCurrentStatementStartTimestamp();
	}
	slot->json_len = kept == len ? len : -1;
	if (kept > 0)
		memcpy(slot->json, json, kept);
	LWLockRelease(&locks[i].lock);
}

bool
cp_slot_is_claimed(void)
{
	return claimed;
}

/*
 * In a parallel worker: the leader's context, and its JSON in the current memory
 * context.  Never an empty answer for want of a slot: that would be fewer rows.
 */
void
cp_slot_follow_leader(CpPublished *context, char **json)
{
	PGPROC	   *leader = MyProc->lockGroupLeader;
	int			i = leader == MyProc ? -1 : number_of(leader);
	char	   *copy = palloc0(cp_parallel_context_size + 1);
	int			len = -2;
	Slot	   *slot;

	if (slots != NULL && i >= 0)
	{
		slot = slot_at(i);
		LWLockAcquire(&locks[i].lock, LW_SHARED);
		if (slot->pid != 0 && slot->pid == leader->pid)
		{
			*context = slot->context;
			len = slot->json_len;
			if (len > 0)
				memcpy(copy, slot->json, len);
		}
		LWLockRelease(&locks[i].lock);
	}
	if (len == -2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("parallel worker could not find its leader's trusted context")));
	if (len == -1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("trusted context is too large for parallel workers"),
				 errhint("Increase claimpool.parallel_context_size.")));
	*json = copy;
}

static const char *
scope_name(CpScope scope)
{
	switch (scope)
	{
		case CP_SCOPE_LEASE:
			return "lease";
		case CP_SCOPE_SESSION:
			return "session";
		case CP_SCOPE_DIRECT:
			return "direct";
	}
	return "unknown";
}

/* claimpool.contexts(): who holds what, for administrators. */
PG_FUNCTION_INFO_V1(claimpool_contexts);
Datum
claimpool_contexts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	Tuplestorestate *store;
	TupleDesc	desc;

	if (result == NULL || !IsA(result, ReturnSetInfo) ||
		!(result->allowedModes & SFRM_Materialize) ||
		get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("function must be called in FROM")));

	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	desc = CreateTupleDescCopy(desc);
	store = tuplestore_begin_heap(true, false, work_mem);
	MemoryContextSwitchTo(old);
	result->returnMode = SFRM_Materialize;
	result->setResult = store;
	result->setDesc = desc;

	for (int i = 0; slots != NULL && i < slot_count(); i++)
	{
		char		identity[2 * SHOWN_IDENTITY_BYTES + 1] = "";
		Slot	   *slot = slot_at(i);
		Datum		values[6];
		bool		nulls[6] = {false};
		bool		shown;

		LWLockAcquire(&locks[i].lock, LW_SHARED);
		shown = slot->pid != 0 && slot->context.present;
		for (int j = 0; j < SHOWN_IDENTITY_BYTES; j++)
			snprintf(identity + 2 * j, 3, "%02x", slot->context.identity[j]);
		values[0] = Int32GetDatum(slot->pid);
		values[2] = CStringGetDatum(scope_name(slot->context.scope));
		values[3] = TimestampTzGetDatum(slot->since);
		values[4] = TimestampTzGetDatum(slot->context.expires);
		values[5] = Int64GetDatum((int64) slot->hand_overs);
		LWLockRelease(&locks[i].lock);

		values[1] = CStringGetTextDatum(identity);
		values[2] = CStringGetTextDatum(DatumGetCString(values[2]));
		if (shown)
			tuplestore_putvalues(store, desc, values, nulls);
	}
	return (Datum) 0;
}

static void
request(void)
{
#if PG_VERSION_NUM >= 150000
	if (next_request)
		next_request();
#endif
	RequestAddinShmemSpace(mul_size(slot_count(), slot_size()));
	RequestNamedLWLockTranche(TRANCHE, slot_count());
}

static void
startup(void)
{
	bool		found;

	if (next_startup)
		next_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	slots = ShmemInitStruct("claimpool slots", mul_size(slot_count(), slot_size()), &found);
	if (!found)
		memset(slots, 0, mul_size(slot_count(), slot_size()));
	locks = GetNamedLWLockTranche(TRANCHE);
	LWLockRelease(AddinShmemInitLock);
}

void
cp_slots_init(void)
{
#if PG_VERSION_NUM >= 150000
	next_request = shmem_request_hook;
	shmem_request_hook = request;
#else
	request();
#endif
	next_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}
