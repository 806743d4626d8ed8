/*
 * issuer.c
 *		Whose tokens are taken: the keys and rules that a superuser sets.
 */
#include "direct.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "access/parallel.h"
#include "common/ip.h"
#include "miscadmin.h"

/* Port is the same without it, and Kerberos' headers are not needed then. */
#undef ENABLE_GSS
#include "libpq/libpq-be.h"
#include "utils/guc_tables.h"

#define HIDDEN "(hidden)"

#define CP_MIN_KEY_BYTES 32
#define CP_MAX_KEY_CHARS 16384	/* of jwt.pubkey and jwt.secret: a PEM certificate fits */
#define CP_MAX_KEYS_FILE 65536	/* bytes of a JWK set */

bool		cp_set_once = false;

static char *pubkey = NULL;
static char *secret_mask = NULL;	/* empty or HIDDEN */
static char *secret = NULL;		/* the value; belongs to the setting */
static char *keys = NULL;
static char *keys_file = NULL;
static char *issuer = NULL;
static char *audience = NULL;
static char *type = NULL;
static int	leeway = 0;
static int	max_lifetime = 0;
static bool compatibility = false;

/* Reads the JWK set in jwt.keys_file; only the server may be able to. */
static int
read_keys_file(CpKey *into, int size)
{
	char	   *text = malloc(CP_MAX_KEYS_FILE);
	int			len = text ? cp_read_private_file(keys_file, text, CP_MAX_KEYS_FILE) : -1;
	int			count = 0;

	if (len > 0)
	{
		count = cp_keys_read_set(text, into, size);
		cp_wipe(text, len);
	}
	free(text);
	return count;
}

/* All keys that could have signed a token of this family, and room for a key and two sets. */
static int
collect(CpFamily family, CpKey *into, bool *unreadable, bool *too_many)
{
	int			count = 0;
	int			read;

	*unreadable = false;
	if (family == CP_HMAC)
	{
		if (secret != NULL && *secret != '\0')
			count += cp_key_read_secret(secret, &into[count]) ? 1 : 0;
	}
	else if (pubkey != NULL && *pubkey != '\0')
	{
		if (cp_key_read_public(pubkey, &into[count]))
			count++;
		else
			*unreadable = true;
	}
	if (keys != NULL && *keys != '\0')
		count += Max(cp_keys_read_set(keys, into + count, CP_MAX_KEYS), 0);
	read = read_keys_file(into + count, CP_MAX_KEYS);
	*too_many = read == CP_TOO_MANY_KEYS;
	return count + Max(read, 0);
}

/* The signature, by the keys that are set.  NULL: it is right. */
const char *
cp_direct_verify(const CpToken *token)
{
	CpKey		candidates[1 + 2 * CP_MAX_KEYS];
	bool		unreadable;
	bool		too_many;
	bool		tried;
	bool		verified;
	int			count = collect(token->algorithm->family, candidates, &unreadable, &too_many);

	verified = cp_token_verify(token, candidates, count, &tried);
	for (int i = 0; i < count; i++)
		cp_key_free(&candidates[i]);
	ERR_clear_error();			/* the server's TLS looks at the same queue */
	if (verified)
		return NULL;
	if (too_many)
		return cp_direct_refuse("failed to read key", "jwt.keys_file has more than 16 keys, and none of them is used");
	if (tried)
		return "signature verification failed";
	return unreadable ? "failed to read key" : "no key defined";
}

static double
unix_seconds(TimestampTz time)
{
	return (double) time / USECS_PER_SEC +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (double) SECS_PER_DAY;
}

/* Who is at the other end: a token may be bound to it.  size: of address. */
static CpHolder
holder(char *address, int size)
{
	CpHolder	result = {NULL, NULL, MyProcPid, unix_seconds(MyStartTimestamp), false};
	const Port *port = MyProcPort;

	if (port == NULL)			/* no client at all */
		return result;
	result.role = port->user_name;
	if (port->raddr.addr.ss_family == AF_UNIX)
		result.address = "local";
	else if (pg_getnameinfo_all(&port->raddr.addr, port->raddr.salen, address, size,
								NULL, 0, NI_NUMERICHOST) == 0)
	{
		address[strcspn(address, "%")] = '\0';	/* the zone of an IPv6 address */
		result.address = address;
	}
	return result;
}

