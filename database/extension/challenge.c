/*
 * challenge.c
 *		jwt_challenge(): a number that nobody could know before, and that the next
 *		token of this connection has to answer.
 *
 * It lives in this backend's memory alone: another backend, or this one after
 * the next token, good or bad, knows nothing of it.  No transaction brings it
 * back.
 */
#include "direct.h"

#include "utils/builtins.h"

#define CP_CHALLENGE_BYTES 32

static struct
{
	char		nonce[CP_NONCE_CHARS + 1];	/* empty: none */
	TimestampTz made;
}			challenge;

static bool required = false;
static int	lifetime = 60;

/* jwt_challenge() returns text; a second call makes the first of no use */
PG_FUNCTION_INFO_V1(claimpool_jwt_challenge);
Datum
claimpool_jwt_challenge(PG_FUNCTION_ARGS)
{
	uint8		bytes[CP_CHALLENGE_BYTES];

	if (cp_session_challenged())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the trusted context of this connection is its proxy's")));
	challenge.nonce[0] = '\0';
	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a challenge")));
	cp_base64url_encode(bytes, sizeof(bytes), challenge.nonce);
	challenge.made = GetCurrentTimestamp();
	PG_RETURN_TEXT_P(cstring_to_text(challenge.nonce));
}

/*
 * Takes the challenge away, for one attempt.  Returns nonce, or NULL: there is
 * none, or it is too old (or from a clock that went back).
 */
const char *
cp_challenge_take(char *nonce)
{
	TimestampTz age = GetCurrentTimestamp() - challenge.made;
	bool		open = challenge.nonce[0] != '\0' &&
		age >= 0 && age <= lifetime * USECS_PER_SEC;

	strcpy(nonce, challenge.nonce);
	challenge.nonce[0] = '\0';
	return open ? nonce : NULL;
}

/* Whether a verified token has answered, if it must.  NULL: all is well. */
const char *
cp_challenge_check(const CpToken *token, const CpPresentation *presentation, const char *audience)
{
	CpProof		proof = {presentation->proof, presentation->token, strlen(presentation->token),
	presentation->nonce, audience, required};
	const char *reason = cp_proof_check(token, &proof);

	if (reason == NULL || reason == cp_proof_missing)
		return reason;
	return cp_direct_refuse("the answer to the challenge was refused", reason);
}

void
cp_challenge_define_rules(void)
{
	DefineCustomBoolVariable("jwt.require_challenge", "Takes only tokens that answer jwt_challenge().",
							 "A token that was stolen is of no use then.",
							 &required, false, PGC_SUSET, CP_RULE, NULL, NULL, NULL);
	DefineCustomIntVariable("jwt.challenge_lifetime", "How long jwt_challenge() waits for its answer.", NULL,
							&lifetime, 60, 1, 600, PGC_SUSET, CP_RULE | GUC_UNIT_S, NULL, NULL, NULL);
}
