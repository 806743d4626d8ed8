/*
 * gate.c
 *		While no context is installed, nothing runs.
 *
 * On for a role by ALTER ROLE r SET claimpool.gate = on.  Then a hand-over that
 * failed means that nothing behind it ran, and the password of the role is of
 * no use without the proxy.
 *
 * Statements reach execution by four ways: the planner, the executor (plans
 * that were kept), utility commands, and function calls without a statement.
 */
#include "claimpool.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_language.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/syscache.h"

#if PG_VERSION_NUM < 180000
#define RUN_ONCE , bool once
#define PASS_ONCE , once
#else
#define RUN_ONCE
#define PASS_ONCE
#endif

static planner_hook_type next_planner = NULL;
static ExecutorStart_hook_type next_executor_start = NULL;
static ExecutorRun_hook_type next_executor_run = NULL;
static ProcessUtility_hook_type next_process_utility = NULL;
static object_access_hook_type next_object_access = NULL;

/*
 * Who logged in, whatever the role is now.  A superuser, who could turn the gate
 * and the sandbox off anyway, is not locked out of a server where somebody
 * turned them on for all.
 */
bool
cp_login_is_superuser(void)
{
#if PG_VERSION_NUM >= 150000
	return superuser_arg(GetAuthenticatedUserId());
#else
	return !OidIsValid(MyProc->roleId) || superuser_arg(MyProc->roleId);
#endif
}

/*
 * Parallel workers run what their leader was allowed to run.  A connection for
 * replication (replication=database) takes SQL like any other.
 */
static bool
closed(void)
{
	return (cp_gate || cp_session_gated()) &&
		(MyBackendType == B_BACKEND || MyBackendType == B_WAL_SENDER ||
		 (MyBackendType == B_BG_WORKER && !IsParallelWorker())) &&
		!cp_context_valid() && !cp_login_trigger_runs() && !cp_login_is_superuser();
}

static void
refuse(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("no trusted context is installed"),
			 errhint("Connect through the proxy.")));
}

/* What may run behind a closed gate: only what ends or cleans. */
static bool
is_harmless(const Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_TransactionStmt:
			switch (((const TransactionStmt *) statement)->kind)
			{
				case TRANS_STMT_PREPARE:
				case TRANS_STMT_COMMIT_PREPARED:
				case TRANS_STMT_ROLLBACK_PREPARED:
					return false;
				default:
					return true;
			}
		case T_DiscardStmt:
			return true;
		case T_VariableSetStmt:
			return ((const VariableSetStmt *) statement)->kind == VAR_RESET ||
				((const VariableSetStmt *) statement)->kind == VAR_RESET_ALL;
		default:
			return false;
	}
}

/*
 * Are these the functions that open the gate?  And to_regprocedure(text), by
 * which the proxy finds them: it tells what everybody may know.
 */
static bool
is_key(Oid function)
{
	HeapTuple	tuple;
	bool		found = false;
	bool		isnull;
	Datum		source;

	if (function == F_TO_REGPROCEDURE)
		return true;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	/* Only a superuser can write a function in C. */
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
	{
		source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
		if (!isnull)
		{
			char	   *name = TextDatumGetCString(source);

			found = strcmp(name, "claimpool_switch") == 0 ||
				strcmp(name, "claimpool_challenge") == 0;
		}
	}
	ReleaseSysCache(tuple);
	return found;
}

static PlannedStmt *
gate_planner(Query *parse, const char *query_string, int cursor_options,
			 ParamListInfo params)
{
	if (closed())
		refuse();
	if (next_planner)
		return next_planner(parse, query_string, cursor_options, params);
	return standard_planner(parse, query_string, cursor_options, params);
}

static void
gate_executor_start(QueryDesc *query, int flags)
{
	const char *text;

	if (closed())
		refuse();
	/*
	 * A worker of this query must be able to tell "no context" from "lost".  But
	 * a login trigger, which queries too, may yet choose the token's key.
	 */
	if (query->plannedstmt->parallelModeNeeded)
		cp_direct_settle();
	if (!cp_slot_is_claimed())
		cp_context_publish();
	text = cp_redact_query(query->sourceText, query->sourceText == debug_query_string,
						   GetMemoryChunkContext(query));
	if (text != query->sourceText)
	{
		query->sourceText = text;
		cp_redact_portal();
	}
	if (next_executor_start)
		next_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

/*
 * A portal that has given some of its rows is not started again to give the
 * others, and the context may have expired since.
 */
static void
gate_executor_run(QueryDesc *query, ScanDirection direction, uint64 count RUN_ONCE)
{
	if (query->already_executed && closed())
		refuse();
	if (next_executor_run)
		next_executor_run(query, direction, count PASS_ONCE);
	else
		standard_ExecutorRun(query, direction, count PASS_ONCE);
}

static void
gate_process_utility(PlannedStmt *pstmt, const char *query_string,
					 bool read_only_tree, ProcessUtilityContext utility_context,
					 ParamListInfo params, QueryEnvironment *environment,
					 DestReceiver *dest, QueryCompletion *completion)
{
	Node	   *statement = pstmt->utilityStmt;
	bool		rollback = IsA(statement, TransactionStmt) &&
		((TransactionStmt *) statement)->kind == TRANS_STMT_ROLLBACK &&
		!IsAbortedTransactionBlockState();
	bool		ends_transaction = IsA(statement, TransactionStmt);
	bool		discards_all = IsA(statement, DiscardStmt) &&
		((DiscardStmt *) statement)->target == DISCARD_ALL;

	/* In a failed transaction no catalog may be read, so closed() comes last. */
	if (!is_harmless(statement) && closed())
		refuse();
	cp_sandbox_check_utility(statement);
	cp_settings_check_utility(statement);
	query_string = cp_redact_query(query_string, utility_context == PROCESS_UTILITY_TOPLEVEL,
								   CurrentMemoryContext);
	if (next_process_utility)
		next_process_utility(pstmt, query_string, read_only_tree, utility_context,
							 params, environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query_string, read_only_tree, utility_context,
								params, environment, dest, completion);
	if (!ends_transaction)
		cp_sandbox_after_utility(discards_all);

	/*
	 * In a transaction that has failed already there is no abort to come, and
	 * the word would be taken for the next one.
	 */
	if (rollback && utility_context == PROCESS_UTILITY_TOPLEVEL)
		cp_context_rollback_asked();
}

static void
gate_object_access(ObjectAccessType access, Oid class_id, Oid object_id,
				   int sub_id, void *arg)
{
	if (next_object_access)
		next_object_access(access, class_id, object_id, sub_id, arg);
	if (access == OAT_POST_CREATE && class_id == OperatorRelationId)
		cp_sandbox_check_operator(object_id);
	if (access != OAT_FUNCTION_EXECUTE)
		return;
	if (closed() && !is_key(object_id))
		refuse();
	cp_sandbox_check_function(object_id);
}

void
cp_gate_init(void)
{
	next_planner = planner_hook;
	planner_hook = gate_planner;
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = gate_executor_start;
	next_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = gate_executor_run;
	next_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = gate_process_utility;
	next_object_access = object_access_hook;
	object_access_hook = gate_object_access;
}
