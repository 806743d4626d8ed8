/*
 * jose.h
 *		Tokens and keys: everything that reads bytes of strangers.
 *
 * These files (json.c, algorithm.c, jwk.c, token.c, base64url.c, agree.c, jwe.c,
 * recipient.c, proof.c) use nothing of the server but its types: no memory
 * contexts, no errors.  So they can be fuzzed outside of it, and no error can
 * lose an OpenSSL object.
 */
#ifndef CLAIMPOOL_JOSE_H
#define CLAIMPOOL_JOSE_H

#include "postgres.h"

#include <openssl/evp.h>

#define CP_MAX_TOKEN 65535		/* bytes; before anything else is looked at */
#define CP_MAX_DEPTH 32			/* of JSON: the parser recurses */
#define CP_MAX_MEMBERS 256		/* of one JSON object: duplicates cost n * n */
#define CP_MAX_KEYS 16			/* of one set: all may be tried for one token */
#define CP_TOO_MANY_KEYS (-2)	/* a set that is cut short would refuse good tokens in silence */
#define CP_MAX_KEY_ID 128		/* bytes of a kid */

/* json.c: a value inside a text that cp_json_valid() accepted */
typedef struct CpJson
{
	const char *start;
	int			len;
} CpJson;

extern bool cp_json_valid(const char *text, int len);
extern bool cp_json_get(CpJson object, const char *name, CpJson *value);
extern bool cp_json_next(CpJson container, const char **position, CpJson *name, CpJson *value);
extern int	cp_json_string(CpJson value, char *dst, int size);
extern bool cp_json_seconds(CpJson value, double *seconds);

/* algorithm.c */
typedef enum CpFamily
{
	CP_HMAC, CP_RSA, CP_RSA_PSS, CP_ECDSA, CP_EDDSA
} CpFamily;

typedef struct CpAlgorithm
{
	const char *name;			/* RFC 7518, section 3.1; RFC 8037; RFC 9864 */
	CpFamily	family;
	const char *digest;
	int			digest_bytes;
	const char *curve;			/* OpenSSL's name */
	int			coordinate_bytes;	/* of R and S */
} CpAlgorithm;

typedef struct CpKey
{
	EVP_PKEY   *pkey;			/* or */
	uint8	   *secret;
	int			secret_len;
	char		kid[CP_MAX_KEY_ID + 1]; /* empty: none */
	const CpAlgorithm *only;	/* the one algorithm that it may be used with */
} CpKey;

extern const CpAlgorithm *cp_algorithm(const char *name);
extern bool cp_key_fits(const CpKey *key, const CpAlgorithm *algorithm);
extern bool cp_signature_verify(const CpKey *key, const CpAlgorithm *algorithm,
								const char *bytes, int len,
								const uint8 *signature, int signature_len);
extern int	cp_signature_make(const CpKey *key, const CpAlgorithm *algorithm,
							  const char *bytes, int len, uint8 *signature, int size);

/* jwk.c */
extern bool cp_key_read_public(const char *text, CpKey *key);
extern bool cp_key_read_private(const char *text, CpKey *key);
extern bool cp_key_read_secret(const char *text, CpKey *key);
extern int	cp_keys_read_set(const char *text, CpKey *keys, int size);
extern void cp_key_free(CpKey *key);
extern int	cp_keys_too_many(CpKey *keys, int count);

typedef bool (*CpJwkReader) (CpJson jwk, CpKey *key);
extern bool cp_jwk_read(CpJson jwk, CpKey *key);
extern int	cp_jwk_set_read(const char *text, CpJwkReader read, CpKey *keys, int size);
extern bool cp_jwk_is(CpJson jwk, const char *name, const char *wanted);
extern bool cp_jwk_is_for(CpJson jwk, const char *use, const char *operation, const char *or_operation);
extern bool cp_jwk_kid(CpJson jwk, CpKey *key);
extern uint8 *cp_jwk_bytes(CpJson jwk, const char *name, int *len);
extern EVP_PKEY *cp_jwk_rsa(CpJson jwk, bool private_key);
extern EVP_PKEY *cp_jwk_ec(CpJson jwk, bool private_key);
extern EVP_PKEY *cp_jwk_okp(CpJson jwk, bool private_key, int type);

