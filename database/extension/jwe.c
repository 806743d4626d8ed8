/*
 * jwe.c
 *		An encrypted token in its compact form (RFC 7516, section 7.1), with a
 *		signed one in it (RFC 7519, section 5.2).
 *
 * Encryption does not say who made a token: everybody may have the public key.
 * So what comes out is verified as if it had come without the envelope.  All
 * reasons that are returned here are for the server log: whoever sends tokens
 * learns that one was not opened, and not why.
 */
#include "jose.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

extern int	cp_base64url_decode(const char *src, int len, uint8 *dst);

#define CP_MAX_PARTY 1024		/* bytes of apu and apv, which are hashed for each key */

enum
{
	HEADER, ENCRYPTED_KEY, IV, CIPHERTEXT, TAG, PARTS
};

typedef struct Envelope
{
	uint8	   *memory;			/* holds the parts */
	CpBytes		parts[PARTS];
	CpBytes		authenticated;	/* the header, still encoded */
	CpJson		header;
	char		kid[CP_MAX_KEY_ID + 1];
	EVP_PKEY   *ephemeral;		/* the sender's; NULL: RSA-OAEP-256 */
	uint8	   *apu;
	uint8	   *apv;
	int			apu_len;
	int			apv_len;
} Envelope;

/* Five parts make it one, whatever is in them (RFC 7516, section 9). */
bool
cp_jwe_is(const char *text)
{
	int			dots = 0;

	for (; *text != '\0' && dots < PARTS; text++)
		dots += *text == '.';
	return dots == PARTS - 1;
}

static const char *
take_apart(const char *text, Envelope *envelope)
{
	size_t		len = strnlen(text, CP_MAX_TOKEN + 1);
	const char *part = text;
	uint8	   *next;

	if (len > CP_MAX_TOKEN)
		return "token is too long";
	envelope->memory = next = malloc(len + 1);
	if (next == NULL)
		return "out of memory";
	for (int i = 0; i < PARTS; i++)
	{
		const char *end = i < PARTS - 1 ? strchr(part, '.') : text + len;
		int			bytes = end == NULL ? -1 : cp_base64url_decode(part, end - part, next);

		if (bytes < 0)
			return "token is not made of five parts in base64url";
		envelope->parts[i].start = next;
		envelope->parts[i].len = bytes;
		if (i == HEADER)
		{
			envelope->authenticated.start = (const uint8 *) text;
			envelope->authenticated.len = end - text;
		}
		next += bytes;
		part = end + 1;
	}
	return NULL;
}

/* An absent member is an empty one; false for what is not base64url. */
static bool
read_party(CpJson header, const char *name, uint8 **bytes, int *len)
{
	CpJson		value;

	if (!cp_json_get(header, name, &value) || (value.len == 2 && *value.start == '"'))
		return true;
	*bytes = cp_jwk_bytes(header, name, len);
	return *bytes != NULL && *len <= CP_MAX_PARTY;
}

/* The sender's side of ECDH-ES (RFC 7518, section 4.6.1). */
static const char *
read_agreement(Envelope *envelope)
{
	CpJson		jwk;

	if (envelope->parts[ENCRYPTED_KEY].len != 0)
		return "token has a key that was agreed on and one that was encrypted";
	if (!read_party(envelope->header, "apu", &envelope->apu, &envelope->apu_len) ||
		!read_party(envelope->header, "apv", &envelope->apv, &envelope->apv_len))
		return "header has a bad apu or apv";
	if (!cp_json_get(envelope->header, "epk", &jwk) || *jwk.start != '{')
		return "header has no ephemeral key";
	if (cp_jwk_is(jwk, "kty", "EC"))
		envelope->ephemeral = cp_jwk_ec(jwk, false);
	else if (cp_jwk_is(jwk, "kty", "OKP") && cp_jwk_is(jwk, "crv", "X25519"))
		envelope->ephemeral = cp_jwk_okp(jwk, false, EVP_PKEY_X25519);
	return envelope->ephemeral != NULL ? NULL : "ephemeral key is not a point of a curve that is supported";
}

/*
 * Two algorithms, one encryption, nothing else.  No compression: a few bytes
 * could become gigabytes.
 */
