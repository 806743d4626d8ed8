/*
 * mac.c
 *		What others say a MAC must be: RFC 4231, and OpenSSL's own HMAC.
 */
#include "claimpool.h"
#include "mac.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#undef fprintf

static void
must(bool ok, const char *what, int number)
{
	if (ok)
		return;
	fprintf(stderr, "MAC: %s %d\n", what, number);
	abort();
}

/* Takes the right MAC and none that has one bit of it wrong. */
static void
check(const uint8 *key, const uint8 *bytes, int len, const uint8 *right, const char *what, int number)
{
	CpMac	   *mac = cp_mac_new(key);
	uint8		wrong[CP_KEY_BYTES];

	for (int i = 0; i < 2; i++) /* the state must be what it was */
		must(cp_mac_verify(mac, bytes, len, right), what, number);
	for (int bit = 0; bit < 8 * CP_KEY_BYTES; bit++)
	{
		memcpy(wrong, right, sizeof(wrong));
		wrong[bit / 8] ^= 1 << bit % 8;
		must(!cp_mac_verify(mac, bytes, len, wrong), "takes a wrong bit,", bit);
	}
	cp_mac_free(mac);
}

/* RFC 4231, sections 4.2 to 4.5: a key is filled up with zeros, so these are keys of 32 bytes too. */
static const struct
{
	const char *key;
	const char *data;
	const char *mac;
}			answers[] = {
	{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
	{"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
	{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"dddddddddddddddddddddddddddddddddddddddddddddddddd"
		"dddddddddddddddddddddddddddddddddddddddddddddddddd",
	"773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
	{"0102030405060708090a0b0c0d0e0f10111213141516171819",
		"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
		"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	"82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"}
};

static int
from_hex(const char *hex, uint8 *bytes)
{
	int			n = 0;

	for (; hex[2 * n] != '\0'; n++)
	{
		unsigned	value;

		must(sscanf(hex + 2 * n, "%2x", &value) == 1, "no hexadecimal digits at", n);
		bytes[n] = value;
	}
	return n;
}

void
mac_known_answers(void)
{
	uint8		bytes[300];
	uint8		key[CP_KEY_BYTES];
	uint8		mac[CP_KEY_BYTES];

	for (int i = 0; i < lengthof(answers); i++)
	{
		memset(key, 0, sizeof(key));
		from_hex(answers[i].key, key);
		must(from_hex(answers[i].mac, mac) == sizeof(mac), "length of answer", i);
		check(key, bytes, from_hex(answers[i].data, bytes), mac, "RFC 4231, test case", i + 1);
	}
	for (int i = 0; i < sizeof(bytes); i++)
		bytes[i] = 7 * i;
	for (int len = 0; len <= sizeof(bytes); len++)	/* over the edges of blocks */
	{
		for (int i = 0; i < CP_KEY_BYTES; i++)
			key[i] = len ^ 31 * i;
		must(HMAC(EVP_sha256(), key, sizeof(key), bytes, len, mac, NULL) != NULL, "no HMAC of length", len);
		check(key, bytes, len, mac, "OpenSSL's for length", len);
	}
	must(!cp_mac_verify(NULL, bytes, 1, mac), "without a key", 0);
}
