/*
 * jwk.c
 *		Keys as people write them: base64url of DER, PEM, X.509 certificates,
 *		JWK and JWK sets (RFC 7517, RFC 7518, section 6; RFC 8037).
 */
#include "jose.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

extern int	cp_base64url_decode(const char *src, int len, uint8 *dst);

#define CP_MAX_KEY_TEXT 65536	/* characters of one key; RSA 8192 needs 6,400 with its private half */

void
cp_key_free(CpKey *key)
{
	EVP_PKEY_free(key->pkey);
	if (key->secret != NULL)
		OPENSSL_clear_free(key->secret, key->secret_len);
	key->pkey = NULL;
	key->secret = NULL;
}

/* Bytes of a text in base64url, in memory to be freed; NULL for an error. */
static uint8 *
decode(const char *text, int len, int *bytes)
{
	uint8	   *decoded;

	if (len <= 0 || len > CP_MAX_KEY_TEXT)
		return NULL;
	decoded = OPENSSL_malloc(len);
	if (decoded == NULL)
		return NULL;
	*bytes = cp_base64url_decode(text, len, decoded);
	if (*bytes <= 0)
	{
		OPENSSL_free(decoded);
		return NULL;
	}
	return decoded;
}

/* A certificate is taken for its key, while it is valid. */
static EVP_PKEY *
certificate_key(X509 *certificate)
{
	EVP_PKEY   *key = NULL;

	if (certificate != NULL &&
		X509_cmp_current_time(X509_get0_notBefore(certificate)) < 0 &&
		X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0)
		key = X509_get_pubkey(certificate);
	X509_free(certificate);
	return key;
}

static bool
is_pem(const char *text)
{
	return strncmp(text, "-----BEGIN ", 11) == 0;
}

/* Never asks anybody for the password of an encrypted key. */
static int
no_password(char *buf, int size, int rwflag, void *u)
{
	return -1;
}

static EVP_PKEY *
read_pem(const char *text)
{
	BIO		   *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY   *key = NULL;

	if (bio == NULL)
		return NULL;
	if (strncmp(text, "-----BEGIN CERTIFICATE-----", 27) == 0)
		key = certificate_key(PEM_read_bio_X509(bio, NULL, no_password, NULL));
	else
		key = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
	BIO_free(bio);
	return key;
}

static EVP_PKEY *
read_der(const char *text)
{
	int			len = 0;
	uint8	   *der = decode(text, strlen(text), &len);
	const uint8 *p = der;
	EVP_PKEY   *key = NULL;

	if (der == NULL)
		return NULL;
	key = d2i_PUBKEY(NULL, &p, len);
	if (key != NULL && p != der + len)
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	OPENSSL_clear_free(der, len);
	return key;
}

/*
 * OpenSSL computes with what a private key says, whatever it says: with numbers
 * of 100,000 bits for minutes, in which nobody can stop it.
 */
static bool
has_small_numbers(const EVP_PKEY *key)
{
	static const char *const names[] = {OSSL_PKEY_PARAM_RSA_D,
		OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_FACTOR2,
		OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2,
	OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
	BIGNUM	   *number = NULL;
	bool		ok = true;

	if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
		return true;
	for (int i = 0; i < lengthof(names); i++)
	{
		if (EVP_PKEY_get_bn_param(key, names[i], &number) == 1)
			ok = ok && BN_num_bits(number) <= EVP_PKEY_get_bits(key);
		BN_clear_free(number);
		number = NULL;
	}
	/* a third prime: nobody has such keys */
	ok = ok && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_FACTOR3, &number) != 1;
	BN_clear_free(number);
	return ok;
}

