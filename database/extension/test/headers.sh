#!/bin/sh
# Fetches the headers of the PostgreSQL versions that this Debian does not have, into .cache/headers/NN: 17 and 18 from
# Debian's own packages of later releases, 16 from the Python package pgserver, with a pinned checksum. Nothing is
# installed; the running system's package lists are not touched. For 14 no package with headers is known.
#
#   headers.sh 16 17 18
set -eu
cd "$(dirname "$0")/../../.."
cache=$PWD/.cache/headers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$cache"
# put VERSION FOLDER: half a folder must not look like a whole one
put() {
	rm -rf "$cache/.half-$1"
	cp -r "$2" "$cache/.half-$1"
	rm -rf "$cache/$1"
	mv "$cache/.half-$1" "$cache/$1"
	echo "headers of PostgreSQL $1: $cache/$1"
}

wheel=pgserver-0.1.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
from_python() {
	[ "$(uname -m)" = x86_64 ] && command -v pip >/dev/null && command -v python3 >/dev/null || {
		echo "headers of PostgreSQL 16: they come with a package for x86-64, by pip"
		return
	}
	(cd "$work" && pip download --quiet --no-deps --only-binary=:all: --implementation cp --abi cp311 --python-version 3.11 \
		--platform manylinux2014_x86_64 pgserver==0.1.4)
	echo "d595789b47624a3d963aa9aa6359da9be31beb7e61f1a45541953242068b8813  $work/$wheel" | sha256sum --check --status
	python3 -m zipfile -e "$work/$wheel" "$work/wheel"
	put 16 "$work/wheel/pgserver/pginstall/include/postgresql/server"
}

# Debian's come from where this system gets its own packages.
get() {
	apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Acquire::Languages=none "$@"
}

from_debian() {
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
	[ -n "$mirror" ] && [ -e $keyring ] || { echo "headers of PostgreSQL $1: only from Debian's packages, and this is not Debian"; return; }
	if [ $updated = no ]; then
		for suite in trixie sid; do
			echo "deb [signed-by=$keyring] $mirror $suite main"
		done >"$work/sources.list"
		get update
		updated=yes
	fi
	(cd "$work" && get download "postgresql-server-dev-$1" && dpkg -x postgresql-server-dev-"$1"_*.deb "root$1")
	put "$1" "$work/root$1/usr/include/postgresql/$1/server"
}

updated=no
for version in "$@"; do
	[ -e "$cache/$version/postgres.h" ] && continue
	case $version in
	14) echo "headers of PostgreSQL 14: no package is known that has them" ;;
	16) from_python ;;
	*) from_debian "$version" ;;
	esac
done
