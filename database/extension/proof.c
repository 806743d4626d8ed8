/*
 * proof.c
 *		Did the holder of a token answer the challenge of this connection?
 *
 * Two kinds of tokens can.  One names a public key in the claim cnf (RFC 7800,
 * section 3.2), and comes with a proof that was signed with it: a key binding
 * JWT after RFC 9901, section 4.3, over the challenge (nonce) and the token
 * (sd_hash).  The other was made for this connection alone: its issuer put the
 * challenge into it, as the claim nonce.
 */
#include "jose.h"

extern int	cp_base64url_encode(const uint8 *src, int len, char *dst);

const char	cp_proof_missing[] = "token needs an answer to jwt_challenge()";

/* The hash of the token and the tilde behind it, in base64url. */
static bool
token_hash(const CpProof *proof, char *encoded)
{
	uint8		digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool		ok;

	ok = md != NULL &&
		EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
		EVP_DigestUpdate(md, proof->token, proof->token_len) == 1 &&
		EVP_DigestUpdate(md, "~", 1) == 1 &&
		EVP_DigestFinal_ex(md, digest, NULL) == 1;
	EVP_MD_CTX_free(md);
	if (ok)
		cp_base64url_encode(digest, 32, encoded);
	return ok;
}

/* The cheap questions come before the signature. */
static const char *
check_claims(const CpToken *answer, const CpProof *proof)
{
	char		hash[64];

	if (!cp_token_is(answer->header, "typ", CP_PROOF_TYPE))
		return "proof is of another type";
	if (!cp_token_claims(answer->payload, "nonce", proof->nonce, false))
		return "proof answers another challenge";
	if (!token_hash(proof, hash) || !cp_token_claims(answer->payload, "sd_hash", hash, false))
		return "proof is for another token";
	if (proof->audience != NULL && *proof->audience != '\0' &&
		!cp_token_claims(answer->payload, "aud", proof->audience, true))
		return "proof is for another audience";
	return NULL;
}

/*
 * The key is in the token, whose signature is verified already.  A secret there
 * is no proof of anything: whoever reads the token has it.
 */
static const char *
check_signature(const CpToken *answer, CpJson jwk)
{
	CpKey		key;
	bool		tried;
	bool		verified;

	if (!cp_jwk_read(jwk, &key))
		return "key in the token cannot be used";
	key.kid[0] = '\0';			/* there is one key: it needs no name */
	verified = key.secret == NULL && cp_token_verify(answer, &key, 1, &tried);
	cp_key_free(&key);
	return verified ? NULL : "proof is signed with another key";
}

static bool
names_key(const CpToken *token, CpJson *jwk)
{
	CpJson		cnf;

	return cp_json_get(token->payload, "cnf", &cnf) && *cnf.start == '{' &&
		cp_json_get(cnf, "jwk", jwk);
}

/*
 * NULL: there is a good answer, or none is needed.  All reasons but
 * cp_proof_missing are for the server log.
 */
const char *
cp_proof_check(const CpToken *token, const CpProof *proof)
{
	CpJson		value;
	CpToken		answer;
	const char *reason;

	if (!names_key(token, &value))
	{
		if (proof->text != NULL)
			return "token names no key for a proof";
		if (!proof->required)
			return NULL;
		if (!cp_json_get(token->payload, "nonce", &value))
			return cp_proof_missing;
		if (proof->nonce == NULL)
			return "there is no challenge, or it has expired";
		return cp_token_claims(token->payload, "nonce", proof->nonce, false) ? NULL :
			"token answers another challenge";
	}
	if (proof->text == NULL)
		return cp_proof_missing;
	if (proof->nonce == NULL)
		return "there is no challenge, or it has expired";
	reason = cp_token_parse(proof->text, &answer);
	if (reason != NULL)
		return reason;
	reason = check_claims(&answer, proof);
	if (reason == NULL)
		reason = check_signature(&answer, value);
	cp_token_free(&answer);
	return reason;
}
