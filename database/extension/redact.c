/*
 * redact.c
 *		Keeps tokens and secrets out of the server log and the views.
 *
 * Whoever writes SET jwt.context = '...' puts a token into a statement, and
 * statements are logged, shown and counted.  What looks like a token, and any
 * long word of a statement that names jwt.secret, is written over with stars;
 * nothing else of a statement changes, not even its length.
 */
#include "claimpool.h"

#include "access/xact.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/elog.h"

#define CP_MIN_HIDDEN 20		/* characters; shorter words are no secrets */

static emit_log_hook_type next_emit_log = NULL;

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Does the text name the setting, in any case of letters? */
static bool
names_secret(const char *text)
{
	for (; *text; text++)
	{
		if (pg_strncasecmp(text, "jwt.secret", 10) == 0)
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
		error->hide_stmt = true;
	if (error->elevel >= ERROR && !IsTransactionState())
		cp_context_failed();
	if (next_emit_log)
		next_emit_log(error);
}

/*
 * A copy of the statement for whoever comes next (pg_stat_statements keeps it)
 * and for pg_stat_activity; the statement itself where nothing is to be hidden.
 */
const char *
cp_redact_statement(const Node *statement, const char *query)
{
	char	   *copy;

	if (!IsA(statement, VariableSetStmt) || !has_secret(query))
		return query;
	copy = pstrdup(query);
	if (!redact(copy))
		return query;
	pgstat_report_activity(STATE_RUNNING, copy);
	return copy;
}

void
cp_redact_init(void)
{
	next_emit_log = emit_log_hook;
	emit_log_hook = redact_log;
}
