/*
 * fuzz.c
 *		Feeds broken tokens, keys and grants to the files that read them, under
 *		the address and undefined-behaviour sanitizers.
 *
 *		fuzz RUNS [SEED]
 *
 * Each run takes a sample, damages it a few times, and reads it. A signed or
 * encrypted sample that was damaged must not verify: that is checked too. First
 * come the answers that others have published.
 */
#include "claimpool.h"
#include "envelope.h"
#include "mac.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#define SAMPLE_MAX 8192

/* The server has its own of these, which are not linked here. */
#undef snprintf
#undef sprintf
#undef fprintf
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
	"=", "+", "/", "-----BEGIN ", "-----END ", "A", "AA", "AAA", "\n", "\"kty\":\"RSA\"", "\"n\":\"", "\"e\":\"AQ\"", "\"k\":\"\"", "~", "\"d\":\"AQ\"", "\"zip\":\"DEF\"", "\"epk\":{", "0", "18446744073709551616"
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

static char *samples[64];
static int	sample_count = 0;
static CpKey keys[8];
static int	key_count = 0;
static CpKey recipients[8];
static int	recipient_count = 0;

#define NONCE "wQ0uV1mC2o9XJ3B0r4bYk2ZlYw7m5nTq8sHc6dEfGh0"

/* Signs; to be freed. */
static char *
sign(const CpKey *key, const char *name, const char *type, const char *payload)
{
	char	   *text = malloc(4096);
	char		header[64];
	uint8		signature[1024];
	int			len;
	int			signature_len;

	snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"k\",\"typ\":\"%s\"}", name, type);
	len = cp_base64url_encode((const uint8 *) header, strlen(header), text);
	text[len++] = '.';
	len += cp_base64url_encode((const uint8 *) payload, strlen(payload), text + len);
	signature_len = cp_signature_make(key, cp_algorithm(name), text, len, signature, sizeof(signature));
	if (signature_len <= 0)
		abort();
	text[len++] = '.';
	cp_base64url_encode(signature, signature_len, text + len);
	return text;
}

/* A token for each kind of key, and the keys in their forms. */
static void
add_token(const CpKey *key, const char *name)
{
	samples[sample_count++] = sign(key, name, "JWT", "{\"iss\":\"me\",\"cnf\":{\"addr\":[\"local\"],\"role\":\"me\",\"pid\":7,\"start\":1e3},\"aud\":[\"x\",\"db\"],\"exp\":4102444800,\"o\":{\"a\":[1,2.5e3,\"\\u00e9\"]}}");
}

/* A token that names a key, with the answer to a challenge, signed with that key. */
static void
add_answer(const CpKey *key, const char *name)
{
	char		payload[2048];
	char	   *token;
	char	   *answer;
	char		hash[64];
	uint8		digest[32];
	int			len;

	len = sprintf(payload, "{\"iss\":\"me\",\"aud\":\"db\",\"exp\":4102444800,\"cnf\":{\"jwk\":");
	len += envelope_jwk(payload + len, key->pkey, false);
	strcpy(payload + len, "}}");
	token = sign(key, name, "JWT", payload);
	token = realloc(token, 8192);
	strcat(token, "~");
	if (EVP_Digest(token, strlen(token), digest, NULL, EVP_sha256(), NULL) != 1)
		abort();
	cp_base64url_encode(digest, sizeof(digest), hash);
	snprintf(payload, sizeof(payload), "{\"nonce\":\"%s\",\"aud\":[\"db\"],\"iat\":1,\"sd_hash\":\"%s\"}", NONCE, hash);
	answer = sign(key, name, CP_PROOF_TYPE, payload);
	strcat(token, answer);
	free(answer);
	samples[sample_count++] = token;
}