/* The first key of this type; in PEM other blocks may stand before it. */
static EVP_PKEY *
decode_private(const void *bytes, int len, bool pem, const char *type)
{
	BIO		   *bio = BIO_new_mem_buf(bytes, len);
	EVP_PKEY   *key = NULL;
	OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(&key, pem ? "PEM" : "DER", NULL, type,
														  EVP_PKEY_KEYPAIR, NULL, NULL);
	int			before = len + 1;

	if (bio != NULL && ctx != NULL && OSSL_DECODER_CTX_set_pem_password_cb(ctx, no_password, NULL) == 1)
	{
		while (key == NULL && BIO_pending(bio) > 0 && BIO_pending(bio) < before)
		{
			before = BIO_pending(bio);
			(void) OSSL_DECODER_from_bio(ctx, bio);
		}
	}
	if (!pem && key != NULL && BIO_pending(bio) > 0)
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	OSSL_DECODER_CTX_free(ctx);
	BIO_free(bio);
	return key;
}

/*
 * Keys of the types that sign.  Others are not even decoded: of a DSA key OpenSSL
 * computes the public half, from numbers as long as somebody has written them.
 */
static EVP_PKEY *
read_private(const char *text)
{
	static const char *const types[] = {"RSA", "EC", "ED25519"};
	bool		pem = is_pem(text);
	int			len = strlen(text);
	uint8	   *der = pem ? NULL : decode(text, len, &len);
	EVP_PKEY   *key = NULL;

	if (!pem && der == NULL)
		return NULL;
	for (int i = 0; i < lengthof(types) && key == NULL; i++)
		key = decode_private(pem ? (const void *) text : der, len, pem, types[i]);
	if (der != NULL)
		OPENSSL_clear_free(der, len);
	if (key != NULL && !has_small_numbers(key))
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

static bool
is_too_long(const char *text)
{
	return strnlen(text, CP_MAX_KEY_TEXT + 1) > CP_MAX_KEY_TEXT;
}

bool
cp_key_read_public(const char *text, CpKey *key)
{
	memset(key, 0, sizeof(*key));
	if (!is_too_long(text))
		key->pkey = is_pem(text) ? read_pem(text) : read_der(text);
	ERR_clear_error();
	return key->pkey != NULL;
}

bool
cp_key_read_private(const char *text, CpKey *key)
{
	memset(key, 0, sizeof(*key));
	if (!is_too_long(text))
		key->pkey = read_private(text);
	ERR_clear_error();
	return key->pkey != NULL;
}

bool
cp_key_read_secret(const char *text, CpKey *key)
{
	memset(key, 0, sizeof(*key));
	key->secret = decode(text, strlen(text), &key->secret_len);
	return key->secret != NULL;
}

/* The bytes of a member in base64url, to be freed; NULL: there are none. */
uint8 *
cp_jwk_bytes(CpJson jwk, const char *name, int *len)
{
	CpJson		value;

	if (!cp_json_get(jwk, name, &value) || value.len < 2 || *value.start != '"')
		return NULL;
	return decode(value.start + 1, value.len - 2, len);
}

bool
cp_jwk_is(CpJson jwk, const char *name, const char *wanted)
{
	CpJson		value;
	char		text[64];

	return cp_json_get(jwk, name, &value) &&
		cp_json_string(value, text, sizeof(text)) >= 0 && strcmp(text, wanted) == 0;
}

/* A number in a member, in memory that is wiped when it is freed. */
static BIGNUM *
member_number(CpJson jwk, const char *name)
{
	int			len = 0;
	uint8	   *bytes = cp_jwk_bytes(jwk, name, &len);
	BIGNUM	   *number = bytes ? BN_secure_new() : NULL;

	if (number != NULL && BN_bin2bn(bytes, len, number) == NULL)
	{
		BN_clear_free(number);
		number = NULL;
	}
	if (bytes != NULL)
		OPENSSL_clear_free(bytes, len);
	return number;
}

/* From parameters that are named in OpenSSL's way. */
static EVP_PKEY *
build(const char *type, bool private_key, OSSL_PARAM_BLD *builder)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY   *key = NULL;

	if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
		EVP_PKEY_fromdata(ctx, &key, private_key ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return key;
}

/*
 * RFC 7518, section 6.3.  An exponent of 1 makes every signature right.  Of a
 * private key all the numbers are wanted that make its use fast.
 */
EVP_PKEY *
cp_jwk_rsa(CpJson jwk, bool private_key)
{
	static const char *const names[] = {"n", "e", "d", "p", "q", "dp", "dq", "qi"};
	static const char *const params[] = {OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E, OSSL_PKEY_PARAM_RSA_D,
		OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_FACTOR2,
		OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2,
	OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
	BIGNUM	   *numbers[lengthof(names)] = {NULL};
	int			count = private_key ? lengthof(names) : 2;
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY   *key = NULL;
	bool		ok = builder != NULL;

	for (int i = 0; i < count && ok; i++)
	{
		numbers[i] = member_number(jwk, names[i]);
		ok = numbers[i] != NULL &&
			OSSL_PARAM_BLD_push_BN(builder, params[i], numbers[i]) == 1;
	}
	if (ok && BN_is_odd(numbers[0]) && BN_is_odd(numbers[1]) &&
		!BN_is_one(numbers[1]) && BN_num_bits(numbers[1]) <= 64)
		key = build("RSA", private_key, builder);
	OSSL_PARAM_BLD_free(builder);
	for (int i = 0; i < count; i++)
		BN_clear_free(numbers[i]);
	return key;
}

/* RFC 7518, section 6.2.  OpenSSL refuses a point that is not on the curve. */
static EVP_PKEY *
ec_key(CpJson jwk, bool private_key, const CpAlgorithm *algorithm)
{
	int			size = algorithm->coordinate_bytes;
	int			x_len = 0;
	int			y_len = 0;
	uint8	   *x = cp_jwk_bytes(jwk, "x", &x_len);
	uint8	   *y = cp_jwk_bytes(jwk, "y", &y_len);
	BIGNUM	   *d = private_key ? member_number(jwk, "d") : NULL;
	uint8		point[1 + 2 * 66] = {0x04}; /* uncompressed */
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY   *key = NULL;

	if (builder != NULL && x != NULL && y != NULL && x_len == size && y_len == size &&
		(!private_key || (d != NULL && !BN_is_zero(d) && BN_num_bytes(d) <= size)))
	{
		memcpy(point + 1, x, size);
		memcpy(point + 1 + size, y, size);
		if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME,
											algorithm->curve, 0) == 1 &&
			OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY,
											 point, 1 + 2 * size) == 1 &&
			(!private_key || OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, d) == 1))
			key = build("EC", private_key, builder);
	}
	OSSL_PARAM_BLD_free(builder);
	BN_clear_free(d);
	OPENSSL_free(x);
	OPENSSL_free(y);
	return key;
}

