/*
 * grant.c
 *		The bytes of a grant, the argument of switch().
 *
 *		 u8 version, u8 flags, u8 calls that follow, u8 kid length, kid,
 *		 u64 counter, i64 expiry, 32 bytes identity, u32 claims length, claims,
 *		 32 bytes MAC
 *
 * Integers are big-endian.  See PROTOCOL.md.
 */
#include "claimpool.h"

#include "port/pg_bswap.h"

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
	grant->following = *take(&reader, 1);
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
	if (memchr(grant->claims, 0, grant->claims_len) != NULL)
		return "NUL in claims";
	grant->scope = flags & CP_FLAG_SESSION ? CP_SCOPE_SESSION : CP_SCOPE_LEASE;
	grant->reset = (flags & CP_FLAG_RESET) != 0;
	return NULL;
}