/* Signature, proof and claims.  *expires is 0 for a token that never does. */
const char *
cp_direct_accept(const CpToken *token, const CpPresentation *presentation, double *expires)
{
	const char *reason = cp_direct_verify(token);
	CpRules		rules;
	char		address[NI_MAXHOST];

	*expires = 0;
	if (reason == NULL)
		reason = cp_challenge_check(token, presentation, audience);
	if (reason != NULL)
		return reason;
	rules.issuer = issuer;
	rules.audience = audience;
	rules.type = type;
	rules.leeway = leeway;
	rules.max_lifetime = max_lifetime;
	rules.check_times = !compatibility;
	rules.now = unix_seconds(GetCurrentTimestamp());
	rules.holder = holder(address, sizeof(address));
	rules.holder.proved = true;
	return cp_token_check(token, &rules, expires);
}

TimestampTz
cp_direct_clock(double seconds)
{
	return (TimestampTz) ((seconds -
						   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (double) SECS_PER_DAY)
						  * USECS_PER_SEC);
}

/* For claimpool.identities: who, as far as the token tells. */
void
cp_direct_identity(const CpToken *token, uint8 *identity)
{
	CpJson		iss = {"", 0};
	CpJson		sub = {"", 0};
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	memset(identity, 0, CP_IDENTITY_BYTES);
	if (!cp_json_get(token->payload, "iss", &iss))
		iss.len = 0;
	if (!cp_json_get(token->payload, "sub", &sub))
		sub.len = 0;
	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1 ||
		EVP_DigestUpdate(md, iss.start, iss.len) != 1 ||
		EVP_DigestUpdate(md, "\0", 1) != 1 ||
		EVP_DigestUpdate(md, sub.start, sub.len) != 1 ||
		EVP_DigestFinal_ex(md, identity, NULL) != 1)
		memset(identity, 0, CP_IDENTITY_BYTES);
	EVP_MD_CTX_free(md);
}

static bool
check_key_length(const char *value)
{
	if (strlen(value) <= CP_MAX_KEY_CHARS)
		return true;
	GUC_check_errmsg("failed to set key: key too long (%zu > %d)",
					 strlen(value), CP_MAX_KEY_CHARS);
	return false;
}

/* The texts are those of jwt_context. */
static bool
check_pubkey(char **newval, void **extra, GucSource source)
{
	CpKey		key;
	bool		ok;

	if (*newval == NULL || **newval == '\0' || InitializingParallelWorker)
		return true;
	if (!check_key_length(*newval))
		return false;
	ok = cp_key_read_public(*newval, &key);
	cp_key_free(&key);
	if (!ok)
		GUC_check_errmsg("failed to set public key: decoding failed");
	return ok;
}

/*
 * The real value goes to extra; the setting itself is a mask, because reset_val
 * and boot_val are shown to everybody.  Catalogs are readable too, so a secret
 * for a database or a role is taken only by the compatibility switch.
 */
static bool
check_secret(char **newval, void **extra, GucSource source)
{
	CpKey		key;
	int			len;
	char	   *masked;

	if (*newval == NULL || **newval == '\0' || InitializingParallelWorker)
		return true;
	if (!check_key_length(*newval))
		return false;
	if (!compatibility && (source == PGC_S_TEST || (source >= PGC_S_GLOBAL && source <= PGC_S_DATABASE_USER)))
	{
		GUC_check_errmsg("a secret cannot be stored in a catalog");
		GUC_check_errhint("Everybody can read pg_db_role_setting. Use jwt.keys_file.");
		return false;
	}
	len = cp_key_read_secret(*newval, &key) ? key.secret_len : 0;
	cp_key_free(&key);
	if (len < CP_MIN_KEY_BYTES)
	{
		if (len == 0)
			GUC_check_errmsg("failed to set secret: decoding failed");
		else
			GUC_check_errmsg("failed to set public key: invalid key length (%d < %d)",
							 len, CP_MIN_KEY_BYTES);
		return false;
	}
	masked = cp_guc_malloc(sizeof(HIDDEN));
	if (masked == NULL)
		return false;
	strcpy(masked, HIDDEN);
	*extra = *newval;			/* allocated as extra has to be */
	*newval = masked;
	return true;
}

static void
assign_secret(const char *newval, void *extra)
{
	secret = extra;
}

static const char *
show_secret(void)
{
	if (secret_mask == NULL || *secret_mask == '\0')
		return "";
	return secret != NULL && superuser() ? secret : HIDDEN;
}

