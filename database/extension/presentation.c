/*
 * presentation.c
 *		What a client hands in: a signed token, perhaps encrypted, perhaps with the
 *		proof of its holder behind a tilde (RFC 9901, section 4).
 */
#include "direct.h"

#define CP_MAX_KEYS_FILE 65536	/* bytes: 16 RSA keys in a JWK set, with room */

static char *decryption_keys_file = NULL;

/*
 * Writes the reason to the server log, and gives the text for whoever sent the
 * token: it is the same for all reasons.
 */
const char *
cp_direct_refuse(const char *shown, const char *reason)
{
	ereport(LOG_SERVER_ONLY,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("token was refused: %s", reason)));
	return shown;
}

/* Reads the keys at each token: a new file counts at once, and no key waits in memory. */
static int
read_keys(CpKey *keys)
{
	char	   *text = malloc(CP_MAX_KEYS_FILE);
	int			len = text ? cp_read_private_file(decryption_keys_file, text, CP_MAX_KEYS_FILE) : -1;
	int			count = 0;

	if (len > 0)
		count = cp_recipient_keys_read(text, keys, CP_MAX_KEYS);
	if (text != NULL)
		cp_wipe(text, CP_MAX_KEYS_FILE);
	free(text);
	return count;
}

static const char *
open_envelope(CpPresentation *presentation)
{
	CpKey		keys[CP_MAX_KEYS] = {{0}};
	int			count = read_keys(keys);
	const char *reason = count == CP_TOO_MANY_KEYS ?
		"jwt.decryption_keys_file has more than 16 keys, and none of them is used" :
		cp_jwe_open(presentation->token, keys, Max(count, 0), &presentation->opened);

	for (int i = 0; i < count; i++)
		cp_key_free(&keys[i]);
	return reason;
}

/*
 * Takes apart what was handed in; the token is not verified.  On failure nothing
 * is to be freed.
 */
const char *
cp_presentation_read(const char *text, const char *nonce,
					 CpPresentation *presentation, CpToken *token)
{
	size_t		len = strnlen(text, CP_MAX_TOKEN + 1);
	const char *reason = NULL;
	bool		encrypted;
	char	   *tilde;

	memset(presentation, 0, sizeof(*presentation));
	if (len > CP_MAX_TOKEN)
		return "token is too long";
	presentation->memory = malloc(len + 1);
	if (presentation->memory == NULL)
		return "out of memory";
	memcpy(presentation->memory, text, len + 1);
	presentation->token = presentation->memory;
	presentation->nonce = nonce;
	tilde = strchr(presentation->memory, '~');
	if (tilde != NULL)
	{
		*tilde = '\0';
		presentation->proof = tilde + 1;
	}

	encrypted = cp_jwe_is(presentation->token);
	if (encrypted)
		reason = open_envelope(presentation);
	if (reason == NULL)
		reason = cp_token_parse(encrypted ? presentation->opened : presentation->token, token);
	if (reason == NULL)
		return NULL;
	cp_presentation_free(presentation);
	return encrypted ? cp_direct_refuse("token could not be decrypted", reason) : reason;
}

void
cp_presentation_free(CpPresentation *presentation)
{
	cp_jwe_close(presentation->opened);
	if (presentation->memory != NULL)
		cp_wipe(presentation->memory, strlen(presentation->memory));
	free(presentation->memory);
	memset(presentation, 0, sizeof(*presentation));
}

void
cp_presentation_define_keys(void)
{
	DefineCustomStringVariable("jwt.decryption_keys_file", "File with the private keys that open encrypted tokens.",
							   "A JWK set or PEM; only the server may read it. Read at each token.",
							   &decryption_keys_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
}
