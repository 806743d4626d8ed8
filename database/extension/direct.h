/*
 * direct.h
 *		What the files for direct connections share.
 */
#ifndef CLAIMPOOL_DIRECT_H
#define CLAIMPOOL_DIRECT_H

#include "claimpool.h"
#include "jose.h"

#include "utils/guc.h"

/* issuer.c: keys and rules */
extern bool cp_set_once;
extern const char *cp_direct_accept(const CpToken *token, double *expires);
extern const char *cp_direct_verify(const CpToken *token);
extern TimestampTz cp_direct_clock(double seconds);
extern void cp_direct_identity(const CpToken *token, uint8 *identity);
extern void cp_direct_define_keys(void);

#endif							/* CLAIMPOOL_DIRECT_H */
