/*
 * recipient.c
 *		The private keys that open encrypted tokens: a JWK set, one JWK, or PEM
 *		blocks one behind the other.
 *
 * The type of a key says what it is used for, RSA for RSA-OAEP-256 and a curve
 * for ECDH-ES; a key that says something else about itself is left out.
 */
#include "jose.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#define CP_MIN_RSA_BITS 2048	/* RFC 7518, section 4.3 */
#define CP_MAX_RSA_BITS 4096	/* 5 ms for each token that anybody sends; 8192 bits are 40 */
#define CP_MAX_PEM_BLOCKS 64	/* of keys, usable or not */

static bool
is_usable(const EVP_PKEY *key)
{
	char		curve[64];
	size_t		len;

	switch (EVP_PKEY_get_base_id(key))
	{
		case EVP_PKEY_RSA:
			return EVP_PKEY_get_bits(key) >= CP_MIN_RSA_BITS &&
				EVP_PKEY_get_bits(key) <= CP_MAX_RSA_BITS;
		case EVP_PKEY_EC:
			return EVP_PKEY_get_group_name(key, curve, sizeof(curve), &len) == 1 &&
				(strcmp(curve, "prime256v1") == 0 || strcmp(curve, "secp384r1") == 0 ||
				 strcmp(curve, "secp521r1") == 0);
		case EVP_PKEY_X25519:
			return true;
		default:
			return false;
	}
}

static bool
has_algorithm(CpJson jwk, const char *algorithm)
{
	CpJson		value;

	return !cp_json_get(jwk, "alg", &value) || cp_jwk_is(jwk, "alg", algorithm);
}

static bool
read_jwk(CpJson jwk, CpKey *key)
{
	memset(key, 0, sizeof(*key));
	if (*jwk.start != '{' || !cp_jwk_kid(jwk, key))
		return false;
	if (cp_jwk_is(jwk, "kty", "RSA"))
	{
		if (has_algorithm(jwk, "RSA-OAEP-256") && cp_jwk_is_for(jwk, "enc", "decrypt", "unwrapKey"))
			key->pkey = cp_jwk_rsa(jwk, true);
	}
	else if (has_algorithm(jwk, "ECDH-ES") && cp_jwk_is_for(jwk, "enc", "deriveKey", "deriveBits"))
	{
		if (cp_jwk_is(jwk, "kty", "EC"))
			key->pkey = cp_jwk_ec(jwk, true);
		else if (cp_jwk_is(jwk, "kty", "OKP") && cp_jwk_is(jwk, "crv", "X25519"))
			key->pkey = cp_jwk_okp(jwk, true, EVP_PKEY_X25519);
	}
	if (key->pkey == NULL || is_usable(key->pkey))
		return key->pkey != NULL;
	cp_key_free(key);
	return false;
}

/* Never asks anybody for the password of an encrypted key. */
static int
no_password(char *buf, int size, int rwflag, void *u)
{
	return -1;
}

/* PEM has no place for a kid: such a key is tried for every token. */
static int
read_pem(const char *text, CpKey *keys, int size)
{
	BIO		   *bio = BIO_new_mem_buf(text, -1);
	int			count = 0;

	for (int i = 0; bio != NULL && i < CP_MAX_PEM_BLOCKS; i++)
	{
		EVP_PKEY   *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);

		if (key == NULL)
			break;
		if (!is_usable(key))
			EVP_PKEY_free(key);
		else if (count < size)
		{
			memset(&keys[count], 0, sizeof(CpKey));
			keys[count++].pkey = key;
		}
		else
		{
			EVP_PKEY_free(key);
			count = cp_keys_too_many(keys, count);
			break;
		}
	}
	BIO_free(bio);
	return count;
}

/* Returns the number of keys, -1 for what is neither PEM nor a JWK set, CP_TOO_MANY_KEYS. */
int
cp_recipient_keys_read(const char *text, CpKey *keys, int size)
{
	int			count = text[strspn(text, " \t\r\n")] == '{' ?
		cp_jwk_set_read(text, read_jwk, keys, size) : read_pem(text, keys, size);

	ERR_clear_error();
	return count;
}
