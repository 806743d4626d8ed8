#!/bin/sh
# Runs make installcheck against a private cluster, without installing anything: the server runs from a copy of its
# programs, beside which the extension is put. As root it runs as the user postgres.
#
#   run.sh [PG_CONFIG]
#   SERVER=FOLDER HEADERS=FOLDER run.sh [PG_CONFIG]
#
# The second form takes a server of another version, which has no PGXS of its own, and builds the extension for it:
# pg_regress and psql are those of PG_CONFIG.
#
# With VALGRIND=1 the server runs in valgrind, and every error that has the extension in its stack is a failure.
set -eu
cd "$(dirname "$0")/.."
config=${1:-pg_config}
from=
bin=$($config --bindir)
lib=$($config --pkglibdir)
share=$($config --sharedir)
if [ -n "${SERVER:-}" ]; then
	from=$(cd "$SERVER" && pwd)
	bin=/bin
	lib=/lib/postgresql
	share=/share/postgresql
fi
work=$(mktemp -d)
chmod 755 "$work"

as=
if [ "$(id -u)" = 0 ]; then
	as="setpriv --reuid=postgres --regid=postgres --clear-groups"
	mkdir "$work/data" "$work/socket"
	chown postgres "$work/data" "$work/socket"
else
	mkdir "$work/data" "$work/socket"
fi
stop() {
	(cd / && $as "$work$bin/pg_ctl" -D "$work/data" -m immediate -w stop >/dev/null 2>&1) || true
	rm -rf "$work"
}
trap stop EXIT INT TERM

# A server finds its files from where its program lies.
mkdir -p "$work$bin" "$work$lib" "$work$share/extension"
cp "$from$bin/postgres" "$from$bin/initdb" "$from$bin/pg_ctl" "$work$bin/"
if [ -n "$from" ]; then # with the libraries that it brings along
	for file in "$from"/lib/*.so*; do ln -s "$file" "$work/lib/"; done
fi
for file in "$from$lib"/*; do ln -s "$file" "$work$lib/"; done
for file in "$from$share"/*; do [ "$(basename "$file")" = extension ] || ln -s "$file" "$work$share/"; done
for file in "$from$share"/extension/*; do ln -s "$file" "$work$share/extension/"; done
rm -f "$work$lib/claimpool.so" "$work$share"/extension/claimpool*
if [ -n "$from" ]; then
	test/build.sh "$(cd "$HEADERS" && pwd)" "$work$lib/claimpool.so"
else
	cp claimpool.so "$work$lib/"
fi
cp claimpool.control claimpool--*.sql "$work$share/extension/"

(cd / && $as "$work$bin/initdb" -D "$work/data" -A trust -U postgres >/dev/null)
cat >>"$work/data/postgresql.conf" <<END
shared_preload_libraries = 'claimpool'
unix_socket_directories = '$work/socket'
listen_addresses = ''
fsync = off
${EXTRA_SETTINGS:-}
END
server=$work$bin/postgres
if [ "${VALGRIND:-}" = 1 ]; then
	server=$work$bin/postgres-in-valgrind
	cat >"$server" <<END
#!/bin/sh
exec valgrind --quiet --leak-check=no --num-callers=30 --log-file=$work/socket/valgrind.%p "$work$bin/postgres" "\$@"
END
	chmod 755 "$server"
fi
(cd / && $as "$work$bin/pg_ctl" -D "$work/data" -p "$server" -l "$work/socket/log" -t 300 -w start >/dev/null)
if ! PGHOST=$work/socket make -s installcheck PG_CONFIG="$config"; then
	cat regression.diffs 2>/dev/null || true
	exit 1
fi
if [ "${VALGRIND:-}" = 1 ]; then
	(cd / && $as "$work$bin/pg_ctl" -D "$work/data" -t 300 -w stop >/dev/null)
	ls "$work"/socket/valgrind.* >/dev/null # or valgrind has not run
	if grep -l claimpool.so "$work"/socket/valgrind.*; then
		cat $(grep -l claimpool.so "$work"/socket/valgrind.*)
		exit 1
	fi
	echo "valgrind: nothing in $(ls "$work"/socket/valgrind.* | wc -l) processes"
fi
