/*
 * session.c
 *		The secret that one backend shares with its proxy.
 *
 * challenge() makes an ephemeral X25519 key.  The first switch() names the
 * proxy's key, and the session key follows from both (see PROTOCOL.md).  The
 * ephemeral key is wiped then, so what was recorded cannot be opened later.
 */
#include "claimpool.h"

#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/proc.h"

#define CP_VERSION 1
#define CP_SALT_BYTES (CP_NONCE_BYTES + 3 * 4)
#define CP_CHALLENGE_GATED 1

static const char label_x25519[] = "claimpool native x25519 v1";
static const char label_file[] = "claimpool native file v1";

static struct
{
	bool		challenged;
	bool		gated;			/* the gate was on then, and stays on */
	uint8		private_key[CP_KEY_BYTES];	/* wiped once mac is there */
	uint8		public_key[CP_KEY_BYTES];
	uint8		salt[CP_SALT_BYTES];	/* nonce, pid, database, role */
	CpMac	   *mac;			/* NULL until the first good switch() */
	char		kid[CP_MAX_KID];
	int			kid_len;
	uint64		counter;		/* the last one accepted */
}			session;

static void
put_uint32(uint8 *dst, uint32 value)
{
	value = pg_hton32(value);
	memcpy(dst, &value, sizeof(value));
}

bool
cp_session_challenged(void)
{
	return session.challenged;
}

bool
cp_session_gated(void)
{
	return session.gated;
}

/*
 * What challenge() answers is settled once.  It says whether the gate is on, and
 * the proxy relies on that for the life of the connection: from here on nobody
 * can turn it off.
 */
static void
prepare_answer(void)
{
	if (!pg_strong_random(session.salt, CP_NONCE_BYTES) ||
		!cp_x25519_generate(session.private_key, session.public_key))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a session key")));
	put_uint32(session.salt + CP_NONCE_BYTES, MyProcPid);
	put_uint32(session.salt + CP_NONCE_BYTES + 4, MyDatabaseId);
	put_uint32(session.salt + CP_NONCE_BYTES + 8, MyProc->roleId);
	cp_answers_init();
	session.gated = cp_gate && !cp_login_is_superuser();
	session.challenged = true;
	cp_direct_release_rules();
	cp_context_publish();		/* a context of the setting does not count now */
}

/*
 * challenge() returns bytea: what the proxy needs to compute the session key.
 * Asked again it answers the same, because the first answer may have been lost to
 * a cancel request; after the first good switch() nobody has a reason to ask.
 */
PG_FUNCTION_INFO_V1(claimpool_challenge);
Datum
claimpool_challenge(PG_FUNCTION_ARGS)
{
	StringInfoData answer;

	if (session.mac != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this connection has answered its challenge")));
	if (!session.challenged)
		prepare_answer();

	pq_begintypsend(&answer);
	pq_sendbyte(&answer, CP_VERSION);
	pq_sendbytes(&answer, (const char *) session.public_key, CP_KEY_BYTES);
	pq_sendbytes(&answer, (const char *) session.salt, CP_SALT_BYTES);
	pq_sendbyte(&answer, session.gated ? CP_CHALLENGE_GATED : 0);
	PG_RETURN_BYTEA_P(pq_endtypsend(&answer));
}

/* Derives the session key for a kid; false for a kid that nobody configured. */
static bool
derive(const char *kid, int kid_len, uint8 *key)
{
	uint8		info[sizeof(label_x25519) + 2 * CP_KEY_BYTES + CP_MAX_KID];
	uint8		found[CP_KEY_BYTES];
	uint8		secret[CP_KEY_BYTES];
	int			len = 0;
	bool		ok;

	if (cp_find_proxy_key(kid, kid_len, found))
	{
		memcpy(info, label_x25519, sizeof(label_x25519));
		len = sizeof(label_x25519);
		memcpy(info + len, session.public_key, CP_KEY_BYTES);
		len += CP_KEY_BYTES;
		memcpy(info + len, found, CP_KEY_BYTES);
		len += CP_KEY_BYTES;
		ok = cp_x25519(session.private_key, found, secret);
	}
	else
	{
		memcpy(info, label_file, sizeof(label_file));
		len = sizeof(label_file);
		ok = cp_find_file_key(kid, kid_len, secret);
	}
	memcpy(info + len, kid, kid_len);
	len += kid_len;

	ok = ok && cp_hkdf_sha256(session.salt, CP_SALT_BYTES,
							  secret, CP_KEY_BYTES, info, len, key);
	cp_wipe(secret, sizeof(secret));
	cp_wipe(found, sizeof(found));
	return ok;
}

/* Takes the kid for the rest of the session once its MAC has verified. */
static const char *
verify_first(const CpGrant *grant)
{
	uint8		key[CP_KEY_BYTES];
	CpMac	   *mac;

	if (!derive(grant->kid, grant->kid_len, key))
		return "unknown kid";
	mac = cp_mac_new(key);
	cp_wipe(key, sizeof(key));
	if (!cp_mac_verify(mac, grant->signed_bytes, grant->signed_len, grant->mac))
	{
		cp_mac_free(mac);
		return "wrong MAC";
	}
	session.mac = mac;
	memcpy(session.kid, grant->kid, grant->kid_len);
	session.kid_len = grant->kid_len;
	cp_wipe(session.private_key, sizeof(session.private_key));
	return NULL;
}

/*
 * Verifies that the proxy made this grant, for this backend, just now.  Returns
 * NULL, or the reason (for the server log) why it did not.
 */
const char *
cp_session_verify(const CpGrant *grant)
{
	const char *reason;

	if (!session.challenged)
		return "no challenge was asked for";
	if (session.mac == NULL)
	{
		if ((reason = verify_first(grant)) != NULL)
			return reason;
	}
	else
	{
		if (grant->kid_len != session.kid_len ||
			memcmp(grant->kid, session.kid, grant->kid_len) != 0)
			return "another kid";
		if (!cp_mac_verify(session.mac, grant->signed_bytes,
						   grant->signed_len, grant->mac))
			return "wrong MAC";
	}
	if (grant->counter <= session.counter)
		return "stale counter";
	if (grant->expires <= GetCurrentTimestamp())
		return "expired";
	session.counter = grant->counter;
	return NULL;
}