/* A visible setting: a key in it that is not public is a mistake. */
static bool
check_keys(char **newval, void **extra, GucSource source)
{
	CpKey		found[CP_MAX_KEYS];
	int			count;
	bool		has_secret = false;

	if (*newval == NULL || **newval == '\0' || InitializingParallelWorker)
		return true;
	count = cp_keys_read_set(*newval, found, CP_MAX_KEYS);
	for (int i = 0; i < count; i++)
	{
		has_secret = has_secret || found[i].secret != NULL;
		cp_key_free(&found[i]);
	}
	if (count == CP_TOO_MANY_KEYS)
		GUC_check_errdetail("It has more than %d keys that can be used.", CP_MAX_KEYS);
	else if (count <= 0)
		GUC_check_errdetail("It is not a JWK set, or no key in it can be used.");
	else if (has_secret)
		GUC_check_errdetail("Secret keys belong into jwt.keys_file: everybody sees this setting.");
	return count > 0 && !has_secret;
}

/*
 * Once a proxy has the say nobody reads them, and what one identity's functions
 * have set must not be there for the next: RESET ALL takes them like all others.
 */
void
cp_direct_release_rules(void)
{
#if PG_VERSION_NUM < 190000
	static const char *const rules[] = {
		"jwt.pubkey", "jwt.secret", "jwt.keys", "jwt.issuer", "jwt.audience", "jwt.type", "jwt.leeway",
		"jwt.max_lifetime", "jwt.set_once", "jwt.require_challenge", "jwt.challenge_lifetime"
	};

	for (int i = 0; i < lengthof(rules); i++)
		cp_find_setting(rules[i])->flags &= ~CP_RULE;
#endif
}

static void
define_rules(void)
{
	DefineCustomStringVariable("jwt.issuer", "The issuer that tokens must name.", "Empty: any.",
							   &issuer, "", PGC_SUSET, CP_RULE, NULL, NULL, NULL);
	DefineCustomStringVariable("jwt.audience", "The audience that tokens must name.", "Empty: any.",
							   &audience, "", PGC_SUSET, CP_RULE, NULL, NULL, NULL);
	DefineCustomStringVariable("jwt.type", "The type that tokens must have, such as at+jwt.", "Empty: any.",
							   &type, "", PGC_SUSET, CP_RULE, NULL, NULL, NULL);
	DefineCustomIntVariable("jwt.leeway", "How wrong the clocks of issuers may be.", NULL,
							&leeway, 0, 0, 600, PGC_SUSET, CP_RULE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("jwt.max_lifetime", "The longest time from issue to expiry.", "0: any.",
							&max_lifetime, 0, 0, INT_MAX / 2, PGC_SUSET, CP_RULE | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomBoolVariable("jwt.set_once", "Keeps the first context for the whole session.",
							 "Until jwt_unseal() is called by whom it is granted.",
							 &cp_set_once, false, PGC_SUSET, CP_RULE, NULL, NULL, NULL);
	DefineCustomBoolVariable("jwt.compatibility",
							 "Takes tokens that jwt_context took: expired ones, and secrets in catalogs.",
							 "For scripts and tests. Not safe.",
							 &compatibility, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

void
cp_direct_define_keys(void)
{
	define_rules();
	cp_challenge_define_rules();
	cp_presentation_define_keys();
	DefineCustomStringVariable("jwt.pubkey", "The public key that verifies tokens.",
							   "Base64url of DER, PEM, or an X.509 certificate.",
							   &pubkey, "", PGC_SUSET, CP_RULE, check_pubkey, NULL, NULL);
	DefineCustomStringVariable("jwt.secret", "The secret that verifies tokens with an HMAC.",
							   "Base64url, 32 bytes or more.",
							   &secret_mask, "", PGC_SUSET, CP_RULE | GUC_NOT_IN_SAMPLE,
							   check_secret, assign_secret, show_secret);
	DefineCustomStringVariable("jwt.keys", "Public keys that verify tokens, as a JWK set.",
							   "Several issuers, or a key and the one after it.",
							   &keys, "", PGC_SUSET, CP_RULE, check_keys, NULL, NULL);
	DefineCustomStringVariable("jwt.keys_file", "File with a JWK set; secret keys are allowed.",
							   "Read at each verification, so a new file needs no reload.",
							   &keys_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
}
