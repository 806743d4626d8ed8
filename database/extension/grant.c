/*
 * grant.c
 *		The argument of switch(): its bytes, and what is done with them.
 *
 *		 u8 version, u8 flags, u8 kid length, kid, u64 counter, i64 expiry,
 *		 32 bytes identity, u32 claims length, claims, 32 bytes MAC
 *
 * Integers are big-endian.  See PROTOCOL.md.
 */
#include "claimpool.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "tcop/pquery.h"
#include "utils/guc.h"

#define CP_VERSION 1

#define CP_FLAG_SESSION 0x01	/* scope session, else lease */
#define CP_FLAG_RESET 0x02		/* reset though the identity is the same */

/* Milliseconds that a TimestampTz can count from 1970; later means never. */
#define CP_MAX_EXPIRY_MS (INT64CONST(9000000000000))

/* Bytes left to read.  Reading past the end makes it broken for good. */
typedef struct Reader
{
	const uint8 *next;
	int			left;
	bool		broken;
} Reader;

static const uint8 *
take(Reader *reader, int len)
{
	static const uint8 zeros[CP_KEY_BYTES] = {0};
	const uint8 *bytes = reader->next;

	if (reader->broken || len < 0 || len > reader->left)
	{
		reader->broken = true;
		return zeros;
	}
	reader->next += len;
	reader->left -= len;
	return bytes;
}

static uint64
take_uint64(Reader *reader)
{
	uint64		value;

	memcpy(&value, take(reader, sizeof(value)), sizeof(value));
	return pg_ntoh64(value);
}

static uint32
take_uint32(Reader *reader)
{
	uint32		value;

	memcpy(&value, take(reader, sizeof(value)), sizeof(value));
	return pg_ntoh32(value);
}

/* Unix milliseconds to PostgreSQL's clock; what is out of range never expires. */
static TimestampTz
expiry(int64 ms)
{
	const int64 epoch_ms = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
		INT64CONST(86400000);

	if (ms < 0)
		return DT_NOBEGIN;
	if (ms > CP_MAX_EXPIRY_MS)
		return DT_NOEND;
	return (ms - epoch_ms) * 1000;
}

/* Reads without believing anything.  Returns NULL, or what is wrong. */
const char *
cp_grant_parse(const uint8 *bytes, int len, CpGrant *grant)
{
	Reader		reader = {bytes, len, false};
	uint32		claims_len;
	uint8		version;
	uint8		flags;

	version = *take(&reader, 1);
	flags = *take(&reader, 1);
	grant->kid_len = *take(&reader, 1);
	grant->kid = (const char *) take(&reader, grant->kid_len);
	grant->counter = take_uint64(&reader);
	grant->expires = expiry((int64) take_uint64(&reader));
	grant->identity = take(&reader, CP_IDENTITY_BYTES);
	claims_len = take_uint32(&reader);
	if (claims_len > CP_MAX_CLAIMS)
		return "claims too large";
	grant->claims_len = claims_len;
	grant->claims = (const char *) take(&reader, grant->claims_len);
	grant->signed_bytes = bytes;
	grant->signed_len = len - reader.left;
	grant->mac = take(&reader, CP_KEY_BYTES);

	if (reader.broken || reader.left != 0)
		return "wrong length";
	if (version != CP_VERSION)
		return "unknown version";
	if ((flags & ~(CP_FLAG_SESSION | CP_FLAG_RESET)) != 0)
		return "unknown flags";
	if (grant->kid_len < 1 || grant->kid_len > CP_MAX_KID)
		return "bad kid";
	if (grant->claims_len < 2)
		return "no claims";
	if (memchr(grant->claims, 0, grant->claims_len) != NULL ||
		!pg_verify_mbstr(PG_UTF8, grant->claims, grant->claims_len, true))
		return "claims are not UTF-8";
	grant->scope = flags & CP_FLAG_SESSION ? CP_SCOPE_SESSION : CP_SCOPE_LEASE;
	grant->reset = (flags & CP_FLAG_RESET) != 0;
	return NULL;
}

/*
 * One text for every reason: a client behind the proxy learns nothing, and the
 * server log has the reason.  FATAL, because no EXCEPTION block catches that
 * and because nothing that waits behind this message may run.
 */
static void
refuse(const char *reason)
{
	ereport(FATAL,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("trusted context refused"),
			 errdetail_log("Reason: %s.", reason)));
}

/*
 * Shows a claim in pg_stat_activity, where that was asked for.  What the client
 * writes there later is its own affair: nobody should decide by it.
 */
static void
show_name(void)
{
	JsonbValue	value;
	Jsonb	   *claims;

	if (*cp_name_claim == '\0')
		return;
	claims = cp_context_claims();
	if (!JB_ROOT_IS_OBJECT(claims) ||
		getKeyJsonValueFromContainer(&claims->root, cp_name_claim,
									 strlen(cp_name_claim), &value) == NULL ||
		value.type != jbvString)
		return;
	SetConfigOption("application_name",
					pnstrdup(value.val.string.val, value.val.string.len),
					PGC_USERSET, PGC_S_SESSION);
}

/*
 * switch(bytea): puts another identity's context on this connection.
 *
 * The order matters.  The old context goes first, so that whatever fails below
 * leaves none; the new one comes last, so that it is never seen by the reset.
 * ExitOnAnyError turns an error of the reset itself into a closed connection.
 */
PG_FUNCTION_INFO_V1(claimpool_switch);
Datum
claimpool_switch(PG_FUNCTION_ARGS)
{
	bytea	   *argument;
	CpGrant		grant;
	const char *reason;
	bool		same;

	ExitOnAnyError = true;
	cp_context_wipe();

	/* A statement of the client cannot be a hand-over: it would end itself. */
	if (ActivePortal != NULL || IsSubTransaction())
		refuse("not called by a function call message");
	if (PG_ARGISNULL(0))
		refuse("no argument");

	argument = PG_GETARG_BYTEA_PP(0);
	reason = cp_grant_parse((const uint8 *) VARDATA_ANY(argument),
							VARSIZE_ANY_EXHDR(argument), &grant);
	if (reason == NULL)
		reason = cp_session_verify(&grant);
	if (reason != NULL)
		refuse(reason);

	same = cp_context_same_identity(grant.identity);
	if (!same || grant.reset)
	{
		if (IsTransactionBlock())
			refuse("hand-over inside a transaction");
		cp_reset_session();
	}
	cp_context_install(&grant);
	if (!same || grant.reset)
		show_name();
	ExitOnAnyError = false;
	PG_RETURN_VOID();
}
