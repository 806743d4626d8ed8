/*
 * token.c
 *		A signed token in its compact form (RFC 7515, section 7.1; RFC 7519).
 *
 * Nothing in the token decides how it is verified: its header names an
 * algorithm, but the keys say what they may be used for; "jwk", "jku", "x5u" and
 * "x5c" are not even looked at.
 */
#include "jose.h"

#include <math.h>
#include <openssl/crypto.h>

extern int	cp_base64url_decode(const char *src, int len, uint8 *dst);

void
cp_token_free(CpToken *token)
{
	free(token->memory);
	token->memory = NULL;
}

/* Decodes one part behind what is in memory already. */
static int
decode_part(const char *part, int len, char **next)
{
	int			bytes = cp_base64url_decode(part, len, (uint8 *) *next);

	if (bytes >= 0)
		*next += bytes;
	return bytes;
}

/* What the header says.  NULL, or why it cannot be used. */
static const char *
read_header(CpToken *token)
{
	CpJson		value;

	if (!cp_json_get(token->header, "alg", &value) ||
		cp_json_string(value, token->algorithm_name, sizeof(token->algorithm_name)) < 0)
		return "unknown/unsupported algorithm";
	token->algorithm = cp_algorithm(token->algorithm_name);
	if (token->algorithm == NULL)
		return "unknown/unsupported algorithm";
	token->kid[0] = '\0';
	if (cp_json_get(token->header, "kid", &value) &&
		cp_json_string(value, token->kid, sizeof(token->kid)) < 0)
		return "failed to decode header";

	/* We know no extension that could be critical (RFC 7515, section 4.1.11). */
	if (cp_json_get(token->header, "crit", &value))
		return "token has a critical header that is not supported";
	return NULL;
}

/*
 * Takes a token apart and reads its header.  The texts are those of
 * jwt_context, which people's scripts know.  On failure nothing is to be freed.
 */
const char *
cp_token_parse(const char *text, CpToken *token)
{
	size_t		len = strnlen(text, CP_MAX_TOKEN + 1);
	const char *body;
	const char *signature;
	const char *reason;
	char	   *next;

	memset(token, 0, sizeof(*token));
	if (len > CP_MAX_TOKEN)
		return "token is too long";
	body = memchr(text, '.', len);
	if (body == NULL)
		return "failed to parse JWT token header (separator not found)";
	signature = strchr(++body, '.');
	if (signature == NULL)
		return "failed to parse JWT token body (separator not found)";
	if (strchr(++signature, '.') != NULL)
		return "failed to parse JWT token signature (extra separator)";

	token->memory = next = malloc(len + 1);
	if (next == NULL)
		return "out of memory";
	token->signed_bytes = text;
	token->signed_len = signature - 1 - text;
	token->header.start = next;
	token->header.len = decode_part(text, body - 1 - text, &next);
	token->payload.start = next;
	token->payload.len = decode_part(body, signature - 1 - body, &next);
	token->signature = (const uint8 *) next;
	token->signature_len = decode_part(signature, text + len - signature, &next);

	if (token->header.len < 0 || !cp_json_valid(token->header.start, token->header.len))
		reason = "failed to decode header";
	else if (token->payload.len < 0 || !cp_json_valid(token->payload.start, token->payload.len))
		reason = "failed to decode body";
	else if (token->signature_len < 0)
		reason = "failed to decode signature";
	else
	{
		/* cp_json_get() wants the brace first. */
		while (*token->header.start != '{')
			token->header.start++, token->header.len--;
		while (*token->payload.start != '{')
			token->payload.start++, token->payload.len--;
		reason = read_header(token);
	}
	if (reason != NULL)
		cp_token_free(token);
	return reason;
}

/*
 * Does one of these keys verify the token?  A key with a kid is tried only for
 * tokens with that kid.  *tried: was there any key of the right kind at all?
 */
bool
cp_token_verify(const CpToken *token, const CpKey *keys, int count, bool *tried)
{
	*tried = false;
	for (int i = 0; i < count; i++)
	{
		if (keys[i].kid[0] != '\0' && strcmp(keys[i].kid, token->kid) != 0)
			continue;
		if (!cp_key_fits(&keys[i], token->algorithm))
			continue;
		*tried = true;
		if (cp_signature_verify(&keys[i], token->algorithm,
								token->signed_bytes, token->signed_len,
								token->signature, token->signature_len))
			return true;
	}
	return false;
}

/* Is the text the value, or one of the values, of a claim? */
bool
cp_token_claims(CpJson payload, const char *claim, const char *wanted, bool array_allowed)
{
	CpJson		value;
	CpJson		name;
	CpJson		element;
	const char *position = NULL;
	char		text[1024];

	if (!cp_json_get(payload, claim, &value))
		return false;
	if (*value.start == '"')
		return cp_json_string(value, text, sizeof(text)) >= 0 && strcmp(text, wanted) == 0;
	if (*value.start != '[' || !array_allowed)
		return false;
	while (cp_json_next(value, &position, &name, &element))
	{
		if (cp_json_string(element, text, sizeof(text)) >= 0 && strcmp(text, wanted) == 0)
			return true;
	}
	return false;
}