/* agree.c: keys and plaintext by the rules of RFC 7518 */
#define CP_CONTENT_KEY_BYTES 32 /* A256GCM */
#define CP_IV_BYTES 12
#define CP_TAG_BYTES 16
#define CP_MAX_SHARED 66		/* bytes of a coordinate of P-521 */

typedef struct CpBytes
{
	const uint8 *start;
	int			len;
} CpBytes;

extern int	cp_agree(EVP_PKEY *own, EVP_PKEY *peer, uint8 *shared);
extern bool cp_concat_kdf(CpBytes shared, const char *algorithm, CpBytes apu, CpBytes apv,
						  uint8 *key, int key_len);
extern bool cp_oaep_open(EVP_PKEY *own, CpBytes encrypted, uint8 *key);
extern bool cp_gcm_open(const uint8 *key, CpBytes iv, CpBytes authenticated, CpBytes ciphertext,
						CpBytes tag, uint8 *plaintext);

/* recipient.c: the private keys that open encrypted tokens */
extern int	cp_recipient_keys_read(const char *text, CpKey *keys, int size);

/* jwe.c */
extern bool cp_jwe_is(const char *text);
extern const char *cp_jwe_open(const char *text, const CpKey *keys, int count, char **plaintext);
extern void cp_jwe_close(char *plaintext);

/* token.c */
typedef struct CpToken
{
	char	   *memory;			/* holds header, payload and signature */
	CpJson		header;
	CpJson		payload;
	const uint8 *signature;
	int			signature_len;
	const char *signed_bytes;
	int			signed_len;
	const CpAlgorithm *algorithm;
	char		algorithm_name[32];
	char		kid[CP_MAX_KEY_ID + 1];
} CpToken;

/* What tokens can be bound to, by their claim "cnf".  NULL: not known, so no token is. */
typedef struct CpHolder
{
	const char *address;		/* numeric, or "local" */
	const char *role;			/* that logged in */
	int			pid;
	double		start;			/* of the backend; seconds since 1970 */
	bool		proved;			/* cp_proof_check() found nothing wrong */
} CpHolder;

/* What a token must say beyond being signed.  NULL or 0: anything goes. */
typedef struct CpRules
{
	const char *issuer;
	const char *audience;
	const char *type;
	double		leeway;
	double		max_lifetime;
	bool		check_times;
	double		now;			/* seconds since 1970 */
	CpHolder	holder;
} CpRules;

extern const char *cp_token_parse(const char *text, CpToken *token);
extern bool cp_token_verify(const CpToken *token, const CpKey *keys, int count, bool *tried);
extern const char *cp_token_check(const CpToken *token, const CpRules *rules, double *expires);
extern bool cp_token_claims(CpJson payload, const char *claim, const char *wanted, bool array_allowed);
extern bool cp_token_is(CpJson header, const char *member, const char *type);
extern void cp_token_free(CpToken *token);

/* proof.c: what came with a token, and what it must answer */
typedef struct CpProof
{
	const char *text;			/* NULL: nothing came */
	const char *token;			/* as it came: encrypted, maybe */
	int			token_len;
	const char *nonce;			/* NULL: no challenge waits for an answer */
	const char *audience;		/* NULL or empty: any */
	bool		required;		/* of tokens that name no key, too */
} CpProof;

#define CP_PROOF_TYPE "kb+jwt"	/* RFC 9901, section 4.3 */

extern const char cp_proof_missing[];
extern const char *cp_proof_check(const CpToken *token, const CpProof *proof);

#endif							/* CLAIMPOOL_JOSE_H */
