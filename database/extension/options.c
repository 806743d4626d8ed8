/*
 * options.c
 *		RESET ALL, without a walk through cold memory.
 *
 * Before PostgreSQL 16, ResetAllOptions() looks at each of some 350 settings in
 * the order of their names, which is no order in memory: in a backend that has
 * just been woken nearly every look waits for memory, and the walk costs more
 * than all else that a hand-over resets.  Hardly ever is anything set.  So this
 * asks first whether anything is, in the order in which the settings lie.
 */
#include "claimpool.h"

#include "utils/guc.h"

#if PG_VERSION_NUM < 160000
#include "utils/guc_tables.h"
#include "utils/memutils.h"

typedef struct config_generic Setting;

static Setting **known = NULL;	/* PostgreSQL's own list, as it was */
static int	count = 0;
static Setting **laid_out = NULL;	/* those that RESET ALL looks at, by address */
static int	resettable = 0;
static bool placeholders = false;	/* is one of them a name that nobody has defined? */

#define AHEAD 24				/* as many looks wait for memory at the same time */

static int
by_address(const void *a, const void *b)
{
	const Setting *left = *(Setting *const *) a;
	const Setting *right = *(Setting *const *) b;

	return (left > right) - (left < right);
}

static void
learn(Setting **settings, int n)
{
	Size		size = n * sizeof(Setting *);

	count = resettable = 0;
	placeholders = false;
	if (known == NULL)
	{
		known = MemoryContextAlloc(TopMemoryContext, size);
		laid_out = MemoryContextAlloc(TopMemoryContext, size);
	}
	else
	{
		known = repalloc(known, size);
		laid_out = repalloc(laid_out, size);
	}
	memcpy(known, settings, size);
	for (int i = 0; i < n; i++)
	{
		placeholders |= (settings[i]->flags & GUC_CUSTOM_PLACEHOLDER) != 0;
		if (settings[i]->context == PGC_USERSET || settings[i]->context == PGC_SUSET)
			laid_out[resettable++] = settings[i];
	}
	qsort(laid_out, resettable, sizeof(Setting *), by_address);
	count = n;
}

/*
 * Would ResetAllOptions() change anything?  It passes over all that has not been
 * SET, whatever else holds for it.  A setting that was added (a library was
 * loaded, or somebody has set a name of their own) makes PostgreSQL's list
 * longer.  Only a placeholder is ever replaced or taken away, so where there is
 * one the list is compared word for word.
 */
static bool
anything_set(void)
{
	Setting   **settings = get_guc_variables();
	int			n = GetNumConfigOptions();

	if (n != count ||
		(placeholders && memcmp(settings, known, n * sizeof(Setting *)) != 0))
		learn(settings, n);
	for (int i = 0; i < resettable; i++)
	{
		if (i + AHEAD < resettable)
			__builtin_prefetch(&laid_out[i + AHEAD]->source);
		if (laid_out[i]->source > PGC_S_OVERRIDE)
			return true;
	}
	return false;
}
#else
/* PostgreSQL keeps a list of those that are not what they were. */
static bool
anything_set(void)
{
	return true;
}
#endif

void
cp_reset_options(void)
{
	if (anything_set())
		ResetAllOptions();
}
