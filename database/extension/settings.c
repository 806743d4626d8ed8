/*
 * settings.c
 *		PostgreSQL's own settings.
 */
#include "claimpool.h"

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
cp_settings_init(void)
{
	/* nobody has looked at this version yet */
}
#endif
