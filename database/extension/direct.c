/*
 * direct.c
 *		The setting jwt.context: a token instead of a proxy.
 *
 * The setting holds no token: its check hook verifies one and keeps the claims,
 * and what views and other sessions could see of the setting is a mask.  Once
 * challenge() was called the proxy decides, and nothing here is read.
 */
#include "direct.h"

#include "access/parallel.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define MASK "(set)"

/* What the check hook found; in one piece, as the server copies nothing. */
typedef struct Found
{
	enum
	{
		PENDING,				/* json is a token that nobody has looked at */
		VERIFIED,
		REFUSED
	}			state;
	TimestampTz expires;
	uint8		identity[CP_IDENTITY_BYTES];
	char		json[FLEXIBLE_ARRAY_MEMBER];
} Found;

static char *setting = NULL;	/* MASK or empty */
static Found *current = NULL;	/* belongs to the setting */
static Found *sealed = NULL;	/* ours; with jwt.set_once */

/* Claims are parsed once for each value of the setting. */
static MemoryContext parsed_memory = NULL;
static Jsonb *parsed = NULL;

static Found *
effective(void)
{
	return sealed != NULL ? sealed : current;
}

static void
forget_parsed(void)
{
	parsed = NULL;
	if (parsed_memory != NULL)
		MemoryContextReset(parsed_memory);
}

/*
 * A context that was refused, or is unread still, is shown to parallel workers
 * as one that has expired: they raise an error, as their leader does.
 */
static void
publish(void)
{
	const Found *found = effective();
	CpPublished context = {false, CP_SCOPE_DIRECT, DT_NOBEGIN, {0}};

	if (cp_session_challenged())
		return;
	if (found != NULL)
	{
		context.present = true;
		if (found->state == VERIFIED)
		{
			context.expires = found->expires;
			memcpy(context.identity, found->identity, CP_IDENTITY_BYTES);
		}
	}
	cp_slot_publish(&context, found != NULL && found->state == VERIFIED ? found->json : NULL);
}

static Found *
new_found(const char *text, int len)
{
	Found	   *found = cp_guc_malloc(offsetof(Found, json) + len + 1);

	if (found == NULL)
		return NULL;
	memset(found, 0, offsetof(Found, json));
	memcpy(found->json, text, len);
	found->json[len] = '\0';
	return found;
}

/* Verifies what a client hands in.  Returns NULL, or why it is refused. */
static const char *
verify(const char *text, const char *nonce, Found **result)
{
	CpPresentation presentation;
	CpToken		token;
	double		expires;
	const char *reason = cp_presentation_read(text, nonce, &presentation, &token);

	if (reason != NULL)
		return reason;
	reason = cp_direct_accept(&token, &presentation, &expires);
	if (reason == NULL)
	{
		*result = new_found(token.payload.start, token.payload.len);
		if (*result == NULL)
			reason = "out of memory";
		else
		{
			(*result)->state = VERIFIED;
			(*result)->expires = expires > 0 ? cp_direct_clock(expires) : DT_NOEND;
			cp_direct_identity(&token, (*result)->identity);
		}
	}
	cp_wipe(token.memory, token.payload.start + token.payload.len - token.memory);
	cp_token_free(&token);
	cp_presentation_free(&presentation);
	return reason;
}