/*
 * Is this the type in a header's typ or cty?  The media type may leave out
 * "application/" (RFC 7515, section 4.1.9 and 4.1.10).
 */
bool
cp_token_is(CpJson header, const char *member, const char *wanted)
{
	CpJson		value;
	char		text[128];
	const char *type = text;

	if (!cp_json_get(header, member, &value) || cp_json_string(value, text, sizeof(text)) < 0)
		return false;
	if (pg_strncasecmp(type, "application/", 12) == 0)
		type += 12;
	return pg_strcasecmp(type, wanted) == 0;
}

/* exp, nbf and iat (RFC 7519, section 4.1.4 to 4.1.6). */
static const char *
check_times(const CpToken *token, const CpRules *rules, double *expires)
{
	CpJson		value;
	double		seconds;
	double		issued = rules->now;

	if (!cp_json_get(token->payload, "exp", &value))
		return "token does not expire";
	if (!cp_json_seconds(value, expires))
		return "token has a bad expiry";
	*expires += rules->leeway;
	if (*expires <= rules->now)
		return "token has expired";
	if (cp_json_get(token->payload, "nbf", &value) &&
		(!cp_json_seconds(value, &seconds) || seconds > rules->now + rules->leeway))
		return "token is not valid yet";
	if (cp_json_get(token->payload, "iat", &value))
	{
		if (!cp_json_seconds(value, &issued) || issued > rules->now + rules->leeway)
			return "token was issued in the future";
	}
	if (rules->max_lifetime > 0 && *expires - rules->leeway - issued > rules->max_lifetime)
		return "token lives too long";
	return NULL;
}

static bool
is_number(CpJson value, double wanted, double tolerance)
{
	double		number;

	return cp_json_seconds(value, &number) && fabs(number - wanted) <= tolerance;
}

/*
 * Is this the connection that the token was made for?  RFC 7800 lets each use
 * say which members of "cnf" count.  Here all do: one that is not known, such as
 * the key of another protocol, binds the token to what nobody checks.
 *
 * Process ids come again; so the time at which the backend started is required
 * beside it, to the millisecond.
 */
static const char *
check_holder(const CpToken *token, const CpHolder *holder)
{
	CpJson		cnf;
	CpJson		name;
	CpJson		value;
	const char *position = NULL;
	char		member[16];
	bool		has_pid = false;
	bool		has_start = false;

	if (!cp_json_get(token->payload, "cnf", &cnf))
		return NULL;
	if (*cnf.start != '{')
		return "token has a bad confirmation";
	while (cp_json_next(cnf, &position, &name, &value))
	{
		if (cp_json_string(name, member, sizeof(member)) < 0)
			*member = '\0';
		if (strcmp(member, "addr") == 0)
		{
			if (holder->address == NULL || !cp_token_claims(cnf, member, holder->address, true))
				return "token is bound to another address";
		}
		else if (strcmp(member, "role") == 0)
		{
			if (holder->role == NULL || !cp_token_claims(cnf, member, holder->role, false))
				return "token is bound to another role";
		}
		else if (strcmp(member, "pid") == 0)
		{
			has_pid = true;
			if (!is_number(value, holder->pid, 0))
				return "token is bound to another connection";
		}
		else if (strcmp(member, "start") == 0)
		{
			has_start = true;
			if (!is_number(value, holder->start, 0.001))
				return "token is bound to another connection";
		}
		else if (strcmp(member, "jwk") == 0)
		{
			if (!holder->proved)
				return "token is bound to a key";
		}
		else
			return "token is bound to something that is not supported";
	}
	return position != NULL && has_pid == has_start ? NULL : "token has a bad confirmation";
}

/* Checks the claims of a token whose signature has verified. */
const char *
cp_token_check(const CpToken *token, const CpRules *rules, double *expires)
{
	const char *reason = check_holder(token, &rules->holder);

	if (reason != NULL)
		return reason;
	if (cp_token_is(token->header, "typ", CP_PROOF_TYPE))
		return "token is of another type";
	if (rules->type != NULL && *rules->type != '\0' && !cp_token_is(token->header, "typ", rules->type))
		return "token is of another type";
	if (rules->issuer != NULL && *rules->issuer != '\0' &&
		!cp_token_claims(token->payload, "iss", rules->issuer, false))
		return "token is from another issuer";
	if (rules->audience != NULL && *rules->audience != '\0' &&
		!cp_token_claims(token->payload, "aud", rules->audience, true))
		return "token is for another audience";
	return rules->check_times ? check_times(token, rules, expires) : NULL;
}
