#!/bin/sh
# Runs PostgreSQL's own regression and isolation tests, straight and through a proxy in session mode, and compares what comes of them.
# Their sources come from Debian's packages of PostgreSQL, into .cache/regression/. It takes some minutes. (make regression-suite)
#
#   regression-suite.sh [VERSION...]    15 and 18, where nothing is named; of 18 the isolation tests alone: the server that can be had
#                                       for tests crashes in the regression tests of json, without a proxy, too
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 15 18

say() { echo "regression-suite: $*"; }
die() {
	say "$*" >&2
	exit 1
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Debian's come from where this system gets its own packages: those of later releases, too.
sources() {
	[ -e "$tmp/source.list" ] && return
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	mkdir -p "$tmp/lists/partial"
	apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
		awk '$1 == "Debian" { print $2, $3 }' | sort -u >"$tmp/targets"
	mirror=$(awk '$2 !~ /security/ { print $1; exit }' "$tmp/targets")
	[ -n "$mirror" ] && [ -e $keyring ] || die "the sources come from Debian's packages, and this is not Debian"
	{
		sed "s|^|deb-src [signed-by=$keyring] |; s|\$| main|" "$tmp/targets"
		echo "deb-src [signed-by=$keyring] $mirror sid main"
	} >"$tmp/source.list"
	apt_get update
}

# shellcheck disable=SC2086 # options are several words
apt_get() { apt-get -qq $apt_options "$@"; }
apt_options="-o Dir::Etc::sourcelist=$tmp/source.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$tmp/lists -o APT::Sandbox::User=root"

# fetch VERSION
fetch() {
	headers=/usr/include/postgresql/$1/server
	[ -e "$headers/postgres.h" ] || headers=$PWD/.cache/headers/$1
	[ -e "$headers/postgres.h" ] || die "the headers of PostgreSQL $1 are missing: run scripts/setup.sh test"
	say "fetching the sources of PostgreSQL $1"
	sources
	# The newest source that can be had: the archive of security updates may lack it.
	# shellcheck disable=SC2086
	for v in $(apt-cache $apt_options showsrc "postgresql-$1" | sed -n 's/^Version: //p' | sort -Vru); do
		(cd "$tmp" && apt_get source --download-only "postgresql-$1=$v" 2>/dev/null) && break
	done
	rm -rf "$to.half"
	mkdir -p "$to.half"
	tar -xjf "$tmp"/postgresql-"$1"_*.orig.tar.bz2 -C "$to.half" --strip-components=1 --wildcards '*/src/test/regress/*' '*/src/test/isolation/*' ||
		die "the sources of PostgreSQL $1 could not be had"
	gcc -shared -fPIC -O1 -w -I"$headers" -I"$to.half/src/include" -o "$to.half/regress.so" "$to.half/src/test/regress/regress.c"
	rm -rf "$to"
	mv "$to.half" "$to"
}

failed=
for version; do
	to=$PWD/.cache/regression/$version
	[ -e "$to/regress.so" ] || fetch "$version"
	suite=TestRegressionSuite
	[ "$version" != 18 ] || suite=TestRegressionSuite/isolation
	REGRESSION_SOURCE="$to" PGTEST_VERSIONS="$version" PGTEST_REQUIRE=1 \
		go test -tags suites -count=1 -timeout 60m -run "$suite" ./drivers || failed="$failed $version"
done
[ -z "$failed" ] || die "not the same through the proxy as straight:$failed"
