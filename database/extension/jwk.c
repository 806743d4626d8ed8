/*
 * jwk.c
 *		Keys as people write them: base64url of DER, PEM, X.509 certificates,
 *		JWK and JWK sets (RFC 7517, RFC 7518, section 6; RFC 8037).
 */
#include "jose.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

extern int	cp_base64url_decode(const char *src, int len, uint8 *dst);

#define CP_MAX_KEY_TEXT 65536	/* characters of one key; RSA 8192 needs 1,500 */

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

/* Never asks anybody for the password of an encrypted key. */
static int
no_password(char *buf, int size, int rwflag, void *u)
{
	return -1;
}

static EVP_PKEY *
read_pem(const char *text, bool private_key)
{
	BIO		   *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY   *key = NULL;

	if (bio == NULL)
		return NULL;
	if (private_key)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	else if (strncmp(text, "-----BEGIN CERTIFICATE-----", 27) == 0)
		key = certificate_key(PEM_read_bio_X509(bio, NULL, no_password, NULL));
	else
		key = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
	BIO_free(bio);
	return key;
}

static EVP_PKEY *
read_der(const char *text, bool private_key)
{
	int			len = 0;
	uint8	   *der = decode(text, strlen(text), &len);
	const uint8 *p = der;
	EVP_PKEY   *key = NULL;

	if (der == NULL)
		return NULL;
	key = private_key ? d2i_AutoPrivateKey(NULL, &p, len) : d2i_PUBKEY(NULL, &p, len);
	if (key != NULL && p != der + len)
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	OPENSSL_clear_free(der, len);
	return key;
}

static bool
read_key(const char *text, bool private_key, CpKey *key)
{
	memset(key, 0, sizeof(*key));
	key->pkey = strncmp(text, "-----BEGIN ", 11) == 0 ?
		read_pem(text, private_key) : read_der(text, private_key);
	ERR_clear_error();
	return key->pkey != NULL;
}

bool
cp_key_read_public(const char *text, CpKey *key)
{
	return read_key(text, false, key);
}

bool
cp_key_read_private(const char *text, CpKey *key)
{
	return read_key(text, true, key);
}

bool
cp_key_read_secret(const char *text, CpKey *key)
{
	memset(key, 0, sizeof(*key));
	key->secret = decode(text, strlen(text), &key->secret_len);
	return key->secret != NULL;
}

/* The bytes of a member in base64url. */
static uint8 *
member_bytes(CpJson jwk, const char *name, int *len)
{
	CpJson		value;

	if (!cp_json_get(jwk, name, &value) || value.len < 2 || *value.start != '"')
		return NULL;
	return decode(value.start + 1, value.len - 2, len);
}

static bool
member_is(CpJson jwk, const char *name, const char *wanted)
{
	CpJson		value;
	char		text[64];

	return cp_json_get(jwk, name, &value) &&
		cp_json_string(value, text, sizeof(text)) >= 0 && strcmp(text, wanted) == 0;
}

/* From parameters that are named in OpenSSL's way. */
static EVP_PKEY *
build(const char *type, OSSL_PARAM_BLD *builder)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY   *key = NULL;

	if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return key;
}

/* An exponent of 1 makes every signature right. */
static EVP_PKEY *
rsa_key(CpJson jwk)
{
	int			n_len = 0;
	int			e_len = 0;
	uint8	   *n_bytes = member_bytes(jwk, "n", &n_len);
	uint8	   *e_bytes = member_bytes(jwk, "e", &e_len);
	BIGNUM	   *n = n_bytes ? BN_bin2bn(n_bytes, n_len, NULL) : NULL;
	BIGNUM	   *e = e_bytes ? BN_bin2bn(e_bytes, e_len, NULL) : NULL;
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY   *key = NULL;

	if (builder != NULL && n != NULL && e != NULL &&
		BN_is_odd(n) && BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= 64 &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		key = build("RSA", builder);
	OSSL_PARAM_BLD_free(builder);
	BN_free(n);
	BN_free(e);
	OPENSSL_free(n_bytes);
	OPENSSL_free(e_bytes);
	return key;
}

static EVP_PKEY *
ec_key(CpJson jwk, const CpAlgorithm *algorithm)
{
	int			size = algorithm->coordinate_bytes;
	int			x_len = 0;
	int			y_len = 0;
	uint8	   *x = member_bytes(jwk, "x", &x_len);
	uint8	   *y = member_bytes(jwk, "y", &y_len);
	uint8		point[1 + 2 * 66] = {0x04}; /* uncompressed */
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY   *key = NULL;

	if (builder != NULL && x != NULL && y != NULL && x_len == size && y_len == size)
	{
		memcpy(point + 1, x, size);
		memcpy(point + 1 + size, y, size);
		if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME,
											algorithm->curve, 0) == 1 &&
			OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY,
											 point, 1 + 2 * size) == 1)
			key = build("EC", builder);
	}
	OSSL_PARAM_BLD_free(builder);
	OPENSSL_free(x);
	OPENSSL_free(y);
	return key;
}

