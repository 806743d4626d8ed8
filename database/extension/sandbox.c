/*
 * sandbox.c
 *		What a role on shared connections may not do, although PostgreSQL lets it.
 *
 * On for a role by ALTER ROLE r SET claimpool.sandbox = on.  Refused is what
 * changes who one is (the role and the session's user, in every spelling), what
 * outlives a transaction, and what reaches into a neighbour's session.
 */
#include "claimpool.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* Internal functions, by the name in C, under whatever name SQL has them. */
static const char *const refused_functions[] = {
	"pg_cancel_backend", "pg_terminate_backend", "setseed",
	"pg_advisory_lock_int8", "pg_advisory_lock_int4",
	"pg_advisory_lock_shared_int8", "pg_advisory_lock_shared_int4",
	"pg_try_advisory_lock_int8", "pg_try_advisory_lock_int4",
	"pg_try_advisory_lock_shared_int8", "pg_try_advisory_lock_shared_int4"
};

#define REACH_NEIGHBOURS 2		/* the first of them */

static GucStringCheckHook check_role = NULL;
static GucStringCheckHook check_session_authorization = NULL;

static bool
sandboxed(void)
{
	return cp_sandbox && MyProc != NULL && !cp_login_is_superuser();
}

/*
 * Autovacuum, and a superuser who analyzes or refreshes something, run as its
 * owner what the owner has written, in a session that does not know the owner's
 * settings.  Nothing of the kind has to end connections or to change roles.
 */
static bool
runs_for_owner(void)
{
	return InSecurityRestrictedOperation();
}

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("%s is not allowed on a shared connection", what)));
}

/*
 * Every way to set a setting (SET, set_config(), a function's SET clause, the
 * view pg_settings) asks its check hook, so these two stand in front of the
 * server's own.  What is set at login, by the proxy, is not refused; nor is what
 * a parallel worker takes over from its leader.
 */
static bool
may_set(GucSource source)
{
	if (source < PGC_S_INTERACTIVE || InitializingParallelWorker || !sandboxed())
		return true;
	GUC_check_errcode(ERRCODE_INSUFFICIENT_PRIVILEGE);
	GUC_check_errmsg("a change of role is not allowed on a shared connection");
	return false;
}

static bool
sandbox_check_role(char **newval, void **extra, GucSource source)
{
	return may_set(source) && (check_role == NULL || check_role(newval, extra, source));
}

static bool
sandbox_check_session_authorization(char **newval, void **extra, GucSource source)
{
	return may_set(source) && (check_session_authorization == NULL ||
							   check_session_authorization(newval, extra, source));
}

/* The way back, RESET, asks no check hook. */
static bool
resets_role(const VariableSetStmt *statement)
{
	return statement->name != NULL &&
		(pg_strcasecmp(statement->name, "role") == 0 ||
		 pg_strcasecmp(statement->name, "session_authorization") == 0);
}

/*
 * A function with SECURITY DEFINER, an index and a partition's bounds run as
 * their owner: whoever can give them away is that role, too.
 */
static bool
changes_owner(const AlterTableStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		if (((const AlterTableCmd *) lfirst(cell))->subtype == AT_ChangeOwner)
			return true;
	}
	return false;
}

/* What is wrong with a utility command; NULL for nothing. */
static const char *
objection(const Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_VariableSetStmt:
			return resets_role((const VariableSetStmt *) statement) ? "a change of role" : NULL;
		case T_TransactionStmt:
			return ((const TransactionStmt *) statement)->kind == TRANS_STMT_PREPARE ?
				"PREPARE TRANSACTION" : NULL;
		case T_DeclareCursorStmt:
			return ((const DeclareCursorStmt *) statement)->options & CURSOR_OPT_HOLD ?
				"DECLARE WITH HOLD" : NULL;
		case T_AlterRoleStmt:
		case T_AlterRoleSetStmt:
			return "ALTER ROLE";
		case T_AlterDatabaseSetStmt:
			return "ALTER DATABASE SET";
		case T_PrepareStmt:
			return "PREPARE";
		case T_ExecuteStmt:
			return "EXECUTE";
		case T_DeallocateStmt:
			return "DEALLOCATE";
		case T_ListenStmt:
			return "LISTEN";
		case T_LoadStmt:
			return "LOAD";
		case T_AlterOwnerStmt:
		case T_ReassignOwnedStmt:
			return "a change of owner";
		case T_AlterTableStmt:
			return changes_owner((const AlterTableStmt *) statement) ? "a change of owner" : NULL;
		case T_CreateSchemaStmt:
			return ((const CreateSchemaStmt *) statement)->authrole != NULL ? "CREATE SCHEMA AUTHORIZATION" : NULL;
		default:
			return NULL;
	}
}

