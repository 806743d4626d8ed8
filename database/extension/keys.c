/*
 * keys.c
 *		The keys by which this server knows its proxies.
 *
 * claimpool.proxy_keys holds public keys: there is no secret in it to steal.
 * claimpool.key_file names a file of symmetric keys, for an OpenSSL without
 * X25519.  Both are lists of kid:key, the key being 32 bytes in base64url, so
 * a key is replaced by having two in the list for a while.
 */
#include "claimpool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CP_KEY_CHARS 43			/* 32 bytes in base64url */

/* A list longer than this is no list of keys; it bounds what a reload reads. */
#define CP_MAX_KEY_FILE 65536

static bool
is_space(char c)
{
	return c == ' ' || c == ',' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_kid_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/*
 * Takes the next kid:key from *list.  Returns 1 for an entry, 0 at the end, and
 * -1 for what is neither.
 */
static int
next_entry(const char **list, const char **kid, int *kid_len, uint8 *key)
{
	const char *p = *list;
	int			len;

	while (is_space(*p))
		p++;
	if (*p == '\0')
		return 0;

	*kid = p;
	while (is_kid_char(*p))
		p++;
	*kid_len = p - *kid;
	if (*kid_len < 1 || *kid_len > CP_MAX_KID || *p++ != ':')
		return -1;

	for (len = 0; p[len] != '\0' && !is_space(p[len]);)
		len++;
	if (len != CP_KEY_CHARS || cp_base64url_decode(p, len, key) != CP_KEY_BYTES)
		return -1;
	*list = p + len;
	return 1;
}

/* False too when the list has an error: half a list is not trusted. */
static bool
find_key(const char *list, const char *kid, int kid_len, uint8 *key)
{
	uint8		candidate[CP_KEY_BYTES];
	const char *candidate_kid;
	int			candidate_len;
	int			found;
	bool		matched = false;

	while ((found = next_entry(&list, &candidate_kid, &candidate_len, candidate)) == 1)
	{
		if (matched || candidate_len != kid_len ||
			memcmp(candidate_kid, kid, kid_len) != 0)
			continue;
		memcpy(key, candidate, CP_KEY_BYTES);
		matched = true;
	}
	cp_wipe(candidate, sizeof(candidate));
	return matched && found == 0;
}

/* Is this a list that find_key() can read? */
bool
cp_check_proxy_keys(const char *list)
{
	const char *kid;
	int			kid_len;
	uint8		key[CP_KEY_BYTES];
	int			found;

	while ((found = next_entry(&list, &kid, &kid_len, key)) == 1)
		;
	return found == 0;
}

bool
cp_find_proxy_key(const char *kid, int kid_len, uint8 *key)
{
	return cp_proxy_keys != NULL && find_key(cp_proxy_keys, kid, kid_len, key);
}

/*
 * Reads a file with secrets, as a terminated text.  Who may have access is what
 * PostgreSQL demands of a TLS key: the server's user alone, or root with the
 * server's group reading.  Returns the length, -1 for any failure.
 */
int
cp_read_private_file(const char *path, char *text, int size)
{
	struct stat st;
	ssize_t		len = -1;
	int			fd;

	if (path == NULL || *path == '\0')
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < size &&
		((st.st_uid == geteuid() && (st.st_mode & (S_IRWXG | S_IRWXO)) == 0) ||
		 (st.st_uid == 0 && (st.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) == 0)))
		len = read(fd, text, size - 1);
	close(fd);
	if (len >= 0)
		text[len] = '\0';
	return (int) len;
}

/*
 * Reads the key file at each look-up, that is once per server connection: a new
 * file is in force at once, and no key waits in memory.
 */
bool
cp_find_file_key(const char *kid, int kid_len, uint8 *key)
{
	char		list[CP_MAX_KEY_FILE];
	bool		found = cp_read_private_file(cp_key_file, list, sizeof(list)) > 0 &&
		find_key(list, kid, kid_len, key);

	cp_wipe(list, sizeof(list));
	return found;
}
