/*
 * api.c
 *		jwt_sign(), jwt_verify() and key generation: names, types and texts of
 *		jwt_context.  For tests and scripts; nothing that is trusted calls them.
 */
#include "direct.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "funcapi.h"
#include "utils/builtins.h"

#define CP_SECRET_BYTES 64
#define CP_RSA_BITS 2048
#define CP_SIGNATURE_BUFFER 1024

static const CpAlgorithm *
algorithm_argument(const text *name)
{
	char	   *string = text_to_cstring(name);
	const CpAlgorithm *algorithm = cp_algorithm(string);

	if (algorithm == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown/unsupported algorithm: %s", string)));
	return algorithm;
}

static void
fail(const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", reason)));
}

/* Appends a text in base64url. */
static void
append_part(StringInfo token, const uint8 *bytes, int len)
{
	enlargeStringInfo(token, len / 3 * 4 + 5);
	token->len += cp_base64url_encode(bytes, len, token->data + token->len);
}

static void
append_json(StringInfo token, const text *json, const char *reason)
{
	if (VARSIZE_ANY_EXHDR(json) > CP_MAX_TOKEN ||
		!cp_json_valid(VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json)))
		fail(reason);
	append_part(token, (const uint8 *) VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
}

/* jwt_sign(algo text, secret text, header json, body json) returns text */
PG_FUNCTION_INFO_V1(claimpool_jwt_sign);
Datum
claimpool_jwt_sign(PG_FUNCTION_ARGS)
{
	const CpAlgorithm *algorithm = algorithm_argument(PG_GETARG_TEXT_PP(0));
	char	   *key_text = text_to_cstring(PG_GETARG_TEXT_PP(1));
	text	   *header = PG_GETARG_TEXT_PP(2);
	text	   *body = PG_GETARG_TEXT_PP(3);
	uint8		signature[CP_SIGNATURE_BUFFER];
	StringInfoData token;
	CpKey		key;
	bool		readable;
	bool		fits;
	int			len = 0;

	initStringInfo(&token);
	append_json(&token, header, "header is not a JSON object that a token can have");
	appendStringInfoChar(&token, '.');
	append_json(&token, body, "body is not a JSON object that a token can have");

	/* From here to cp_key_free() nothing may raise an error. */
	readable = algorithm->family == CP_HMAC ?
		cp_key_read_secret(key_text, &key) : cp_key_read_private(key_text, &key);
	fits = readable && cp_key_fits(&key, algorithm);
	if (fits)
		len = cp_signature_make(&key, algorithm, token.data, token.len,
								signature, sizeof(signature));
	cp_key_free(&key);
	ERR_clear_error();
	cp_wipe(key_text, strlen(key_text));

	if (!readable)
		fail("failed to decode key");
	if (!fits)
		fail(algorithm->family == CP_HMAC ?
			 "signature failed: unexpected length of secret key" : "failed to read key");
	if (len <= 0)
		fail("signature failed");
	appendStringInfoChar(&token, '.');
	append_part(&token, signature, len);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(token.data, token.len));
}

/*
 * Verifies with a key that the caller gives.  A text that is a public key is
 * never an HMAC secret, whatever the token's header would like.
 */
static const char *
verify_with(const char *key_text, const CpToken *token, bool *verified)
{
	CpKey		key;
	bool		is_public = cp_key_read_public(key_text, &key);
	bool		tried;

	*verified = false;
	if (token->algorithm->family == CP_HMAC)
	{
		cp_key_free(&key);
		if (is_public)
			return NULL;
		if (!cp_key_read_secret(key_text, &key))
			return "failed to decode key";
	}
	else if (!is_public)
		return "failed to read key";
	*verified = cp_token_verify(token, &key, 1, &tried);
	cp_key_free(&key);
	ERR_clear_error();
	return NULL;
}

/*
 * jwt_verify(secret text, context text) returns bool: the signature alone.  NULL
 * for the secret takes the keys that are set.
 */