/*
 * Called before a utility command runs.  Catalogs are asked about the role only
 * where there is an objection: in a failed transaction they cannot be.
 */
void
cp_sandbox_check_utility(const Node *statement)
{
	const char *what = objection(statement);

	if (what != NULL && (sandboxed() || runs_for_owner()))
		refuse(what);
}

/*
 * Called after a utility command has run.  Temporary objects can be made in too
 * many ways to list; all of them take the schema first.  DISCARD ALL leaves the
 * role that logged in, rather than the one that the proxy pinned.
 */
void
cp_sandbox_after_utility(bool discarded_all)
{
	Oid			temp_namespace;
	Oid			temp_toast_namespace;

	if (!sandboxed())
		return;
	GetTempNamespaceState(&temp_namespace, &temp_toast_namespace);
	if (OidIsValid(temp_namespace))
		refuse("making temporary objects");
	if (discarded_all)
		SetPGVariable("role", NIL, false);
}

/* Refuses the first so many of the functions that are not for shared connections. */
static void
check_function(Oid function, int count)
{
	HeapTuple	tuple;
	Datum		source;
	bool		isnull;
	const char *refused = NULL;

	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == INTERNALlanguageId)
	{
		source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
		if (!isnull)
		{
			char	   *name = TextDatumGetCString(source);

			for (int i = 0; i < count; i++)
			{
				if (strcmp(name, refused_functions[i]) == 0)
					refused = refused_functions[i];
			}
		}
	}
	ReleaseSysCache(tuple);
	if (refused != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("this function is not allowed on a shared connection"),
				 errdetail("It is \"%s\".", refused)));
}

/* Called before a function runs. */
void
cp_sandbox_check_function(Oid function)
{
	if (sandboxed())
		check_function(function, lengthof(refused_functions));
	else if (runs_for_owner())
		check_function(function, REACH_NEIGHBOURS);
}

/*
 * Called when an operator has been made.  To estimate how many rows it selects
 * the planner calls its function, and asks nobody.
 */
void
cp_sandbox_check_operator(Oid operator)
{
	Relation	operators;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			function = InvalidOid;

	if (!sandboxed())
		return;
	operators = table_open(OperatorRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_operator_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(operator));
	scan = systable_beginscan(operators, OperatorOidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		function = ((Form_pg_operator) GETSTRUCT(tuple))->oprcode;
	systable_endscan(scan);
	table_close(operators, AccessShareLock);
	check_function(function, lengthof(refused_functions));
}

/* The server's own entry for a setting. */
static struct config_string *
find_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	struct config_generic *found = find_option(name, false, true, LOG);

	if (found != NULL && found->vartype == PGC_STRING)
		return (struct config_string *) found;
#else
	struct config_generic **all = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
	{
		if (all[i]->vartype == PGC_STRING && strcmp(all[i]->name, name) == 0)
			return (struct config_string *) all[i];
	}
#endif
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("setting \"%s\" not found", name)));
	return NULL;
}

void
cp_sandbox_init(void)
{
	struct config_string *role = find_setting("role");
	struct config_string *session_authorization = find_setting("session_authorization");

	check_role = role->check_hook;
	role->check_hook = sandbox_check_role;
	check_session_authorization = session_authorization->check_hook;
	session_authorization->check_hook = sandbox_check_session_authorization;
}