/* Keeps the first context for the life of the session. */
static void
seal(const Found *found)
{
	Size		size = offsetof(Found, json) + strlen(found->json) + 1;

	if (!cp_set_once || sealed != NULL || found->state != VERIFIED)
		return;
	sealed = malloc(size);
	if (sealed == NULL)
		ereport(FATAL, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	memcpy(sealed, found, size);
}

/*
 * Puts a mask in the place of the value, whatever becomes of it: a setting's
 * value is shown in more places than its show hook.
 */
static bool
mask(char **newval)
{
	char	   *masked = cp_guc_malloc(sizeof(MASK));

	if (masked == NULL)
		return false;
	strcpy(masked, MASK);
	cp_wipe(*newval, strlen(*newval));
	cp_guc_free(*newval);
	*newval = masked;
	return true;
}

static bool
refuse_setting(int code, const char *reason)
{
	GUC_check_errcode(code);
	GUC_check_errmsg("%s", reason);
	return false;
}

/*
 * A token from the startup packet comes before the keys of the database and of
 * the role are known: it waits until somebody reads it.  A token in a catalog or
 * a file would be everybody's, so no such source is taken.
 */
static bool
check_context(char **newval, void **extra, GucSource source)
{
	Found	   *found = NULL;
	char		nonce[CP_NONCE_CHARS + 1];
	const char *reason;

	/* The first context is the one that waits still, though nobody has read it. */
	if (cp_set_once && source >= PGC_S_OVERRIDE && source != PGC_S_TEST)
		cp_direct_settle();
	if (*newval == NULL || **newval == '\0' || InitializingParallelWorker)
		return true;
	if (cp_session_challenged())
		return refuse_setting(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							  "the trusted context of this connection is its proxy's");
	if (sealed != NULL)
		return refuse_setting(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							  "the trusted context of this session is sealed");
	switch (source)
	{
		case PGC_S_CLIENT:
			found = new_found(*newval, strlen(*newval));
			if (found == NULL)
				return false;
			found->state = PENDING;
			break;
		case PGC_S_OVERRIDE:
		case PGC_S_INTERACTIVE:
		case PGC_S_SESSION:
			reason = verify(*newval, cp_challenge_take(nonce), &found);
			if (reason != NULL)
				return refuse_setting(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, reason);
			break;
		default:
			return refuse_setting(ERRCODE_INVALID_PARAMETER_VALUE,
								  "a trusted context can only be set by its own session");
	}
	if (!mask(newval))
	{
		cp_guc_free(found);
		return false;
	}
	*extra = found;
	return true;
}

static void
assign_context(const char *newval, void *extra)
{
	current = extra;
	forget_parsed();
	if (current != NULL)
		seal(current);
	publish();
}

/* Tokens are UTF-8.  Where the database has no such character it is an error. */
static const char *
in_server_encoding(const char *json)
{
	return pg_any_to_server(json, strlen(json), PG_UTF8);
}

/*
 * There are policies that read the setting, so it tells no more than jwt() does: in a
 * parallel worker what the leader has, and nothing that has expired.
 */
static const char *
show_context(void)
{
	const Found *found = effective();
	const char *json;

	if (IsParallelWorker())
	{
		json = cp_context_of_leader();
		return json != NULL ? in_server_encoding(json) : "(not set)";
	}
	if (found == NULL || cp_session_challenged())
		return "(not set)";
	if (found->state != VERIFIED)
		return "(not verified)";
	return GetCurrentTimestamp() < found->expires ? in_server_encoding(found->json) : "(expired)";
}

/*
 * The memory of a token is never shorter than that of its claims.  It came with
 * the connection, so it cannot be an answer to anything.
 */
static void
settle(Found *found)
{
	Found	   *verified = NULL;

	found->state = REFUSED;
	if (verify(found->json, NULL, &verified) == NULL)
	{
		cp_wipe(found->json, strlen(found->json));
		strcpy(found->json, verified->json);
		found->expires = verified->expires;
		memcpy(found->identity, verified->identity, CP_IDENTITY_BYTES);
		found->state = VERIFIED;
		cp_guc_free(verified);
		seal(found);
	}
	else
		cp_wipe(found->json, strlen(found->json));
	publish();
}

/* Looks at a token that waits; before workers start, and before a reading. */
void
cp_direct_settle(void)
{
	Found	   *found = effective();

	if (found != NULL && found->state == PENDING && !cp_session_challenged())
		settle(found);
}

/* The claims of the setting, or NULL where it is not set. */
Jsonb *
cp_direct_claims(void)
{
	const Found *found;

	cp_direct_settle();
	found = effective();
	if (found == NULL)
		return NULL;
	if (found->state != VERIFIED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("the token given at connection start was refused")));
	if (GetCurrentTimestamp() >= found->expires)
		cp_context_expired();
	if (parsed == NULL)
	{
		if (parsed_memory == NULL)
			parsed_memory = AllocSetContextCreate(TopMemoryContext, "claimpool jwt.context",
												  ALLOCSET_SMALL_SIZES);
		parsed = cp_context_parse(found->json, parsed_memory);
	}
	return parsed;
}

/* jwt_unseal(): for whom it is granted; ends what jwt.set_once began. */
PG_FUNCTION_INFO_V1(claimpool_jwt_unseal);
Datum
claimpool_jwt_unseal(PG_FUNCTION_ARGS)
{
	if (sealed != NULL)
	{
		cp_wipe(sealed->json, strlen(sealed->json));
		free(sealed);
		sealed = NULL;
		forget_parsed();
		SetConfigOption("jwt.context", "", PGC_USERSET, PGC_S_SESSION);
	}
	PG_RETURN_VOID();
}

void
cp_direct_init(void)
{
	cp_direct_define_keys();
	DefineCustomStringVariable("jwt.context",
							   "The trusted context of this session: a signed token.",
							   "Shown as its claims; the token is not kept.",
							   &setting, "", PGC_USERSET, GUC_NOT_IN_SAMPLE,
							   check_context, assign_context, show_context);
}