static const char *
read_header(Envelope *envelope)
{
	CpJson		value;

	envelope->header.start = (const char *) envelope->parts[HEADER].start;
	envelope->header.len = envelope->parts[HEADER].len;
	if (!cp_json_valid(envelope->header.start, envelope->header.len))
		return "header is not a JSON object";
	while (*envelope->header.start != '{')
		envelope->header.start++, envelope->header.len--;
	if (cp_json_get(envelope->header, "crit", &value))
		return "header has something critical that is not supported";
	if (cp_json_get(envelope->header, "zip", &value))
		return "token is compressed";
	if (!cp_token_is(envelope->header, "cty", "JWT"))
		return "token has no token in it (cty)";
	if (!cp_jwk_is(envelope->header, "enc", "A256GCM"))
		return "enc is not A256GCM";
	if (cp_json_get(envelope->header, "kid", &value) &&
		cp_json_string(value, envelope->kid, sizeof(envelope->kid)) < 0)
		return "header has a bad kid";
	if (cp_jwk_is(envelope->header, "alg", "RSA-OAEP-256"))
		return NULL;
	if (cp_jwk_is(envelope->header, "alg", "ECDH-ES"))
		return read_agreement(envelope);
	return "alg is not RSA-OAEP-256 or ECDH-ES";
}

/* The key's type belongs to one algorithm. */
static bool
fits(const CpKey *key, const Envelope *envelope)
{
	int			type = EVP_PKEY_get_base_id(key->pkey);

	if (key->kid[0] != '\0' && strcmp(key->kid, envelope->kid) != 0)
		return false;
	if (envelope->ephemeral == NULL)
		return type == EVP_PKEY_RSA;
	return type == EVP_PKEY_get_base_id(envelope->ephemeral) &&
		(type != EVP_PKEY_EC || EVP_PKEY_parameters_eq(key->pkey, envelope->ephemeral) == 1);
}

static bool
content_key(const CpKey *key, const Envelope *envelope, uint8 *content)
{
	uint8		bytes[CP_MAX_SHARED];
	CpBytes		shared = {bytes, 0};
	CpBytes		apu = {envelope->apu, envelope->apu_len};
	CpBytes		apv = {envelope->apv, envelope->apv_len};
	bool		ok;

	if (envelope->ephemeral == NULL)
		return cp_oaep_open(key->pkey, envelope->parts[ENCRYPTED_KEY], content);
	shared.len = cp_agree(key->pkey, envelope->ephemeral, bytes);
	ok = shared.len > 0 &&
		cp_concat_kdf(shared, "A256GCM", apu, apv, content, CP_CONTENT_KEY_BYTES);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return ok;
}

static bool
open_with(const CpKey *key, const Envelope *envelope, char *plaintext)
{
	uint8		content[CP_CONTENT_KEY_BYTES];
	bool		ok = content_key(key, envelope, content) &&
		cp_gcm_open(content, envelope->parts[IV], envelope->authenticated,
					envelope->parts[CIPHERTEXT], envelope->parts[TAG], (uint8 *) plaintext);

	OPENSSL_cleanse(content, sizeof(content));
	return ok;
}

/* At most CP_MAX_KEYS keys are tried, each of them once. */
static const char *
decrypt(const Envelope *envelope, const CpKey *keys, int count, char **plaintext)
{
	int			len = envelope->parts[CIPHERTEXT].len;
	char	   *text = malloc(len + 1);
	const char *reason = "there is no key for it";

	if (text == NULL)
		return "out of memory";
	for (int i = 0; i < count && reason != NULL; i++)
	{
		if (fits(&keys[i], envelope))
			reason = open_with(&keys[i], envelope, text) ? NULL : "no key opens it";
	}
	if (reason == NULL && memchr(text, '\0', len) != NULL)
		reason = "there is a zero byte in it";
	text[len] = '\0';
	if (reason == NULL)
		*plaintext = text;
	else
	{
		OPENSSL_cleanse(text, len);
		free(text);
	}
	return reason;
}

/*
 * Opens an encrypted token.  Returns NULL, and the plaintext to be given to
 * cp_jwe_close(); or why not.
 */
const char *
cp_jwe_open(const char *text, const CpKey *keys, int count, char **plaintext)
{
	Envelope	envelope = {0};
	const char *reason = take_apart(text, &envelope);

	*plaintext = NULL;
	if (reason == NULL)
		reason = read_header(&envelope);
	if (reason == NULL)
		reason = decrypt(&envelope, keys, count, plaintext);
	EVP_PKEY_free(envelope.ephemeral);
	OPENSSL_free(envelope.apu);
	OPENSSL_free(envelope.apv);
	free(envelope.memory);
	ERR_clear_error();
	return reason;
}

void
cp_jwe_close(char *plaintext)
{
	if (plaintext != NULL)
		OPENSSL_cleanse(plaintext, strlen(plaintext));
	free(plaintext);
}
