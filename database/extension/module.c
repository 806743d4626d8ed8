/*
 * module.c
 *		Entry point: settings and hooks, nothing else.
 */
#include "claimpool.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

bool		cp_gate = false;
bool		cp_sandbox = false;
bool		cp_keep_interpreters = false;
char	   *cp_proxy_keys = NULL;
char	   *cp_key_file = NULL;
char	   *cp_name_claim = NULL;
int			cp_parallel_context_size = 8192;

static shmem_startup_hook_type next_startup = NULL;

static bool
check_proxy_keys(char **newval, void **extra, GucSource source)
{
	if (cp_check_proxy_keys(*newval))
		return true;
	GUC_check_errdetail("Write a list of kid:key, the key being 32 bytes in base64url.");
	return false;
}

static void
define_settings(void)
{
	DefineCustomBoolVariable("claimpool.gate",
							 "Refuses statements while no trusted context is installed.",
							 "Set it for the roles of a pool: ALTER ROLE r SET claimpool.gate = on.",
							 &cp_gate, false, PGC_SUSET, 0, NULL, NULL, NULL);

	DefineCustomBoolVariable("claimpool.sandbox",
							 "Refuses what a role on shared connections should not do.",
							 "Set it for the roles of a pool: ALTER ROLE r SET claimpool.sandbox = on.",
							 &cp_sandbox, false, PGC_SUSET, 0, NULL, NULL, NULL);

	DefineCustomBoolVariable("claimpool.keep_interpreters",
							 "Hands a connection over although PL/Perl, PL/Python, PL/Tcl or the like was used on it.",
							 "Their session data is then seen by the next identity.",
							 &cp_keep_interpreters, false, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomStringVariable("claimpool.proxy_keys",
							   "Public keys of the proxies, as a list of kid:key.",
							   "X25519, base64url. Not secret.",
							   &cp_proxy_keys, "", PGC_SIGHUP, 0,
							   check_proxy_keys, NULL, NULL);

	DefineCustomStringVariable("claimpool.key_file",
							   "File with a list of kid:key, where X25519 cannot be used.",
							   "32 random bytes each, base64url. Only the server may read it.",
							   &cp_key_file, "", PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY, NULL, NULL, NULL);

	DefineCustomStringVariable("claimpool.name_claim",
							   "Claim that is shown as application_name, such as sub.",
							   "Empty: none. Everybody who may see pg_stat_activity sees it.",
							   &cp_name_claim, "", PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("claimpool.parallel_context_size",
							"Size of the largest context that parallel workers can read.",
							"Each backend has that much shared memory.",
							&cp_parallel_context_size, 8192, 1024, 1024 * 1024,
							PGC_POSTMASTER, GUC_UNIT_BYTE, NULL, NULL, NULL);
}

/*
 * Once all libraries are loaded: so ours are the first hooks that are called,
 * and what pg_stat_statements keeps has passed redact.c, whatever the order in
 * shared_preload_libraries.  Called again when the server has restarted itself.
 */
static void
install_hooks(void)
{
	static bool installed = false;

	if (next_startup)
		next_startup();
	if (installed)
		return;
	installed = true;
	cp_redact_init();
	cp_gate_init();
	cp_login_init();
}

void		_PG_init(void);

/*
 * Loaded later, a user could have planted settings under our names before, and
 * could run statements before the hooks are there.
 */
void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("claimpool must be loaded by the server"),
				 errhint("Add claimpool to shared_preload_libraries and restart.")));

	define_settings();
	cp_request_init();
#if PG_VERSION_NUM >= 150000
	MarkGUCPrefixReserved("claimpool");
#else
	EmitWarningsOnPlaceholders("claimpool");
#endif
	cp_context_init();
	cp_direct_init();
	cp_slots_init();
	cp_sandbox_init();
	cp_settings_init();
	next_startup = shmem_startup_hook;
	shmem_startup_hook = install_hooks;
}
