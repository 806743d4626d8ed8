/*
 * json.c
 *		JSON as a token may have it (RFC 8259), and no looser.
 *
 * Refused: duplicate members (RFC 7515, section 4: two readers could read two
 * different claims), U+0000, lone surrogates, bytes that are not UTF-8, and
 * nesting that only serves to exhaust the stack.
 */
#include "jose.h"

#include <math.h>

typedef struct Scanner
{
	const char *p;
	const char *end;
	int			depth;
} Scanner;

static bool scan_value(Scanner *s);

static void
skip_space(Scanner *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static bool
take(Scanner *s, char c)
{
	if (s->p >= s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static int
hex4(const char *p, const char *end)
{
	int			value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		char		c = p[i];
		int			digit = c >= '0' && c <= '9' ? c - '0' :
			c >= 'a' && c <= 'f' ? c - 'a' + 10 :
			c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* A code point behind "\u"; -1 for what must not be. */
static int
scan_unicode(Scanner *s)
{
	int			high = hex4(s->p, s->end);
	int			low;

	if (high <= 0 || (high >= 0xDC00 && high <= 0xDFFF))
		return -1;
	s->p += 4;
	if (high < 0xD800 || high > 0xDBFF)
		return high;
	if (s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u')
		return -1;
	low = hex4(s->p + 2, s->end);
	if (low < 0xDC00 || low > 0xDFFF)
		return -1;
	s->p += 6;
	return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

/* A multi-byte character as it stands (RFC 3629, section 4); -1: not UTF-8. */
static int
scan_utf8(Scanner *s)
{
	unsigned char first = (unsigned char) *s->p;
	int			more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
	static const int smallest[] = {0, 0x80, 0x800, 0x10000};
	int			code = first & (0x3F >> more);

	if (first < 0xC2 || first > 0xF4 || s->end - s->p <= more)
		return -1;
	for (int i = 1; i <= more; i++)
	{
		if (((unsigned char) s->p[i] & 0xC0) != 0x80)
			return -1;
		code = code << 6 | (s->p[i] & 0x3F);
	}
	if (code < smallest[more] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
		return -1;
	s->p += more + 1;
	return code;
}

/* The next character of a string; -1 for an error, -2 at the closing quote. */
static int
scan_char(Scanner *s)
{
	static const char escapes[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	const char *escape;

	if (s->p >= s->end || (unsigned char) *s->p < 0x20)
		return -1;
	if ((unsigned char) *s->p >= 0x80)
		return scan_utf8(s);
	if (*s->p == '"')
	{
		s->p++;
		return -2;
	}
	if (*s->p != '\\')
		return *s->p++;
	s->p++;
	if (take(s, 'u'))
		return scan_unicode(s);
	if (s->p >= s->end || *s->p == '\0' || (escape = strchr(escapes, *s->p)) == NULL)
		return -1;
	s->p++;
	return meanings[escape - escapes];
}

/* Skips a string; its hash (FNV-1a over code points) tells it from others. */
static bool
scan_string(Scanner *s, uint64 *hash)
{
	int			c;

	if (!take(s, '"'))
		return false;
	*hash = UINT64CONST(14695981039346656037);
	while ((c = scan_char(s)) >= 0)
		*hash = (*hash ^ c) * UINT64CONST(1099511628211);
	return c == -2;
}

static bool
scan_digits(Scanner *s)
{
	const char *start = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > start;
}

static bool
scan_number(Scanner *s)
{
	take(s, '-');
	if (!take(s, '0') && !scan_digits(s))
		return false;
	if (take(s, '.') && !scan_digits(s))
		return false;
	if (take(s, 'e') || take(s, 'E'))
	{
		if (!take(s, '+'))
			take(s, '-');
		return scan_digits(s);
	}
	return true;
}

/*
 * Two names with one hash count as duplicates: who can make such a pair only
 * has his own token refused.
 */
static bool
scan_object(Scanner *s)
{
	uint64		seen[CP_MAX_MEMBERS];
	int			count = 0;

	s->p++;
	skip_space(s);
	if (take(s, '}'))
		return true;
	do
	{
		uint64		hash;

		skip_space(s);
		if (count == CP_MAX_MEMBERS || !scan_string(s, &hash))
			return false;
		for (int i = 0; i < count; i++)
		{
			if (seen[i] == hash)
				return false;
		}
		seen[count++] = hash;
		skip_space(s);
		if (!take(s, ':') || !scan_value(s))
			return false;
		skip_space(s);
	} while (take(s, ','));
	return take(s, '}');
}

static bool
scan_array(Scanner *s)
{
	s->p++;
	skip_space(s);
	if (take(s, ']'))
		return true;
	do
	{
		if (!scan_value(s))
			return false;
		skip_space(s);
	} while (take(s, ','));
	return take(s, ']');
}

static bool
scan_word(Scanner *s, const char *word)
{
	int			len = strlen(word);

	if (s->end - s->p < len || memcmp(s->p, word, len) != 0)
		return false;
	s->p += len;
	return true;
}

static bool
scan_value(Scanner *s)
{
	uint64		hash;
	bool		ok;

	skip_space(s);
	if (s->p >= s->end || s->depth >= CP_MAX_DEPTH)
		return false;
	s->depth++;
	switch (*s->p)
	{
		case '{':
			ok = scan_object(s);
			break;
		case '[':
			ok = scan_array(s);
			break;
		case '"':
			ok = scan_string(s, &hash);
			break;
		case 't':
			ok = scan_word(s, "true");
			break;
		case 'f':
			ok = scan_word(s, "false");
			break;
		case 'n':
			ok = scan_word(s, "null");
			break;
		default:
			ok = scan_number(s);
			break;
	}
	s->depth--;
	return ok;
}

/* Is this one JSON object and nothing else? */
bool
cp_json_valid(const char *text, int len)
{
	Scanner		s = {text, text + len, 0};

	skip_space(&s);
	if (s.p >= s.end || *s.p != '{' || !scan_value(&s))
		return false;
	skip_space(&s);
	return s.p == s.end;
}

/*
 * Walks through an object or an array that is valid.  *position is NULL at
 * first; name is not set for an array.
 */
bool
cp_json_next(CpJson container, const char **position, CpJson *name, CpJson *value)
{
	Scanner		s = {*position ? *position : container.start + 1,
	container.start + container.len, 0};
	uint64		hash;

	skip_space(&s);
	take(&s, ',');
	skip_space(&s);
	if (s.p >= s.end || *s.p == '}' || *s.p == ']')
		return false;
	if (*container.start == '{')
	{
		name->start = s.p;
		if (!scan_string(&s, &hash))
			return false;
		name->len = s.p - name->start;
		skip_space(&s);
		if (!take(&s, ':'))
			return false;
		skip_space(&s);
	}
	value->start = s.p;
	if (!scan_value(&s))
		return false;
	value->len = s.p - value->start;
	*position = s.p;
	return true;
}

/* A member of a valid object, by its name in ASCII. */
bool
cp_json_get(CpJson object, const char *name, CpJson *value)
{
	const char *position = NULL;
	CpJson		found;
	char		buffer[64];

	if (object.len < 1 || *object.start != '{')
		return false;
	while (cp_json_next(object, &position, &found, value))
	{
		if (cp_json_string(found, buffer, sizeof(buffer)) >= 0 && strcmp(buffer, name) == 0)
			return true;
	}
	return false;
}

/* Unescapes a string, with a terminator.  -1: no string, or it does not fit. */
int
cp_json_string(CpJson value, char *dst, int size)
{
	Scanner		s = {value.start, value.start + value.len, 0};
	int			len = 0;
	int			c;

	if (!take(&s, '"'))
		return -1;
	while ((c = scan_char(&s)) >= 0)
	{
		if (len + 4 >= size)
			return -1;
		if (c < 0x80)
			dst[len++] = c;
		else if (c < 0x800)
		{
			dst[len++] = 0xC0 | c >> 6;
			dst[len++] = 0x80 | (c & 0x3F);
		}
		else if (c < 0x10000)
		{
			dst[len++] = 0xE0 | c >> 12;
			dst[len++] = 0x80 | (c >> 6 & 0x3F);
			dst[len++] = 0x80 | (c & 0x3F);
		}
		else
		{
			dst[len++] = 0xF0 | c >> 18;
			dst[len++] = 0x80 | (c >> 12 & 0x3F);
			dst[len++] = 0x80 | (c >> 6 & 0x3F);
			dst[len++] = 0x80 | (c & 0x3F);
		}
	}
	dst[len] = '\0';
	return c == -2 ? len : -1;
}

/* A NumericDate (RFC 7519, section 2): a number, not a string of one. */
bool
cp_json_seconds(CpJson value, double *seconds)
{
	char		buffer[64];

	if (value.len < 1 || value.len >= (int) sizeof(buffer) ||
		(*value.start != '-' && (*value.start < '0' || *value.start > '9')))
		return false;
	memcpy(buffer, value.start, value.len);
	buffer[value.len] = '\0';
	*seconds = strtod(buffer, NULL);
	return isfinite(*seconds) && *seconds >= 0 && *seconds < 9e9;
}
