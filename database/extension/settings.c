/*
 * settings.c
 *		PostgreSQL's own settings, and names that are like ours.
 */
#include "claimpool.h"

#include "nodes/parsenodes.h"
#include "utils/guc.h"

#if PG_VERSION_NUM < 190000
#include "utils/guc_tables.h"

/* PostgreSQL's record of a setting of its own, which is there for good. */
struct config_generic *
cp_find_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, false, ERROR);
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (strcmp(settings[i]->name, name) == 0)
			return settings[i];
	elog(ERROR, "unrecognized configuration parameter \"%s\"", name);
#endif
}

/* A setting that somebody has defined, in any case of letters. */
static bool
is_defined(const char *name)
{
#if PG_VERSION_NUM >= 160000
	struct config_generic *found = find_option(name, false, true, ERROR);

	return found != NULL && (found->flags & GUC_CUSTOM_PLACEHOLDER) == 0;
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (pg_strcasecmp(settings[i]->name, name) == 0)
			return (settings[i]->flags & GUC_CUSTOM_PLACEHOLDER) == 0;
	return false;
#endif
}

/* What is to be kept for a role, a database or the server; NULL: nothing is. */
static const VariableSetStmt *
kept_setting(const Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_AlterRoleSetStmt:
			return ((const AlterRoleSetStmt *) statement)->setstmt;
		case T_AlterDatabaseSetStmt:
			return ((const AlterDatabaseSetStmt *) statement)->setstmt;
		case T_AlterSystemStmt:
			return ((const AlterSystemStmt *) statement)->setstmt;
		default:
			return NULL;
	}
}

/*
 * A rule with a misspelt name would be kept like any other, and check nothing.
 * The prefix is not reserved as a whole: PostGraphile has jwt.claims.sub and the
 * like, for a session.
 */
void
cp_settings_check_utility(const Node *statement)
{
	const VariableSetStmt *set = kept_setting(statement);

	if (set == NULL || set->name == NULL || (set->kind != VAR_SET_VALUE && set->kind != VAR_SET_CURRENT))
		return;
	if (pg_strncasecmp(set->name, "jwt.", 4) == 0 && strchr(set->name + 4, '.') == NULL && !is_defined(set->name))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("unrecognized configuration parameter \"%s\"", set->name),
				 errhint("Rules for tokens are listed with: SELECT name FROM pg_settings WHERE name LIKE 'jwt.%%'.")));
}

static GucBoolCheckHook next_check = NULL;

/*
 * Under this setting, together with serializable and read-only ones, each
 * transaction waits until all serializable ones that write have ended: the
 * transaction of the next hand-over too, in which switch() would take the
 * setting back.  The next identity would wait for as long as its predecessor
 * likes, so on shared connections only BEGIN may say it, for one transaction.
 */
static bool
check_deferrable(bool *newval, void **extra, GucSource source)
{
	if (*newval && cp_context_leased())
	{
		GUC_check_errcode(ERRCODE_FEATURE_NOT_SUPPORTED);
		GUC_check_errmsg("default_transaction_deferrable cannot be set on a shared connection");
		GUC_check_errhint("Use BEGIN TRANSACTION ... DEFERRABLE.");
		return false;
	}
	return next_check == NULL || next_check(newval, extra, source);
}

void
cp_settings_init(void)
{
	struct config_bool *setting = (struct config_bool *) cp_find_setting("default_transaction_deferrable");

	next_check = setting->check_hook;
	setting->check_hook = check_deferrable;
}
#else
void
cp_settings_check_utility(const Node *statement)
{
	/* nobody has looked at this version yet */
}

void
cp_settings_init(void)
{
	/* nobody has looked at this version yet */
}
#endif
