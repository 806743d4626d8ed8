/*
 * mac.c
 *		The HMAC-SHA256 of a hand-over (RFC 2104), on OpenSSL's SHA-256 itself.
 *
 * OpenSSL 3 calls these functions deprecated, in favour of EVP_MAC.  That does
 * the same work behind five layers, which copy and free three contexts for each
 * message: 3.6 µs where the caches are cold, which they are in a server with
 * other things to do, against 0.7.  This is the only check on the way of every
 * hand-over, so it is the one place where the difference counts.
 *
 * Nothing here raises an error or allocates in a memory context.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "claimpool.h"

#include <openssl/sha.h>

/* The key, as far as it can be worked out: both hashes after their first block. */
struct CpMac
{
	SHA256_CTX	inner;
	SHA256_CTX	outer;
};

static bool
begin(SHA256_CTX *hash, const uint8 *key, uint8 pad)
{
	uint8		block[SHA256_CBLOCK];
	bool		ok;

	for (int i = 0; i < SHA256_CBLOCK; i++)
		block[i] = pad ^ (i < CP_KEY_BYTES ? key[i] : 0);
	ok = SHA256_Init(hash) == 1 && SHA256_Update(hash, block, sizeof(block)) == 1;
	cp_wipe(block, sizeof(block));
	return ok;
}

/* NULL where there is no memory. */
CpMac *
cp_mac_new(const uint8 *key)
{
	CpMac	   *mac = malloc(sizeof(CpMac));

	if (mac != NULL && begin(&mac->inner, key, 0x36) && begin(&mac->outer, key, 0x5c))
		return mac;
	cp_mac_free(mac);
	return NULL;
}

/* Ends a hash that goes on from a state, which stays what it was. */
static bool
finish(const SHA256_CTX *from, const uint8 *bytes, size_t len, uint8 *digest)
{
	SHA256_CTX	hash = *from;
	bool		ok = SHA256_Update(&hash, bytes, len) == 1 && SHA256_Final(digest, &hash) == 1;

	cp_wipe(&hash, sizeof(hash));
	return ok;
}

/* Compares in constant time; false also when the MAC could not be computed. */
bool
cp_mac_verify(const CpMac *mac, const uint8 *bytes, int len, const uint8 *expected)
{
	uint8		digest[SHA256_DIGEST_LENGTH];

	return mac != NULL &&
		finish(&mac->inner, bytes, len, digest) &&
		finish(&mac->outer, digest, sizeof(digest), digest) &&
		cp_equal(digest, expected, sizeof(digest));
}

void
cp_mac_free(CpMac *mac)
{
	if (mac != NULL)
		cp_wipe(mac, sizeof(CpMac));
	free(mac);
}