PG_FUNCTION_INFO_V1(claimpool_jwt_verify);
Datum
claimpool_jwt_verify(PG_FUNCTION_ARGS)
{
	char	   *key_text = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *text_of_token;
	const char *reason;
	CpToken		token;
	bool		verified = false;
	char		unknown[64];

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	text_of_token = text_to_cstring(PG_GETARG_TEXT_PP(1));
	reason = cp_token_parse(text_of_token, &token);
	if (reason != NULL)
	{
		snprintf(unknown, sizeof(unknown), "%s: %s", reason, token.algorithm_name);
		fail(token.algorithm == NULL && token.algorithm_name[0] != '\0' ? unknown : reason);
	}
	if (key_text != NULL)
		reason = verify_with(key_text, &token, &verified);
	else
	{
		reason = cp_direct_verify(&token);
		verified = reason == NULL;
		if (reason != NULL && strcmp(reason, "signature verification failed") == 0)
			reason = NULL;
	}
	cp_token_free(&token);
	if (reason != NULL)
		fail(reason);
	PG_RETURN_BOOL(verified);
}

static EVP_PKEY *
generate(const CpAlgorithm *algorithm)
{
	switch (algorithm->family)
	{
		case CP_RSA:
		case CP_RSA_PSS:
			return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) CP_RSA_BITS);
		case CP_ECDSA:
			return EVP_PKEY_Q_keygen(NULL, NULL, "EC", algorithm->curve);
		case CP_EDDSA:
			return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		default:
			return NULL;
	}
}

/* What OpenSSL writes, as a text in malloc's memory. */
static char *
written(BIO *bio, bool ok, bool raw)
{
	char	   *data;
	long		len = ok ? BIO_get_mem_data(bio, &data) : 0;
	char	   *result = len > 0 ? malloc(len * 2 + 3) : NULL;

	if (result != NULL && raw)
		cp_base64url_encode((const uint8 *) data, len, result);
	else if (result != NULL)
	{
		memcpy(result, data, len);
		result[len] = '\0';
	}
	return result;
}

static char *
export_key(EVP_PKEY *pair, bool private_key, bool raw)
{
	BIO		   *bio = BIO_new(BIO_s_secmem());
	char	   *result = NULL;
	bool		ok;

	if (bio == NULL)
		return NULL;
	if (private_key)
		ok = (raw ? i2d_PKCS8PrivateKey_bio(bio, pair, NULL, NULL, 0, NULL, NULL)
			  : PEM_write_bio_PKCS8PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL)) == 1;
	else
		ok = (raw ? i2d_PUBKEY_bio(bio, pair) : PEM_write_bio_PUBKEY(bio, pair)) == 1;
	result = written(bio, ok, raw);
	BIO_free(bio);
	return result;
}

/* jwt_generate_keys(algo text) returns (private_raw, private_pem, public_raw, public_pem) */
PG_FUNCTION_INFO_V1(claimpool_jwt_generate_keys);
Datum
claimpool_jwt_generate_keys(PG_FUNCTION_ARGS)
{
	const CpAlgorithm *algorithm = algorithm_argument(PG_GETARG_TEXT_PP(0));
	char	   *exported[4];
	Datum		values[4];
	bool		nulls[4] = {false};
	bool		ok = true;
	TupleDesc	desc;
	EVP_PKEY   *pair;

	if (algorithm->family == CP_HMAC)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("algorithm '%s' does not support 'genkey'", algorithm->name)));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);

	pair = generate(algorithm);
	for (int i = 0; i < 4; i++)
	{
		exported[i] = pair ? export_key(pair, i < 2, i % 2 == 0) : NULL;
		ok = ok && exported[i] != NULL;
	}
	EVP_PKEY_free(pair);
	for (int i = 0; i < 4; i++)
	{
		if (ok)
			values[i] = CStringGetTextDatum(exported[i]);
		if (exported[i] != NULL)
			cp_wipe(exported[i], strlen(exported[i]));
		free(exported[i]);
	}
	if (!ok)
		fail("failed to generate keys");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* jwt_generate_secret(algo text) returns text: 64 random bytes */
PG_FUNCTION_INFO_V1(claimpool_jwt_generate_secret);
Datum
claimpool_jwt_generate_secret(PG_FUNCTION_ARGS)
{
	const CpAlgorithm *algorithm = algorithm_argument(PG_GETARG_TEXT_PP(0));
	uint8		secret[CP_SECRET_BYTES];
	char		encoded[CP_SECRET_BYTES * 2];

	if (algorithm->family != CP_HMAC)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("algorithm '%s' does not support 'gensecret'", algorithm->name)));
	if (!pg_strong_random(secret, sizeof(secret)))
		fail("could not generate a secret");
	cp_base64url_encode(secret, sizeof(secret), encoded);
	cp_wipe(secret, sizeof(secret));
	PG_RETURN_TEXT_P(cstring_to_text(encoded));
}
