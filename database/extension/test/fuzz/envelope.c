/*
 * envelope.c
 *		The sender's half of encrypted tokens, which the extension has not; keys of
 *		recipients as JWK; and answers that others have published.
 */
#include "envelope.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdio.h>

#undef snprintf
#undef sprintf
#undef fprintf
#undef printf

extern int	cp_base64url_encode(const uint8 *src, int len, char *dst);
extern int	cp_base64url_decode(const char *src, int len, uint8 *dst);

static void
must(bool ok, const char *what)
{
	if (!ok)
	{
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

/* A number of a key as a member of its JWK; size 0: as long as it is. */
static int
put_number(char *text, const char *member, const EVP_PKEY *key, const char *param, int size)
{
	BIGNUM	   *number = NULL;
	uint8		bytes[1024];
	char		encoded[2048];

	must(EVP_PKEY_get_bn_param(key, param, &number) == 1, "a key without a number");
	if (size == 0)
		size = BN_num_bytes(number);
	must(BN_bn2binpad(number, bytes, size) == size, "a number that is too long");
	BN_clear_free(number);
	cp_base64url_encode(bytes, size, encoded);
	return sprintf(text, ",\"%s\":\"%s\"", member, encoded);
}

static int
put_raw(char *text, const char *member, const EVP_PKEY *key, bool private_key)
{
	uint8		bytes[32];
	size_t		len = sizeof(bytes);
	char		encoded[64];

	must((private_key ? EVP_PKEY_get_raw_private_key(key, bytes, &len) :
		  EVP_PKEY_get_raw_public_key(key, bytes, &len)) == 1, "a key without bytes");
	cp_base64url_encode(bytes, len, encoded);
	return sprintf(text, ",\"%s\":\"%s\"", member, encoded);
}

/* Writes a JWK; returns its length. */
int
envelope_jwk(char *text, const EVP_PKEY *key, bool private_key)
{
	static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi"};
	static const char *const params[] = {OSSL_PKEY_PARAM_RSA_D, OSSL_PKEY_PARAM_RSA_FACTOR1,
		OSSL_PKEY_PARAM_RSA_FACTOR2, OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2,
	OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
	char	   *p = text;
	int			size = (EVP_PKEY_get_bits(key) + 7) / 8;

	switch (EVP_PKEY_get_base_id(key))
	{
		case EVP_PKEY_RSA:
			p += sprintf(p, "{\"kty\":\"RSA\"");
			p += put_number(p, "n", key, OSSL_PKEY_PARAM_RSA_N, 0);
			p += put_number(p, "e", key, OSSL_PKEY_PARAM_RSA_E, 0);
			for (int i = 0; private_key && i < lengthof(members); i++)
				p += put_number(p, members[i], key, params[i], 0);
			break;
		case EVP_PKEY_EC:
			p += sprintf(p, "{\"kty\":\"EC\",\"crv\":\"P-%d\"", EVP_PKEY_get_bits(key));
			p += put_number(p, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, size);
			p += put_number(p, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, size);
			if (private_key)
				p += put_number(p, "d", key, OSSL_PKEY_PARAM_PRIV_KEY, size);
			break;
		default:
			p += sprintf(p, "{\"kty\":\"OKP\",\"crv\":\"X25519\"");
			p += put_raw(p, "x", key, false);
			if (private_key)
				p += put_raw(p, "d", key, true);
			break;
	}
	p += sprintf(p, "}");
	return p - text;
}

static EVP_PKEY *
like(const EVP_PKEY *key)
{
	char		curve[64];
	size_t		len;

	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_X25519)
		return EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	must(EVP_PKEY_get_group_name(key, curve, sizeof(curve), &len) == 1, "a key without a curve");
	return EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve);
}

/* The header, in base64url; the content key and, with RSA, how it is sent. */
static int
seal_key(EVP_PKEY *recipient, uint8 *content, char *text)
{
	static const char rest[] = "\"enc\":\"A256GCM\",\"cty\":\"JWT\",\"kid\":\"k\"}";
	char		header[2048];
	uint8		bytes[1024];
	int			len;

	if (EVP_PKEY_get_base_id(recipient) == EVP_PKEY_RSA)
	{
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(recipient, NULL);
		size_t		encrypted = sizeof(bytes);

		must(RAND_bytes(content, 32) == 1 && EVP_PKEY_encrypt_init(ctx) == 1 &&
			 EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
			 EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1 &&
			 EVP_PKEY_encrypt(ctx, bytes, &encrypted, content, 32) == 1, "RSA-OAEP-256");
		EVP_PKEY_CTX_free(ctx);
		len = sprintf(header, "{\"alg\":\"RSA-OAEP-256\",%s", rest);
		len = cp_base64url_encode((uint8 *) header, len, text);
		text[len++] = '.';
		return len + cp_base64url_encode(bytes, encrypted, text + len);
	}
	else
	{
		EVP_PKEY   *ephemeral = like(recipient);
		CpBytes		shared = {bytes, cp_agree(ephemeral, recipient, bytes)};
		CpBytes		apu = {(const uint8 *) "Alice", 5};
		CpBytes		apv = {(const uint8 *) "Bob", 3};

		must(cp_concat_kdf(shared, "A256GCM", apu, apv, content, 32), "ECDH-ES");
		len = sprintf(header, "{\"alg\":\"ECDH-ES\",\"apu\":\"QWxpY2U\",\"apv\":\"Qm9i\",\"epk\":");
		len += envelope_jwk(header + len, ephemeral, false);
		len += sprintf(header + len, ",%s", rest);
		EVP_PKEY_free(ephemeral);
		len = cp_base64url_encode((uint8 *) header, len, text);
		text[len++] = '.';
		return len;
	}
}

/* Encrypts a token for the recipient; to be freed. */
char *
envelope_seal(const char *token, EVP_PKEY *recipient)
{
	char	   *text = malloc(8192);
	uint8		content[32];
	uint8		iv[CP_IV_BYTES];
	uint8		ciphertext[4096];
	uint8		tag[CP_TAG_BYTES];
	int			len = seal_key(recipient, content, text);
	int			header_len = strchr(text, '.') - text;
	int			done = 0;
	int			more = 0;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	must(RAND_bytes(iv, sizeof(iv)) == 1 &&
		 EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, content, iv) == 1 &&
		 EVP_EncryptUpdate(ctx, NULL, &done, (uint8 *) text, header_len) == 1 &&
		 EVP_EncryptUpdate(ctx, ciphertext, &done, (const uint8 *) token, strlen(token)) == 1 &&
		 EVP_EncryptFinal_ex(ctx, ciphertext + done, &more) == 1 &&
		 EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizeof(tag), tag) == 1, "A256GCM");
	EVP_CIPHER_CTX_free(ctx);
	text[len++] = '.';
	len += cp_base64url_encode(iv, sizeof(iv), text + len);
	text[len++] = '.';
	len += cp_base64url_encode(ciphertext, done, text + len);
	text[len++] = '.';
	cp_base64url_encode(tag, sizeof(tag), text + len);
	return text;
}

