/*
 * fuzz.c
 *		Feeds broken tokens, keys and grants to the files that read them, under
 *		the address and undefined-behaviour sanitizers.
 *
 *		fuzz RUNS [SEED]
 *
 * Each run takes a sample, damages it a few times, and reads it. A signed
 * sample that was damaged must not verify: that is checked too.
 */
#include "claimpool.h"
#include "jose.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#define SAMPLE_MAX 8192

/* The server has its own of these, which are not linked here. */
#undef snprintf
#undef printf

/* The two functions of the server that are used. */
int
pg_strcasecmp(const char *a, const char *b)
{
	return strcasecmp(a, b);
}

int
pg_strncasecmp(const char *a, const char *b, size_t n)
{
	return strncasecmp(a, b, n);
}

static uint64 state;

static uint32
number(uint32 below)
{
	state = state * UINT64CONST(6364136223846793005) + UINT64CONST(1442695040888963407);
	return (uint32) (state >> 33) % below;
}

static const char *const pieces[] = {
	"{", "}", "[", "]", "\"", "\\", "\\u0000", "\\ud800", "\\udc00", ":", ",", ".", "..", "eyJ", "e30", "e30.e30.",
	"{\"alg\":\"HS256\"}", "\"alg\"", "\"kid\"", "\"crit\":[\"x\"]", "null", "1e400", "-0", "\xff", "\xc0\x80", "\xf4\x90\x80\x80",
	"=", "+", "/", "-----BEGIN ", "-----END ", "A", "AA", "AAA", "\n", "\"kty\":\"RSA\"", "\"n\":\"", "\"e\":\"AQ\"", "\"k\":\"\"", "0", "18446744073709551616"
};

static int
damage(char *text, int len)
{
	const char *piece;
	int			at = number(len + 1);
	int			n;

	switch (number(6))
	{
		case 0:
			if (len > 0)
				text[at % len] ^= 1 << number(8);
			return len;
		case 1:
			if (len > 0)
				text[at % len] = number(256);
			return len;
		case 2:					/* cut out */
			n = number(len - at + 1);
			memmove(text + at, text + at + n, len - at - n);
			return len - n;
		case 3:					/* cut off */
			return at;
		case 4:					/* repeat */
			n = number(Min(len - at, 200) + 1);
			if (len + n >= SAMPLE_MAX)
				return len;
			memmove(text + at + n, text + at, len - at);
			return len + n;
		default:
			piece = pieces[number(lengthof(pieces))];
			n = strlen(piece);
			if (len + n >= SAMPLE_MAX)
				return len;
			memmove(text + at + n, text + at, len - at);
			memcpy(text + at, piece, n);
			return len + n;
	}
}

static char *samples[32];
static int	sample_count = 0;
static CpKey keys[8];
static int	key_count = 0;

/* A token for each kind of key, and the keys in their forms. */
static void
add_token(const CpKey *key, const char *name)
{
	char		text[4096];
	char		header[64];
	static const char payload[] = "{\"iss\":\"me\",\"cnf\":{\"addr\":[\"local\"],\"role\":\"me\",\"pid\":7,\"start\":1e3},\"aud\":[\"x\",\"db\"],\"exp\":4102444800,\"o\":{\"a\":[1,2.5e3,\"\\u00e9\"]}}";
	uint8		signature[1024];
	int			len;
	int			signature_len;

	snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"k\",\"typ\":\"JWT\"}", name);
	len = cp_base64url_encode((const uint8 *) header, strlen(header), text);
	text[len++] = '.';
	len += cp_base64url_encode((const uint8 *) payload, strlen(payload), text + len);
	signature_len = cp_signature_make(key, cp_algorithm(name), text, len, signature, sizeof(signature));
	if (signature_len <= 0)
		abort();
	text[len++] = '.';
	cp_base64url_encode(signature, signature_len, text + len);
	samples[sample_count++] = strdup(text);
}

