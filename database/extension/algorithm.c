/*
 * algorithm.c
 *		Signatures, and which key may be used for which (RFC 7518, section 3).
 */
#include "jose.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#define CP_MIN_RSA_BITS 2048	/* RFC 7518, section 3.3 */
#define CP_MAX_RSA_BITS 8192	/* a larger key only costs time */
#define CP_MIN_SECRET 32
#define CP_MAX_SIGNATURE 1024

static const CpAlgorithm algorithms[] = {
	{"HS256", CP_HMAC, "SHA256", 32, NULL, 0},
	{"HS384", CP_HMAC, "SHA384", 48, NULL, 0},
	{"HS512", CP_HMAC, "SHA512", 64, NULL, 0},
	{"RS256", CP_RSA, "SHA256", 32, NULL, 0},
	{"RS384", CP_RSA, "SHA384", 48, NULL, 0},
	{"RS512", CP_RSA, "SHA512", 64, NULL, 0},
	{"PS256", CP_RSA_PSS, "SHA256", 32, NULL, 0},
	{"PS384", CP_RSA_PSS, "SHA384", 48, NULL, 0},
	{"PS512", CP_RSA_PSS, "SHA512", 64, NULL, 0},
	{"ES256", CP_ECDSA, "SHA256", 32, "prime256v1", 32},
	{"ES384", CP_ECDSA, "SHA384", 48, "secp384r1", 48},
	{"ES512", CP_ECDSA, "SHA512", 64, "secp521r1", 66},
	{"EdDSA", CP_EDDSA, NULL, 0, NULL, 0},
	{"Ed25519", CP_EDDSA, NULL, 0, NULL, 0}
};

const CpAlgorithm *
cp_algorithm(const char *name)
{
	for (int i = 0; i < lengthof(algorithms); i++)
	{
		if (strcmp(algorithms[i].name, name) == 0)
			return &algorithms[i];
	}
	return NULL;
}

/*
 * May this key be used with this algorithm?  The key decides, never the token:
 * that is what keeps a public key from being taken for an HMAC secret.
 */
bool
cp_key_fits(const CpKey *key, const CpAlgorithm *algorithm)
{
	char		curve[64];
	size_t		len;

	if (key->only != NULL && key->only->family == CP_EDDSA)
	{
		if (algorithm->family != CP_EDDSA)
			return false;
	}
	else if (key->only != NULL && key->only != algorithm)
		return false;
	if (algorithm->family == CP_HMAC)
		return key->secret != NULL &&
			key->secret_len >= Max(CP_MIN_SECRET, algorithm->digest_bytes);
	if (key->pkey == NULL)
		return false;
	switch (algorithm->family)
	{
		case CP_RSA:
		case CP_RSA_PSS:
			return EVP_PKEY_get_base_id(key->pkey) == EVP_PKEY_RSA &&
				EVP_PKEY_get_bits(key->pkey) >= CP_MIN_RSA_BITS &&
				EVP_PKEY_get_bits(key->pkey) <= CP_MAX_RSA_BITS;
		case CP_ECDSA:
			return EVP_PKEY_get_base_id(key->pkey) == EVP_PKEY_EC &&
				EVP_PKEY_get_group_name(key->pkey, curve, sizeof(curve), &len) == 1 &&
				strcmp(curve, algorithm->curve) == 0;
		case CP_EDDSA:
			return EVP_PKEY_get_base_id(key->pkey) == EVP_PKEY_ED25519;
		default:
			return false;
	}
}

/* R and S, each of the curve's length (RFC 7518, section 3.4), to DER. */
static int
concatenated_to_der(const CpAlgorithm *algorithm, const uint8 *in, uint8 *der)
{
	ECDSA_SIG  *pair = ECDSA_SIG_new();
	BIGNUM	   *r = BN_bin2bn(in, algorithm->coordinate_bytes, NULL);
	BIGNUM	   *s = BN_bin2bn(in + algorithm->coordinate_bytes, algorithm->coordinate_bytes, NULL);
	int			len = 0;

	if (pair != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1)
	{
		r = s = NULL;			/* the pair has them now */
		if (i2d_ECDSA_SIG(pair, NULL) <= CP_MAX_SIGNATURE)
			len = i2d_ECDSA_SIG(pair, &der);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(pair);
	return len;
}

static int
der_to_concatenated(const CpAlgorithm *algorithm, const uint8 *der, int len, uint8 *out)
{
	ECDSA_SIG  *pair = d2i_ECDSA_SIG(NULL, &der, len);
	int			size = algorithm->coordinate_bytes;
	bool		ok;

	ok = pair != NULL &&
		BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, size) == size &&
		BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + size, size) == size;
	ECDSA_SIG_free(pair);
	return ok ? 2 * size : 0;
}

