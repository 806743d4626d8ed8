/*
 * base64url.c
 *		Strict base64url without padding (RFC 4648, section 5; RFC 7515,
 *		section 2).
 *
 * Refused: padding, white space, the standard alphabet, a length that is no
 * encoding, and left-over bits that are not zero.  So each byte string has one
 * spelling, and a token cannot be varied without breaking its signature.
 */
#include "claimpool.h"

/* The value of a character; -1 for one that is not in the alphabet. */
int
cp_base64url_sextet(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	if (c == '_')
		return 63;
	return -1;
}

/* Returns the number of bytes written (at most len / 4 * 3 + 2), or -1. */
int
cp_base64url_decode(const char *src, int len, uint8 *dst)
{
	uint32		bits = 0;
	int			count = 0;
	int			written = 0;

	if (len < 0 || len % 4 == 1)
		return -1;
	for (int i = 0; i < len; i++)
	{
		int			value = cp_base64url_sextet((unsigned char) src[i]);

		if (value < 0)
			return -1;
		bits = (bits << 6 | value) & 0xFFFFFF;
		count += 6;
		if (count >= 8)
		{
			count -= 8;
			dst[written++] = bits >> count & 0xFF;
		}
	}
	if ((bits & ((1u << count) - 1)) != 0)
		return -1;
	return written;
}

/* Writes (len * 4 + 2) / 3 characters and a terminator; returns their number. */
int
cp_base64url_encode(const uint8 *src, int len, char *dst)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32		bits = 0;
	int			count = 0;
	int			written = 0;

	for (int i = 0; i < len; i++)
	{
		bits = (bits << 8 | src[i]) & 0xFFFFFF;
		count += 8;
		while (count >= 6)
		{
			count -= 6;
			dst[written++] = alphabet[bits >> count & 63];
		}
	}
	if (count > 0)
		dst[written++] = alphabet[bits << (6 - count) & 63];
	dst[written] = '\0';
	return written;
}