EVP_PKEY *
cp_jwk_ec(CpJson jwk, bool private_key)
{
	if (cp_jwk_is(jwk, "crv", "P-256"))
		return ec_key(jwk, private_key, cp_algorithm("ES256"));
	if (cp_jwk_is(jwk, "crv", "P-384"))
		return ec_key(jwk, private_key, cp_algorithm("ES384"));
	if (cp_jwk_is(jwk, "crv", "P-521"))
		return ec_key(jwk, private_key, cp_algorithm("ES512"));
	return NULL;
}

/* RFC 8037, section 2.  type: EVP_PKEY_ED25519 or EVP_PKEY_X25519. */
EVP_PKEY *
cp_jwk_okp(CpJson jwk, bool private_key, int type)
{
	int			len = 0;
	uint8	   *bytes = cp_jwk_bytes(jwk, private_key ? "d" : "x", &len);
	EVP_PKEY   *key = NULL;

	if (bytes != NULL && len == 32)
		key = private_key ? EVP_PKEY_new_raw_private_key(type, NULL, bytes, len) :
			EVP_PKEY_new_raw_public_key(type, NULL, bytes, len);
	if (bytes != NULL)
		OPENSSL_clear_free(bytes, len);
	return key;
}

/*
 * Is the key for this use, as far as it says (RFC 7517, section 4.2, 4.3)?  One
 * of two operations is enough.
 */