static CpBytes
decoded(const char *text, uint8 *bytes)
{
	CpBytes		result = {bytes, cp_base64url_decode(text, strlen(text), bytes)};

	return result;
}

static EVP_PKEY *
recipient(const char *jwk)
{
	CpKey		key;

	must(cp_recipient_keys_read(jwk, &key, 1) == 1, "a published key is not read");
	return key.pkey;
}

/* RFC 7518, appendix C. */
static void
answers_of_rfc7518(void)
{
	EVP_PKEY   *alice = recipient("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0\","
								  "\"y\":\"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps\",\"d\":\"0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo\"}");
	EVP_PKEY   *bob = recipient("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ\","
								"\"y\":\"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck\",\"d\":\"VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw\"}");
	static const uint8 z[] = {158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156,
	251, 49, 110, 163, 218, 128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196};
	uint8		shared[CP_MAX_SHARED];
	CpBytes		bytes = {shared, 0};
	CpBytes		apu = {(const uint8 *) "Alice", 5};
	CpBytes		apv = {(const uint8 *) "Bob", 3};
	uint8		key[16];
	char		text[32];

	bytes.len = cp_agree(bob, alice, shared);
	must(bytes.len == sizeof(z) && memcmp(shared, z, sizeof(z)) == 0, "RFC 7518, appendix C: Z");
	must(cp_concat_kdf(bytes, "A128GCM", apu, apv, key, sizeof(key)), "RFC 7518, appendix C: no key");
	cp_base64url_encode(key, sizeof(key), text);
	must(strcmp(text, "VqqN6vgjbSBcIijNcacQGg") == 0, "RFC 7518, appendix C: key");
	EVP_PKEY_free(alice);
	EVP_PKEY_free(bob);
}

/* RFC 8037, appendix A.6, which has the keys of RFC 7748, section 6.1. */
static void
answers_of_rfc8037(void)
{
	EVP_PKEY   *bob = recipient("{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08\","
								"\"d\":\"XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os\"}");
	EVP_PKEY   *alice = recipient("{\"kty\":\"OKP\",\"crv\":\"X25519\",\"d\":\"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo\"}");
	uint8		shared[CP_MAX_SHARED];
	char		text[64];

	must(cp_agree(bob, alice, shared) == 32, "RFC 8037, appendix A.6: no Z");
	cp_base64url_encode(shared, 32, text);
	must(strcmp(text, "Sl2dW6TOLeFyjjv0gDUPJeB-IclH0Z4zdvCbPB4WF0I") == 0, "RFC 8037, appendix A.6: Z");
	EVP_PKEY_free(alice);
	EVP_PKEY_free(bob);
}

/* RFC 7516, appendix A.1: the encryption, as its key comes by an algorithm that is not taken here. */
static void
answers_of_rfc7516(void)
{
	static const uint8 key[] = {177, 161, 244, 128, 84, 143, 225, 115, 63, 180, 3, 255, 107, 154, 212, 246,
	138, 7, 110, 91, 112, 46, 34, 105, 47, 130, 203, 46, 122, 234, 64, 252};
	static const char header[] = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ";
	uint8		buffers[3][128];
	uint8		plaintext[128];
	CpBytes		authenticated = {(const uint8 *) header, sizeof(header) - 1};
	CpBytes		iv = decoded("48V1_ALb6US04U3b", buffers[0]);
	CpBytes		ciphertext = decoded("5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6ji"
									 "SdiwkIr3ajwQzaBtQD_A", buffers[1]);
	CpBytes		tag = decoded("XFBoMYUZodetZdvTiFvSkQ", buffers[2]);

	must(cp_gcm_open(key, iv, authenticated, ciphertext, tag, plaintext) &&
		 memcmp(plaintext, "The true sign of intelligence is not knowledge but imagination.", 63) == 0 &&
		 ciphertext.len == 63, "RFC 7516, appendix A.1");
	buffers[2][15] ^= 1;
	must(!cp_gcm_open(key, iv, authenticated, ciphertext, tag, plaintext), "a wrong tag is taken");
	tag.len = 12;
	must(!cp_gcm_open(key, iv, authenticated, ciphertext, tag, plaintext), "a short tag is taken");
}

void
envelope_known_answers(void)
{
	answers_of_rfc7516();
	answers_of_rfc7518();
	answers_of_rfc8037();
}
