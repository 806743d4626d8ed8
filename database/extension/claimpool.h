/*
 * claimpool.h
 *		Declarations shared by the files of the extension.
 *
 * Every global name begins with cp_ or Cp.  Files that verify bytes (crypto.c,
 * mac.c, session.c, grant.c) never raise errors: they return false or a reason, and
 * the caller decides what the client may know.
 */
#ifndef CLAIMPOOL_H
#define CLAIMPOOL_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/nodes.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* PostgreSQL 14 and 15 keep guc_malloc() to themselves; its memory is malloc's. */
#if PG_VERSION_NUM < 160000
#define cp_guc_malloc(size) malloc(size)
#define cp_guc_free(ptr) free(ptr)
#else
#include "utils/guc.h"
#define cp_guc_malloc(size) guc_malloc(LOG, size)
#define cp_guc_free(ptr) guc_free(ptr)
#endif

#define CP_KEY_BYTES 32			/* X25519 keys, session keys, HMAC-SHA256 */
#define CP_NONCE_BYTES 16
#define CP_IDENTITY_BYTES 32	/* fingerprint of an identity: SHA-256 */

#define CP_MAX_KID 64			/* bytes; a longer kid only feeds logs */
#define CP_MAX_CLAIMS (1024 * 1024) /* bytes; memory that one hand-over takes */

/* How long a context lives; see TRUSTED CONTEXT in PROTOCOL.md. */
typedef enum CpScope
{
	CP_SCOPE_LEASE,				/* dropped when a transaction fails */
	CP_SCOPE_SESSION,			/* until the next switch() */
	CP_SCOPE_DIRECT				/* follows the setting jwt.context */
} CpScope;

/* A context as handed over, before or after it is verified. */
typedef struct CpGrant
{
	CpScope		scope;
	bool		reset;			/* wipe the session though the identity is the same */
	int			following;		/* calls of the proxy's own behind this one */
	const char *kid;
	int			kid_len;
	uint64		counter;
	TimestampTz expires;
	const uint8 *identity;
	const char *claims;			/* UTF-8 JSON, not terminated */
	int			claims_len;
	const uint8 *signed_bytes;
	int			signed_len;
	const uint8 *mac;
} CpGrant;

/* What a backend publishes of its context, beside the claims. */
typedef struct CpPublished
{
	bool		present;
	CpScope		scope;
	TimestampTz expires;
	uint8		identity[CP_IDENTITY_BYTES];
} CpPublished;

/* module.c: settings that more than one file reads */
extern bool cp_gate;
extern bool cp_sandbox;
extern bool cp_keep_interpreters;
extern char *cp_proxy_keys;
extern char *cp_key_file;
extern char *cp_name_claim;
extern int	cp_parallel_context_size;

/* crypto.c */
extern bool cp_x25519_generate(uint8 *private_key, uint8 *public_key);
extern bool cp_x25519(const uint8 *private_key, const uint8 *peer, uint8 *secret);
extern bool cp_hkdf_sha256(const uint8 *salt, int salt_len,
						   const uint8 *ikm, int ikm_len,
						   const uint8 *info, int info_len, uint8 *key);
extern bool cp_equal(const void *a, const void *b, size_t len);
extern void cp_wipe(void *bytes, size_t len);

/* mac.c */
typedef struct CpMac CpMac;
extern CpMac *cp_mac_new(const uint8 *key);
extern bool cp_mac_verify(const CpMac *mac, const uint8 *bytes, int len, const uint8 *expected);
extern void cp_mac_free(CpMac *mac);

/* base64url.c */
extern int	cp_base64url_sextet(unsigned char c);
extern int	cp_base64url_decode(const char *src, int len, uint8 *dst);
extern int	cp_base64url_encode(const uint8 *src, int len, char *dst);

/* keys.c */
extern bool cp_check_proxy_keys(const char *list);
extern bool cp_find_proxy_key(const char *kid, int kid_len, uint8 *key);
extern bool cp_find_file_key(const char *kid, int kid_len, uint8 *key);
extern int	cp_read_private_file(const char *path, char *text, int size);

/* session.c: the secret that this backend shares with its proxy */
extern bool cp_session_challenged(void);
extern bool cp_session_gated(void);
extern const char *cp_session_verify(const CpGrant *grant);

/* grant.c */
extern const char *cp_grant_parse(const uint8 *bytes, int len, CpGrant *grant);

/* answers.c */
extern void cp_answers_init(void);
extern void cp_answers_hold(int answers);

/* options.c */
extern void cp_reset_options(void);

/* request.c: what policies of PostgREST read */
extern void cp_request_init(void);

/* reset.c */
extern void cp_reset_session(void);

/* settings.c: PostgreSQL's own settings */
extern void cp_settings_init(void);
extern void cp_settings_check_utility(const Node *statement);
#if PG_VERSION_NUM < 190000
extern struct config_generic *cp_find_setting(const char *name);
#endif

/* context.c: the one store, and its one reader */
extern void cp_context_init(void);
extern void cp_context_forget(void);
extern void cp_context_wipe(void);
extern void cp_context_install(const CpGrant *grant, bool reset);
extern bool cp_context_same_identity(const uint8 *identity);
extern bool cp_context_valid(void);
extern bool cp_context_leased(void);
extern void cp_context_rollback_asked(void);
extern void cp_context_failed(void);
extern Jsonb *cp_context_claims(void);
extern const char *cp_context_of_leader(void);
extern void cp_context_publish(void);
extern Jsonb *cp_context_parse(const char *json, MemoryContext memory);
extern void cp_context_expired(void);

/* direct.c: the setting jwt.context */
extern void cp_direct_init(void);
extern void cp_direct_settle(void);
extern Jsonb *cp_direct_claims(void);
extern void cp_direct_release_rules(void);

/* redact.c */
extern void cp_redact_init(void);
extern const char *cp_redact_query(const char *query, bool top_level, MemoryContext memory);
extern void cp_redact_portal(void);

/* slots.c: shared memory */
extern void cp_slots_init(void);
extern void cp_slot_publish(const CpPublished *context, const char *json);
extern bool cp_slot_is_claimed(void);
extern void cp_slot_follow_leader(CpPublished *context, char **json);

/* gate.c */
extern void cp_gate_init(void);
extern bool cp_login_is_superuser(void);

/* login.c */
extern bool cp_login_trigger_runs(void);
extern void cp_login_init(void);

/* sandbox.c */
extern void cp_sandbox_init(void);
extern void cp_sandbox_check_utility(const Node *statement);
extern void cp_sandbox_after_utility(bool discarded_all);
extern void cp_sandbox_check_function(Oid function);
extern void cp_sandbox_check_operator(Oid operator);

#endif							/* CLAIMPOOL_H */