static EVP_PKEY *
okp_key(CpJson jwk)
{
	int			len = 0;
	uint8	   *x = member_bytes(jwk, "x", &len);
	EVP_PKEY   *key = NULL;

	if (x != NULL && len == 32)
		key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, len);
	OPENSSL_free(x);
	return key;
}

/* Is the key for verifying, as far as it says (RFC 7517, section 4.2, 4.3)? */
static bool
is_for_verifying(CpJson jwk)
{
	CpJson		operations;
	CpJson		name;
	CpJson		operation;
	const char *position = NULL;
	char		text[16];

	if (cp_json_get(jwk, "use", &operations) && !member_is(jwk, "use", "sig"))
		return false;
	if (!cp_json_get(jwk, "key_ops", &operations))
		return true;
	if (*operations.start != '[')
		return false;
	while (cp_json_next(operations, &position, &name, &operation))
	{
		if (cp_json_string(operation, text, sizeof(text)) >= 0 && strcmp(text, "verify") == 0)
			return true;
	}
	return false;
}

static bool
read_jwk(CpJson jwk, CpKey *key)
{
	CpJson		value;
	char		text[64];

	memset(key, 0, sizeof(*key));
	if (*jwk.start != '{' || !is_for_verifying(jwk) || cp_json_get(jwk, "d", &value))
		return false;
	if (cp_json_get(jwk, "kid", &value) && cp_json_string(value, key->kid, sizeof(key->kid)) < 0)
		return false;
	if (cp_json_get(jwk, "alg", &value) &&
		(cp_json_string(value, text, sizeof(text)) < 0 || (key->only = cp_algorithm(text)) == NULL))
		return false;

	if (member_is(jwk, "kty", "RSA"))
		key->pkey = rsa_key(jwk);
	else if (member_is(jwk, "kty", "oct"))
		key->secret = member_bytes(jwk, "k", &key->secret_len);
	else if (member_is(jwk, "kty", "OKP") && member_is(jwk, "crv", "Ed25519"))
		key->pkey = okp_key(jwk);
	else if (member_is(jwk, "kty", "EC") && member_is(jwk, "crv", "P-256"))
		key->pkey = ec_key(jwk, cp_algorithm("ES256"));
	else if (member_is(jwk, "kty", "EC") && member_is(jwk, "crv", "P-384"))
		key->pkey = ec_key(jwk, cp_algorithm("ES384"));
	else if (member_is(jwk, "kty", "EC") && member_is(jwk, "crv", "P-521"))
		key->pkey = ec_key(jwk, cp_algorithm("ES512"));
	ERR_clear_error();
	return key->pkey != NULL || key->secret != NULL;
}

/*
 * Reads a JWK set, or one JWK.  Keys that cannot be used here are left out: a
 * set may have keys for others.  Returns their number, -1 for what is no set.
 */
int
cp_keys_read_set(const char *text, CpKey *keys, int size)
{
	CpJson		set = {text, strlen(text)};
	CpJson		list;
	CpJson		name;
	CpJson		jwk;
	const char *position = NULL;
	int			count = 0;

	if (!cp_json_valid(set.start, set.len))
		return -1;
	while (*set.start != '{')
	{
		set.start++;
		set.len--;
	}
	if (cp_json_get(set, "kty", &list))
		return read_jwk(set, &keys[0]) ? 1 : 0;
	if (!cp_json_get(set, "keys", &list) || *list.start != '[')
		return -1;
	while (count < size && cp_json_next(list, &position, &name, &jwk))
	{
		if (read_jwk(jwk, &keys[count]))
			count++;
		else
			cp_key_free(&keys[count]);
	}
	return count;
}
