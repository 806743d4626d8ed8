/*
 * request.c
 *		The setting request.jwt.claims, for policies that were written for PostgREST.
 *
 * PostgREST writes the claims of a token that it has verified into a setting of
 * this name, where policies read them with current_setting().  Whoever can run
 * SQL can write there, too.  Under claimpool.request_claims nobody can, and what
 * the setting shows are the claims of the trusted context.
 *
 * The functions that Supabase has put into its databases (auth.uid() and others)
 * look at names of older versions first.  Those have no value then, and nobody
 * can give them one.
 */
#include "claimpool.h"

#include "miscadmin.h"
#include "utils/guc.h"

static bool request_claims = false;
static char *unused = NULL;

static const char *const older[] = {
	"request.jwt.claim", "request.jwt.claim.sub", "request.jwt.claim.role", "request.jwt.claim.email"
};
static char *none[lengthof(older)];

#define READ_ONLY (GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE)

/* Without a context the text is empty, as PostgREST leaves it after a transaction. */
static const char *
show_claims(void)
{
	Jsonb	   *claims = IsUnderPostmaster ? cp_context_claims() : NULL;

	return claims == NULL ? "" : JsonbToCString(NULL, &claims->root, VARSIZE(claims));
}

void
cp_request_init(void)
{
	DefineCustomBoolVariable("claimpool.request_claims",
							 "Makes request.jwt.claims show the trusted context, and nobody can set it.",
							 "For policies of PostgREST, which itself cannot use this server then.",
							 &request_claims, false, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	if (!request_claims)
		return;
	DefineCustomStringVariable("request.jwt.claims",
							   "Claims of the trusted context.", NULL,
							   &unused, "", PGC_INTERNAL, READ_ONLY,
							   NULL, NULL, show_claims);
	for (int i = 0; i < lengthof(older); i++)
		DefineCustomStringVariable(older[i], "Empty: see request.jwt.claims.", NULL,
								   &none[i], "", PGC_INTERNAL, READ_ONLY,
								   NULL, NULL, NULL);
}