static bool
hmac(const CpKey *key, const CpAlgorithm *algorithm, const char *bytes, int len, uint8 *mac)
{
	size_t		mac_len = 0;

	return EVP_Q_mac(NULL, "HMAC", NULL, algorithm->digest, NULL, key->secret, key->secret_len,
					 (const unsigned char *) bytes, len, mac, CP_MAX_SIGNATURE, &mac_len) != NULL &&
		mac_len == (size_t) algorithm->digest_bytes;
}

/* The salt is as long as the digest (RFC 7518, section 3.5). */
static bool
set_padding(EVP_PKEY_CTX *ctx, const CpAlgorithm *algorithm)
{
	if (algorithm->family == CP_RSA)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
	if (algorithm->family == CP_RSA_PSS)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
			EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
	return true;
}

bool
cp_signature_verify(const CpKey *key, const CpAlgorithm *algorithm, const char *bytes, int len,
					const uint8 *signature, int signature_len)
{
	uint8		buffer[CP_MAX_SIGNATURE];
	EVP_MD_CTX *md;
	EVP_PKEY_CTX *ctx;
	bool		ok;

	if (!cp_key_fits(key, algorithm) || signature_len > CP_MAX_SIGNATURE)
		return false;
	if (algorithm->family == CP_HMAC)
		return hmac(key, algorithm, bytes, len, buffer) &&
			signature_len == algorithm->digest_bytes &&
			CRYPTO_memcmp(buffer, signature, signature_len) == 0;

	/*
	 * jwt_context signed with DER.  A DER signature of the length of R and S
	 * would need both of them to be tens of bits short: it is not missed.
	 */
	if (algorithm->family == CP_ECDSA && signature_len == 2 * algorithm->coordinate_bytes)
	{
		signature_len = concatenated_to_der(algorithm, signature, buffer);
		signature = buffer;
		if (signature_len <= 0)
			return false;
	}
	md = EVP_MD_CTX_new();
	ok = md != NULL &&
		EVP_DigestVerifyInit_ex(md, &ctx, algorithm->digest, NULL, NULL, key->pkey, NULL) == 1 &&
		set_padding(ctx, algorithm) &&
		EVP_DigestVerify(md, signature, signature_len, (const unsigned char *) bytes, len) == 1;
	EVP_MD_CTX_free(md);
	return ok;
}

/* Returns the length of the signature, 0 for failure. */
int
cp_signature_make(const CpKey *key, const CpAlgorithm *algorithm, const char *bytes, int len,
				  uint8 *signature, int size)
{
	uint8		der[CP_MAX_SIGNATURE];
	size_t		der_len = sizeof(der);
	EVP_MD_CTX *md;
	EVP_PKEY_CTX *ctx;
	bool		ok;

	if (!cp_key_fits(key, algorithm) || size < CP_MAX_SIGNATURE)
		return 0;
	if (algorithm->family == CP_HMAC)
		return hmac(key, algorithm, bytes, len, signature) ? algorithm->digest_bytes : 0;

	md = EVP_MD_CTX_new();
	ok = md != NULL &&
		EVP_DigestSignInit_ex(md, &ctx, algorithm->digest, NULL, NULL, key->pkey, NULL) == 1 &&
		set_padding(ctx, algorithm) &&
		EVP_DigestSign(md, der, &der_len, (const unsigned char *) bytes, len) == 1;
	EVP_MD_CTX_free(md);
	if (!ok)
		return 0;
	if (algorithm->family == CP_ECDSA)
		return der_to_concatenated(algorithm, der, der_len, signature);
	memcpy(signature, der, der_len);
	return der_len;
}
