#!/bin/sh
# Builds the PgBouncer of a later Debian from Debian's signed sources, with its patches and flags, as those who install the package
# have it, for comparisons (the one of Debian 12 has no prepared statements), into .cache/pgbouncer, and prints the program's
# path. Needs root once, for libevent's headers and dpkg-dev; nothing else is installed, and the system's package lists are not touched.
#
#   sh bench/run.sh -pgbouncer "$(sh scripts/pgbouncer.sh)" -workloads simple,extended,prepared -clients 64
set -eu
cd "$(dirname "$0")/.."
suite=${1:-trixie}
program=$PWD/.cache/pgbouncer/$suite/pgbouncer

if [ ! -x "$program" ]; then
	for package in libevent-dev libssl-dev pkg-config gcc make dpkg-dev; do
		dpkg -s "$package" >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends "$package" >&2
	done
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
	[ -n "$mirror" ] && [ -e $keyring ] || { echo "pgbouncer.sh: this is not Debian: give bench/run.sh a -pgbouncer of your own" >&2; exit 1; }
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "${program%/*}"
	echo "deb-src [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
	get() {
		apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
			-o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Acquire::Languages=none "$@" >&2
	}
	get update
	(cd "$work" && get source --download-only pgbouncer && dpkg-source --no-check -x pgbouncer_*.dsc tree >/dev/null) # apt has checked it
	echo "pgbouncer.sh: building, about a minute" >&2
	(cd "$work/tree" && eval "$(dpkg-buildflags --export=sh)" && ./configure --quiet --without-cares --with-openssl && make --quiet) >"$work/log" 2>&1 ||
		{ tail -20 "$work/log" >&2; exit 1; }
	cp "$work/tree/pgbouncer" "$program"
fi
echo "$program"
