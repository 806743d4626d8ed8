/*
 * redact.c
 *		Keeps tokens and secrets out of the server log and the views.
 *
 * Whoever writes SET jwt.context = '...' puts a token into a statement, and
 * statements are logged, shown, counted and kept with what is prepared.  What
 * looks like a token, and any long word of a statement that names jwt.secret or
 * calls a function that takes a key, is written over with stars; nothing else of
 * a statement changes, not even its length.
 */
#include "claimpool.h"

#include "pgstat.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#define CP_MIN_HIDDEN 20		/* characters; shorter words are no secrets */

static emit_log_hook_type next_emit_log = NULL;

/* keys: a character of PEM counts, too */
static bool
is_word(char c, bool keys)
{
	return cp_base64url_sextet((unsigned char) c) >= 0 || c == '.' ||
		(keys && (c == '+' || c == '/' || c == '='));
}

/*
 * Does a JSON object with members begin here, in base64url?  With "eyJ" as a
 * rule, but white space may stand before its brace and behind it.
 */
static bool
begins_token(const char *text)
{
	uint32		bits = 0;
	int			count = 0;
	bool		brace = false;
	int			value;

	while ((value = cp_base64url_sextet((unsigned char) *text++)) >= 0)
	{
		char		c;

		bits = (bits << 6 | value) & 0xFFFF;
		count += 6;
		if (count < 8)
			continue;
		count -= 8;
		c = bits >> count & 0xFF;
		if (c == '{' && !brace)
			brace = true;
		else if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
			return brace && c == '"';
	}
	return false;
}

/* Does this word end here, in any case of letters? */
static bool
ends_with(const char *text, const char *end, const char *word)
{
	int			len = strlen(word);

	return end - text >= len && pg_strncasecmp(end - len, word, len) == 0;
}

/* Does the text call a function that takes a key? */
static bool
passes_key(const char *text)
{
	for (const char *bracket = strchr(text, '('); bracket != NULL; bracket = strchr(bracket + 1, '('))
	{
		const char *end = bracket;

		while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n' || end[-1] == '"'))
			end--;
		if (ends_with(text, end, "jwt_sign") || ends_with(text, end, "jwt_verify"))
			return true;
	}
	return false;
}

/*
 * Is there anything to hide?  Asked of each statement, so it looks at nothing but
 * brackets, dots, and what stands before them.  keys: not only tokens.
 */
static bool
has_secret(const char *text, bool *keys)
{
	bool		token;

	if (text == NULL)
		return false;
	*keys = passes_key(text);
	token = strstr(text, "eyJ") != NULL;
	for (const char *dot = strchr(text, '.'); dot != NULL; dot = strchr(dot + 1, '.'))
	{
		const char *start = dot;

		*keys = *keys || (ends_with(text, dot, "jwt") && pg_strncasecmp(dot, ".secret", 7) == 0);
		while (!token && start > text && is_word(start[-1], false) && start[-1] != '.')
			start--;
		token = token || begins_token(start);
	}
	return token || *keys;
}

static bool
redact(char *text)
{
	bool		redacted = false;
	bool		keys;

	if (!has_secret(text, &keys))
		return false;
	while (*text)
	{
		char	   *end = text;

		while (is_word(*end, keys))
			end++;
		if (end - text >= CP_MIN_HIDDEN && (keys || begins_token(text)))
		{
			memset(text, '*', end - text);
			redacted = true;
		}
		text = *end ? end + 1 : end;
	}
	return redacted;
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
	bool		keys;

	for (int i = 0; i < lengthof(fields); i++)
	{
		if (fields[i] != NULL)
			redact(fields[i]);
	}
	if (has_secret(debug_query_string, &keys))
	{
		error->hide_stmt = true;
		if (error->elevel >= ERROR)
			show_redacted(debug_query_string);
	}
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
	bool		keys;

	if (!has_secret(query, &keys))
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
