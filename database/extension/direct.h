/*
 * direct.h
 *		What the files for direct connections share.
 */
#ifndef CLAIMPOOL_DIRECT_H
#define CLAIMPOOL_DIRECT_H

#include "claimpool.h"
#include "jose.h"

#include "utils/guc.h"

#define CP_NONCE_CHARS 43		/* of a challenge: 32 bytes in base64url */

/*
 * Of keys and rules.  RESET ALL and DISCARD ALL ask nobody for permission: a
 * client would undo with them what a superuser's function or a login trigger has
 * chosen for its session.
 */
#define CP_RULE GUC_NO_RESET_ALL

/* presentation.c: what a client hands in */
typedef struct CpPresentation
{
	char	   *memory;			/* holds token and proof */
	const char *token;			/* as it was given */
	const char *proof;			/* that came with it; NULL: none */
	char	   *opened;			/* the token that was inside, if one was encrypted */
	const char *nonce;			/* that it should answer; NULL: none */
} CpPresentation;

extern const char *cp_presentation_read(const char *text, const char *nonce,
										CpPresentation *presentation, CpToken *token);
extern void cp_presentation_free(CpPresentation *presentation);
extern const char *cp_direct_refuse(const char *shown, const char *reason);
extern void cp_presentation_define_keys(void);

/* challenge.c: jwt_challenge() */
extern const char *cp_challenge_take(char *nonce);
extern const char *cp_challenge_check(const CpToken *token, const CpPresentation *presentation,
									  const char *audience);
extern void cp_challenge_define_rules(void);

/* issuer.c: keys and rules */
extern bool cp_set_once;
extern const char *cp_direct_accept(const CpToken *token, const CpPresentation *presentation,
									double *expires);
extern const char *cp_direct_verify(const CpToken *token);
extern TimestampTz cp_direct_clock(double seconds);
extern void cp_direct_identity(const CpToken *token, uint8 *identity);
extern void cp_direct_define_keys(void);

#endif							/* CLAIMPOOL_DIRECT_H */