/* A token for a recipient, and the recipient's key. */
static void
add_envelope(EVP_PKEY *pkey)
{
	char		jwk[4096];

	memset(&recipients[recipient_count], 0, sizeof(CpKey));
	strcpy(recipients[recipient_count].kid, "k");
	recipients[recipient_count++].pkey = pkey;
	samples[sample_count++] = envelope_seal(samples[0], pkey);
	envelope_jwk(jwk, pkey, true);
	samples[sample_count++] = strdup(jwk);
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
	add_answer(&keys[1], "ES256");
	add_answer(&keys[4], "PS256");
	add_envelope(EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 2048));
	add_envelope(EVP_PKEY_Q_keygen(NULL, NULL, "EC", "prime256v1"));
	add_envelope(EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp521r1"));
	add_envelope(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"));
	samples[sample_count++] = strdup("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\",\"use\":\"sig\",\"key_ops\":[\"verify\"],"
									 "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
									 "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},"
									 "{\"kty\":\"RSA\",\"alg\":\"RS256\",\"n\":\"AQAB\",\"e\":\"AQAB\"},{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qz\"}]}");
	/* a grant: version, flags, calls that follow, kid, counter, expiry, identity, claims, MAC */
	samples[sample_count++] = strdup("\x01\x01\x01\x02k1........""00000000""IIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII{}MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM");
}

static void
found(const char *what, const char *text)
{
	fprintf(stderr, "%s: %s\n", what, text);
	abort();
}

/* sample: what text was before it was damaged */
static void
read_token(const char *text, const char *sample)
{
	CpRules		rules = {"me", "db", "JWT", 5, 100, true, 1000, {"local", "me", 7, 1000, true}};
	CpProof		proof = {strchr(text, '~'), text, 0, NONCE, "db", true};
	CpToken		token;
	double		expires;
	bool		tried;
	bool		verified;
	bool		answered;
	char	   *alone;

	proof.token_len = proof.text ? proof.text - text : (int) strlen(text);
	alone = strndup(text, proof.token_len);
	if (proof.text != NULL)
		proof.text++;
	if (cp_token_parse(alone, &token) == NULL)
	{
		verified = cp_token_verify(&token, keys, key_count, &tried);
		if (verified && (strcspn(sample, "~") != strlen(alone) || memcmp(alone, sample, strlen(alone)) != 0))
			found("a changed token verifies", text);
		answered = cp_proof_check(&token, &proof) == NULL;
		if (verified && answered && strcmp(text, sample) != 0)
			found("a changed answer is taken", text);
		(void) cp_token_check(&token, &rules, &expires);
		cp_token_free(&token);
	}
	free(alone);
}

/* An envelope is opened, and then what is in it. */
static void
read_envelope(const char *text, const char *sample)
{
	char	   *plaintext;

	if (cp_jwe_open(text, recipients, recipient_count, &plaintext) != NULL)
		return;
	if (strcmp(text, sample) != 0)
		found("a changed token is opened", text);
	read_token(plaintext, samples[0]);
	cp_jwe_close(plaintext);
}

/* What is whole must be taken: else the fuzzer would only look at refusals. */
static void
take_sound(void)
{
	for (int i = 0; i < sample_count; i++)
	{
		char	   *plaintext;
		CpToken		token;
		CpKey		key;
		bool		tried;
		const char *sample = samples[i];

		if (strchr(sample, '~') == NULL && cp_jwe_is(sample))
		{
			if (cp_jwe_open(sample, recipients, recipient_count, &plaintext) != NULL)
				found("a sound token is not opened", sample);
			cp_jwe_close(plaintext);
			if (cp_recipient_keys_read(samples[i + 1], &key, 1) != 1)
				found("a sound key is not read", samples[i + 1]);
			cp_key_free(&key);
		}
		if (strchr(sample, '~') != NULL)
		{
			int			len = strcspn(sample, "~");
			CpProof		proof = {sample + len + 1, sample, len, NONCE, "db", true};
			char	   *alone = strndup(sample, len);

			if (cp_token_parse(alone, &token) != NULL || !cp_token_verify(&token, keys, key_count, &tried) ||
				cp_proof_check(&token, &proof) != NULL)
				found("a sound answer is refused", sample);
			cp_token_free(&token);
			free(alone);
		}
	}
}

static void
read_keys(const char *text)
{
	CpKey		found[CP_MAX_KEYS];
	int			count = cp_keys_read_set(text, found, CP_MAX_KEYS);

	for (int i = 0; i < count; i++)
		cp_key_free(&found[i]);
	count = cp_recipient_keys_read(text, found, CP_MAX_KEYS);
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
	envelope_known_answers();
	mac_known_answers();
	make_samples();
	take_sound();
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
		read_token(text, sample);
		read_envelope(text, sample);
		if (is_key(sample) || number(50) == 0)
			read_keys(text);
		free(text);
	}
	printf("%ld runs, seed %llu: nothing found\n", runs, (unsigned long long) seed);
	for (int i = 0; i < key_count; i++)
		cp_key_free(&keys[i]);
	for (int i = 0; i < recipient_count; i++)
		cp_key_free(&recipients[i]);
	for (int i = 0; i < sample_count; i++)
		free(samples[i]);
	return 0;
}