static void
add_key(const char *name, EVP_PKEY *pkey)
{
	BIO		   *bio = BIO_new(BIO_s_mem());
	unsigned char *der = NULL;
	int			len = i2d_PUBKEY(pkey, &der);
	char		text[4096];
	char	   *data;

	memset(&keys[key_count], 0, sizeof(CpKey));
	keys[key_count].pkey = pkey;
	add_token(&keys[key_count++], name);
	cp_base64url_encode(der, len, text);
	samples[sample_count++] = strdup(text);
	if (PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) != 1)
		abort();
	len = BIO_get_mem_data(bio, &data);
	samples[sample_count++] = strndup(data, len);
	OPENSSL_free(der);
	BIO_free(bio);
}

static void
make_samples(void)
{
	memset(&keys[0], 0, sizeof(CpKey));
	keys[0].secret = OPENSSL_zalloc(64);
	keys[0].secret_len = 64;
	key_count = 1;
	add_token(&keys[0], "HS256");
	add_token(&keys[0], "HS512");
	add_key("ES256", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "prime256v1"));
	add_key("ES512", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp521r1"));
	add_key("EdDSA", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
	add_key("PS256", EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048));
	samples[sample_count++] = strdup("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\",\"use\":\"sig\",\"key_ops\":[\"verify\"],"
									 "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
									 "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},"
									 "{\"kty\":\"RSA\",\"alg\":\"RS256\",\"n\":\"AQAB\",\"e\":\"AQAB\"},{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qz\"}]}");
	/* a grant: version, flags, kid, counter, expiry, identity, claims, MAC */
	samples[sample_count++] = strdup("\x01\x01\x02k1........""00000000""IIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII{}MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM");
}

static void
read_token(const char *text, bool changed)
{
	CpRules		rules = {"me", "db", "JWT", 5, 100, true, 1000, {"local", "me", 7, 1000}};
	CpToken		token;
	double		expires;
	bool		tried;

	if (cp_token_parse(text, &token) != NULL)
		return;
	if (cp_token_verify(&token, keys, key_count, &tried) && changed)
	{
		printf("a changed token verifies: %s\n", text);
		abort();
	}
	(void) cp_token_check(&token, &rules, &expires);
	cp_token_free(&token);
}

static void
read_keys(const char *text)
{
	CpKey		found[CP_MAX_KEYS];
	int			count = cp_keys_read_set(text, found, CP_MAX_KEYS);

	for (int i = 0; i < count; i++)
		cp_key_free(&found[i]);
	cp_key_read_public(text, &found[0]);
	cp_key_free(&found[0]);
	cp_key_read_private(text, &found[0]);
	cp_key_free(&found[0]);
	cp_key_read_secret(text, &found[0]);
	cp_key_free(&found[0]);
}

static bool
is_key(const char *sample)
{
	return strchr(sample, '.') == NULL;
}

/* Keys are read a hundred times slower than tokens: fewer of them. */
static const char *
pick(void)
{
	const char *sample;

	do
		sample = samples[number(sample_count)];
	while (is_key(sample) && number(8) != 0);
	return sample;
}

int
main(int argc, char **argv)
{
	long		runs = argc > 1 ? atol(argv[1]) : 100000;
	uint64		seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64) time(NULL);

	state = seed;
	make_samples();
	for (long run = 0; run < runs; run++)
	{
		char		damaged[SAMPLE_MAX];
		const char *sample = pick();
		int			len = strlen(sample);
		char	   *text;		/* exactly as long as it is, for the sanitizer */
		CpGrant		grant;

		memcpy(damaged, sample, len);
		for (int i = number(4); i >= 0; i--)
			len = damage(damaged, len);
		text = malloc(len + 1);
		memcpy(text, damaged, len);
		text[len] = '\0';
		(void) cp_grant_parse((const uint8 *) text, len, &grant);
		(void) cp_json_valid(text, len);
		read_token(text, strcmp(text, sample) != 0);
		if (is_key(sample) || number(50) == 0)
			read_keys(text);
		free(text);
	}
	printf("%ld runs, seed %llu: nothing found\n", runs, (unsigned long long) seed);
	for (int i = 0; i < key_count; i++)
		cp_key_free(&keys[i]);
	for (int i = 0; i < sample_count; i++)
		free(samples[i]);
	return 0;
}
