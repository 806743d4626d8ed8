/*
 * crypto.c
 *		The few primitives of the native dialect, on OpenSSL 3.
 *
 * Nothing here raises an error or allocates in a memory context, so that no
 * OpenSSL object can be lost to a longjmp.
 */
#include "claimpool.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

/* New X25519 key pair (RFC 7748, section 6.1). */
bool
cp_x25519_generate(uint8 *private_key, uint8 *public_key)
{
	EVP_PKEY   *pair = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	size_t		private_len = CP_KEY_BYTES;
	size_t		public_len = CP_KEY_BYTES;
	bool		ok;

	ok = pair != NULL &&
		EVP_PKEY_get_raw_private_key(pair, private_key, &private_len) == 1 &&
		EVP_PKEY_get_raw_public_key(pair, public_key, &public_len) == 1 &&
		private_len == CP_KEY_BYTES && public_len == CP_KEY_BYTES;
	EVP_PKEY_free(pair);
	return ok;
}

/*
 * The shared secret of two X25519 keys.  Fails for a peer of small order, whose
 * secret would be all zeros (RFC 7748, section 6.1).
 */
bool
cp_x25519(const uint8 *private_key, const uint8 *peer, uint8 *secret)
{
	EVP_PKEY   *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
												   private_key, CP_KEY_BYTES);
	EVP_PKEY   *other = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL,
													peer, CP_KEY_BYTES);
	EVP_PKEY_CTX *ctx = own ? EVP_PKEY_CTX_new(own, NULL) : NULL;
	static const uint8 zeros[CP_KEY_BYTES] = {0};
	size_t		len = CP_KEY_BYTES;
	bool		ok;

	ok = ctx != NULL && other != NULL &&
		EVP_PKEY_derive_init(ctx) == 1 &&
		EVP_PKEY_derive_set_peer(ctx, other) == 1 &&
		EVP_PKEY_derive(ctx, secret, &len) == 1 &&
		len == CP_KEY_BYTES && !cp_equal(secret, zeros, CP_KEY_BYTES);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(other);
	EVP_PKEY_free(own);
	return ok;
}

/* HKDF with SHA-256, 32 bytes out (RFC 5869). */
bool
cp_hkdf_sha256(const uint8 *salt, int salt_len, const uint8 *ikm, int ikm_len,
			   const uint8 *info, int info_len, uint8 *key)
{
	EVP_KDF    *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	OSSL_PARAM	params[5];
	bool		ok;

	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, "SHA256", 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *) ikm, ikm_len);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *) salt, salt_len);
	params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *) info, info_len);
	params[4] = OSSL_PARAM_construct_end();

	ok = ctx != NULL && EVP_KDF_derive(ctx, key, CP_KEY_BYTES, params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok;
}

/* Equal in constant time: the length is no secret, the bytes are. */
bool
cp_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

/*
 * Overwrites a secret in a way that no compiler removes.  OpenSSL has the like,
 * at three times the price for what a hand-over wipes.
 */
void
cp_wipe(void *bytes, size_t len)
{
	explicit_bzero(bytes, len);
}
