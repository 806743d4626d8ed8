/*
 * envelope.h
 *		What the fuzzer needs to make encrypted tokens.
 */
#ifndef CLAIMPOOL_ENVELOPE_H
#define CLAIMPOOL_ENVELOPE_H

#include "jose.h"

extern int	envelope_jwk(char *text, const EVP_PKEY *key, bool private_key);
extern char *envelope_seal(const char *token, EVP_PKEY *recipient);
extern void envelope_known_answers(void);

#endif							/* CLAIMPOOL_ENVELOPE_H */
