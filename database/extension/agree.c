/*
 * agree.c
 *		How the key of an encrypted token is found, and the token opened: key
 *		agreement and key encryption of RFC 7518, section 4; A256GCM, section 5.
 */
#include "jose.h"

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "port/pg_bswap.h"

#define CP_MAX_MODULUS 1024		/* bytes */

/*
 * Z, the secret that two keys of one curve share (RFC 7518, section 4.6; RFC
 * 8037, section 3.2).  Returns its length, 0 for failure.
 *
 * OpenSSL looks whether the peer's point is on the curve, when it is made and
 * again here; and refuses points of X25519 that give zeros.
 */
int
cp_agree(EVP_PKEY *own, EVP_PKEY *peer, uint8 *shared)
{
	static const uint8 zeros[CP_MAX_SHARED] = {0};
	EVP_PKEY_CTX *ctx;
	size_t		len = CP_MAX_SHARED;
	bool		ok;

	if (EVP_PKEY_get_base_id(own) != EVP_PKEY_get_base_id(peer))
		return 0;
	if (EVP_PKEY_get_base_id(own) == EVP_PKEY_EC && EVP_PKEY_parameters_eq(own, peer) != 1)
		return 0;
	ctx = EVP_PKEY_CTX_new(own, NULL);
	ok = ctx != NULL &&
		EVP_PKEY_derive_init(ctx) == 1 &&
		EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
		EVP_PKEY_derive(ctx, shared, &len) == 1 &&
		len > 0 && len <= CP_MAX_SHARED && CRYPTO_memcmp(shared, zeros, len) != 0;
	EVP_PKEY_CTX_free(ctx);
	return ok ? (int) len : 0;
}

static bool
put_counted(EVP_MD_CTX *md, const void *bytes, int len)
{
	uint32		count = pg_hton32(len);

	return EVP_DigestUpdate(md, &count, sizeof(count)) == 1 &&
		(len == 0 || EVP_DigestUpdate(md, bytes, len) == 1);
}

/*
 * The Concat KDF with SHA-256 (RFC 7518, section 4.6.2), for keys that one round
 * gives: 32 bytes at the most.
 */
bool
cp_concat_kdf(CpBytes shared, const char *algorithm, CpBytes apu, CpBytes apv,
			  uint8 *key, int key_len)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8		digest[EVP_MAX_MD_SIZE];
	uint32		round = pg_hton32(1);
	uint32		bits = pg_hton32(key_len * 8);
	bool		ok;

	ok = md != NULL && key_len <= 32 &&
		EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
		EVP_DigestUpdate(md, &round, sizeof(round)) == 1 &&
		EVP_DigestUpdate(md, shared.start, shared.len) == 1 &&
		put_counted(md, algorithm, strlen(algorithm)) &&
		put_counted(md, apu.start, apu.len) &&
		put_counted(md, apv.start, apv.len) &&
		EVP_DigestUpdate(md, &bits, sizeof(bits)) == 1 &&
		EVP_DigestFinal_ex(md, digest, NULL) == 1;
	if (ok)
		memcpy(key, digest, key_len);
	OPENSSL_cleanse(digest, sizeof(digest));
	EVP_MD_CTX_free(md);
	return ok;
}

/*
 * The content key, encrypted with RSA-OAEP-256.  Where that cannot be decrypted
 * the key is a random one, which opens nothing: so neither an answer nor its
 * time tells a sender what was wrong (RFC 7516, section 11.5).  False: there is
 * no key at all, whatever was sent.
 */
bool
cp_oaep_open(EVP_PKEY *own, CpBytes encrypted, uint8 *key)
{
	uint8		decrypted[CP_MAX_MODULUS] = {0};
	size_t		len = sizeof(decrypted);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
	uint8		good;
	bool		ready;

	ready = ctx != NULL && EVP_PKEY_get_size(own) <= CP_MAX_MODULUS &&
		RAND_priv_bytes(key, CP_CONTENT_KEY_BYTES) == 1 &&
		EVP_PKEY_decrypt_init(ctx) == 1 &&
		EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
		EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1 &&
		EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1;
	if (ready)
	{
		/* The length is public; only what is inside is not. */
		good = encrypted.len == EVP_PKEY_get_size(own) &&
			EVP_PKEY_decrypt(ctx, decrypted, &len, encrypted.start, encrypted.len) == 1;
		good = (uint8) -(good & (len == CP_CONTENT_KEY_BYTES));
		for (int i = 0; i < CP_CONTENT_KEY_BYTES; i++)
			key[i] = (key[i] & ~good) | (decrypted[i] & good);
	}
	OPENSSL_cleanse(decrypted, sizeof(decrypted));
	EVP_PKEY_CTX_free(ctx);
	return ready;
}

/*
 * A256GCM.  plaintext has the ciphertext's length; what is in it after a failure
 * is of no meaning, and is the caller's to wipe.
 */
bool
cp_gcm_open(const uint8 *key, CpBytes iv, CpBytes authenticated, CpBytes ciphertext,
			CpBytes tag, uint8 *plaintext)
{
	EVP_CIPHER_CTX *ctx;
	int			len = 0;
	int			more = 0;
	bool		ok;

	if (iv.len != CP_IV_BYTES || tag.len != CP_TAG_BYTES)
		return false;
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx != NULL &&
		EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, iv.start) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, tag.len, (void *) tag.start) == 1 &&
		EVP_DecryptUpdate(ctx, NULL, &len, authenticated.start, authenticated.len) == 1 &&
		EVP_DecryptUpdate(ctx, plaintext, &len, ciphertext.start, ciphertext.len) == 1 &&
		EVP_DecryptFinal_ex(ctx, plaintext + len, &more) == 1 &&
		len + more == ciphertext.len;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}
