/*
 * redact.c
 *		Keeps tokens and secrets out of the server log and the views.
 *
 * Whoever writes SET jwt.context = '...' puts a token into a statement, and
 * statements are logged, shown, counted and kept with what is prepared.  What
 * looks like a token, and any long word of a statement that names jwt.secret, is
 * written over with stars; nothing else of a statement changes, not even its
 * length.
 */
#include "claimpool.h"

#include "access/xact.h"
#include "pgstat.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#define CP_MIN_HIDDEN 20		/* characters; shorter words are no secrets */

static emit_log_hook_type next_emit_log = NULL;

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/*
 * Does the text name the setting, in any case of letters?  Asked of each
 * statement, so it looks at nothing but dots.
 */
static bool
names_secret(const char *text)
{
	for (const char *dot = strchr(text, '.'); dot != NULL; dot = strchr(dot + 1, '.'))
	{
		if (dot - text >= 3 && pg_strncasecmp(dot - 3, "jwt.secret", 10) == 0)
			return true;
	}
	return false;
}

/* "eyJ" is how a JSON object begins in base64url, and so every JWT. */
static bool
redact(char *text)
{
	bool		all = names_secret(text);
	bool		redacted = false;

	while (*text)
	{
		char	   *end = text;

		while (is_word(*end))
			end++;
		if (end - text >= CP_MIN_HIDDEN && (all || strncmp(text, "eyJ", 3) == 0))
		{
			memset(text, '*', end - text);
			redacted = true;
		}
		text = *end ? end + 1 : end;
	}
	return redacted;
}

static bool
has_secret(const char *text)
{
	return text != NULL && (strstr(text, "eyJ") != NULL || names_secret(text));
}

/* For pg_stat_activity, which shows no more than this of a statement. */
static void
show_redacted(const char *query)
{
	char	   *copy = pnstrdup(query, pgstat_track_activity_query_size);

	if (redact(copy))
		pgstat_report_activity(STATE_RUNNING, copy);
	pfree(copy);
}

/* The fields of an error belong to it: they can be changed where they are. */
static void
redact_log(ErrorData *error)
{
	char	   *fields[] = {error->message, error->detail, error->detail_log,
	error->hint, error->context, error->internalquery};

	for (int i = 0; i < lengthof(fields); i++)
	{
		if (fields[i] != NULL)
			redact(fields[i]);
	}
	if (has_secret(debug_query_string))
	{
		error->hide_stmt = true;
		if (error->elevel >= ERROR)
			show_redacted(debug_query_string);
	}
	if (error->elevel >= ERROR && !IsTransactionState())
		cp_context_failed();
	if (next_emit_log)
		next_emit_log(error);
}

/*
 * A copy of a statement's text for whoever comes next (pg_stat_statements keeps
 * it, and so does PREPARE) and, of a client's statement, for pg_stat_activity;
 * the text itself where nothing is to be hidden.  What runs is not the text.
 */
const char *
cp_redact_query(const char *query, bool top_level, MemoryContext memory)
{
	char	   *copy;

	if (!has_secret(query))
		return query;
	copy = MemoryContextStrdup(memory, query);
	if (!redact(copy))
	{
		pfree(copy);
		return query;
	}
	if (top_level)
		show_redacted(query);
	return copy;
}

/* The portal shows its text again when it runs, which may be much later. */
void
cp_redact_portal(void)
{
	Portal		portal = ActivePortal;

	if (portal != NULL && portal->sourceText != NULL)
		portal->sourceText = cp_redact_query(portal->sourceText, false, portal->portalContext);
}

void
cp_redact_init(void)
{
	next_emit_log = emit_log_hook;
	emit_log_hook = redact_log;
}
