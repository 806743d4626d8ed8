#!/bin/sh
# Runs PostgreSQL's own regression and isolation tests, straight and through a proxy in session mode, and compares what fails. Their
# sources come from Debian's package of PostgreSQL, into .cache/regression/. It takes some minutes. (make regression-suite)
set -eu
cd "$(dirname "$0")/.."
version=15
to=$PWD/.cache/regression/$version

say() { echo "regression-suite: $*"; }
die() {
	say "$*" >&2
	exit 1
}

[ -x /usr/lib/postgresql/$version/lib/pgxs/src/test/regress/pg_regress ] || die "this needs PostgreSQL $version from Debian's packages: run scripts/setup.sh test"

if [ ! -e "$to/regress.so" ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	say "fetching the sources of PostgreSQL $version"
	mkdir -p "$tmp/lists/partial"
	sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$tmp/source.sources"
	apt="-qq -o Dir::Etc::sourcelist=$tmp/source.sources -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$tmp/lists -o APT::Sandbox::User=root"
	# shellcheck disable=SC2086 # options are several words
	apt-get $apt update
	# The newest source that can be had: the archive of security updates may lack it.
	# shellcheck disable=SC2086
	for v in $(apt-cache $apt showsrc postgresql-$version | sed -n 's/^Version: //p' | sort -Vru); do
		(cd "$tmp" && apt-get $apt source --download-only "postgresql-$version=$v" 2>/dev/null) && break
	done
	rm -rf "$to.half"
	mkdir -p "$to.half"
	tar -xjf "$tmp"/postgresql-$version*.orig.tar.bz2 -C "$to.half" --strip-components=1 --wildcards '*/src/test/regress/*' '*/src/test/isolation/*' ||
		die "the sources could not be had"
	gcc -shared -fPIC -O1 -w -I"/usr/include/postgresql/$version/server" -I"$to.half/src/include" \
		-o "$to.half/regress.so" "$to.half/src/test/regress/regress.c"
	rm -rf "$to"
	mv "$to.half" "$to"
fi
exec env REGRESSION_SOURCE="$to" go test -tags suites -count=1 -timeout 60m -v -run TestRegressionSuite ./drivers
