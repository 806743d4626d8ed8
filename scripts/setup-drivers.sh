#!/bin/sh
# Fetches the database drivers of examples/ into .cache/drivers/, in the versions that the examples pin. A second run changes
# nothing. What is missing of node, python and java is installed on Debian and Ubuntu, as root or through sudo.
#
#   scripts/setup-drivers.sh                 all of them
#   scripts/setup-drivers.sh node-postgres   one: node-postgres, psycopg or jdbc (psql and pgx need nothing)
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
die() {
	say "$*"
	exit 1
}

install() {
	command -v apt-get >/dev/null || die "this is not Debian or Ubuntu: please install $* yourself"
	as_root=
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || die "root is needed to install $*  (there is no sudo: run it as root, then try again)"
		as_root=sudo
	fi
	say "installing $*"
	$as_root apt-get update -qq
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "$@" >/dev/null
}

# fetched NAME FILE...: is the driver there, made from just these files?
fetched() {
	name=$1
	shift
	[ -e ".cache/drivers/$name/made-from" ] && cat "$@" | cmp -s - ".cache/drivers/$name/made-from"
}

# begin NAME: an empty folder, which counts only when it is done.
begin() {
	say "fetching the driver for examples/$1"
	rm -rf ".cache/drivers/$1"
	mkdir -p ".cache/drivers/$1"
}

# quietly LOG COMMAND...: says nothing unless it fails.
quietly() {
	log=$1
	shift
	"$@" >"$log" 2>&1 || {
		cat "$log" >&2
		die "this failed: $*"
	}
	rm "$log"
}

node_postgres() {
	from=examples/node-postgres
	to=.cache/drivers/node-postgres
	command -v node >/dev/null || install nodejs
	fetched node-postgres $from/package-lock.json && return
	command -v npm >/dev/null || install npm
	begin node-postgres
	cp $from/package.json $from/package-lock.json $to/
	quietly $to/log npm ci --prefix $to --ignore-scripts --no-audit --no-fund
	cp $from/package-lock.json $to/made-from
}

psycopg() {
	from=examples/psycopg
	to=.cache/drivers/psycopg
	fetched psycopg $from/requirements.txt && $to/bin/python -c 'import psycopg' 2>/dev/null && return
	python3 -c 'import venv, ensurepip' 2>/dev/null || install python3 python3-venv
	begin psycopg
	quietly $to/log python3 -m venv $to
	quietly $to/log $to/bin/pip install --disable-pip-version-check --no-input --only-binary :all: --requirement $from/requirements.txt
	cp $from/requirements.txt $to/made-from
}

jdbc() {
	to=.cache/drivers/jdbc
	command -v javac >/dev/null || install default-jdk-headless
	fetched jdbc examples/jdbc/driver.sha256 && return
	command -v mvn >/dev/null || install maven
	begin jdbc
	version=$(sed -n 's/.*postgresql-\(.*\)\.jar$/\1/p' examples/jdbc/driver.sha256)
	quietly $to/log mvn --batch-mode --quiet org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
		-Dartifact="org.postgresql:postgresql:$version" -DoutputDirectory="$PWD/$to"
	(cd $to && sha256sum --check --status ../../../examples/jdbc/driver.sha256) || die "the JDBC driver is not the one that was reviewed"
	cp examples/jdbc/driver.sha256 $to/made-from
}

# Two at once would get in each other's way.
mkdir -p .cache/drivers
exec 9>.cache/drivers/lock
flock 9
case "${1:-all}" in
all)
	node_postgres
	psycopg
	jdbc
	;;
node-postgres) node_postgres ;;
psycopg | jdbc) "$1" ;;
*) die "unknown driver \"$1\": node-postgres, psycopg or jdbc" ;;
esac
