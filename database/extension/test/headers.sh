#!/bin/sh
# Fetches the headers of the PostgreSQL versions that this Debian does not have, from Debian's own packages of later
# releases, into .cache/headers/NN. Nothing is installed; the running system's package lists are not touched.
#
#   headers.sh 17 18
set -eu
cd "$(dirname "$0")/../../.."
cache=$PWD/.cache/headers
apt=$(mktemp -d)
trap 'rm -rf "$apt"' EXIT
chmod 755 "$apt"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$cache"
# From where this system gets its own packages.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
	awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
[ -n "$mirror" ] && [ -e $keyring ] || { echo "headers of PostgreSQL $*: only from Debian's packages, and this is not Debian"; exit 0; }
for suite in trixie sid; do
	echo "deb [signed-by=$keyring] $mirror $suite main"
done >"$apt/sources.list"

get() {
	apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o Acquire::Languages=none "$@"
}

updated=no
for version in "$@"; do
	[ -e "$cache/$version/postgres.h" ] && continue
	[ $updated = yes ] || get update
	updated=yes
	(cd "$apt" && get download "postgresql-server-dev-$version" && dpkg -x postgresql-server-dev-"$version"_*.deb "root$version")
	rm -rf "$cache/$version"
	cp -r "$apt/root$version/usr/include/postgresql/$version/server" "$cache/$version"
	echo "headers of PostgreSQL $version: $cache/$version"
done