bool
cp_jwk_is_for(CpJson jwk, const char *use, const char *operation, const char *or_operation)
{
	CpJson		operations;
	CpJson		name;
	CpJson		value;
	const char *position = NULL;
	char		text[16];

	if (cp_json_get(jwk, "use", &operations) && !cp_jwk_is(jwk, "use", use))
		return false;
	if (!cp_json_get(jwk, "key_ops", &operations))
		return true;
	if (*operations.start != '[')
		return false;
	while (cp_json_next(operations, &position, &name, &value))
	{
		if (cp_json_string(value, text, sizeof(text)) >= 0 &&
			(strcmp(text, operation) == 0 || strcmp(text, or_operation) == 0))
			return true;
	}
	return false;
}

/* An absent kid is none; one that is too long makes the key useless. */
bool
cp_jwk_kid(CpJson jwk, CpKey *key)
{
	CpJson		value;

	return !cp_json_get(jwk, "kid", &value) || cp_json_string(value, key->kid, sizeof(key->kid)) >= 0;
}

/* A key that verifies: public, or a secret. */
bool
cp_jwk_read(CpJson jwk, CpKey *key)
{
	CpJson		value;
	char		text[64];

	memset(key, 0, sizeof(*key));
	if (*jwk.start != '{' || !cp_jwk_is_for(jwk, "sig", "verify", "verify") ||
		cp_json_get(jwk, "d", &value) || !cp_jwk_kid(jwk, key))
		return false;
	if (cp_json_get(jwk, "alg", &value) &&
		(cp_json_string(value, text, sizeof(text)) < 0 || (key->only = cp_algorithm(text)) == NULL))
		return false;

	if (cp_jwk_is(jwk, "kty", "RSA"))
		key->pkey = cp_jwk_rsa(jwk, false);
	else if (cp_jwk_is(jwk, "kty", "oct"))
		key->secret = cp_jwk_bytes(jwk, "k", &key->secret_len);
	else if (cp_jwk_is(jwk, "kty", "OKP") && cp_jwk_is(jwk, "crv", "Ed25519"))
		key->pkey = cp_jwk_okp(jwk, false, EVP_PKEY_ED25519);
	else if (cp_jwk_is(jwk, "kty", "EC"))
		key->pkey = cp_jwk_ec(jwk, false);
	ERR_clear_error();
	return key->pkey != NULL || key->secret != NULL;
}

/*
 * Reads a JWK set, or one JWK, with a function for each key.  Keys that cannot
 * be used here are left out: a set may have keys for others.  Returns their
 * number, -1 for what is no set, and CP_TOO_MANY_KEYS, without any of them, for
 * a set of more than there is room for.
 */
int
cp_jwk_set_read(const char *text, CpJwkReader read, CpKey *keys, int size)
{
	CpJson		set = {text, strlen(text)};
	CpJson		list;
	CpJson		name;
	CpJson		jwk;
	CpKey		key;
	const char *position = NULL;
	int			count = 0;

	if (size < 1 || !cp_json_valid(set.start, set.len))
		return -1;
	while (*set.start != '{')
	{
		set.start++;
		set.len--;
	}
	if (cp_json_get(set, "kty", &list))
		return read(set, &keys[0]) ? 1 : 0;
	if (!cp_json_get(set, "keys", &list) || *list.start != '[')
		return -1;
	while (cp_json_next(list, &position, &name, &jwk))
	{
		if (!read(jwk, &key))
			cp_key_free(&key);
		else if (count < size)
			keys[count++] = key;
		else
		{
			cp_key_free(&key);
			return cp_keys_too_many(keys, count);
		}
	}
	return count;
}

/* Half a set is not used. */
int
cp_keys_too_many(CpKey *keys, int count)
{
	for (int i = 0; i < count; i++)
		cp_key_free(&keys[i]);
	return CP_TOO_MANY_KEYS;
}

int
cp_keys_read_set(const char *text, CpKey *keys, int size)
{
	return cp_jwk_set_read(text, cp_jwk_read, keys, size);
}
