#!/bin/sh
# Builds claimpool and the benchmark, and compares: every flag goes to "bench compare" (try -help, -quick, -real).
# Results are appended to bench/history.tsv, except with -quick. With -handover as the first flag, hand-overs are compared
# ("bench handover"), and the results go to bench/handover.tsv; with -logins, what 1,000 logins a second do to those who are connected
# ("bench logins", bench/logins.tsv); a -history of your own, behind it, wins. BENCH_FIRST=1 (as root) goes before all other work on
# the machine, for figures that can be used although there is some.
set -eu
cd "$(dirname "$0")/.."

for program in pgbouncer taskset; do
	command -v "$program" >/dev/null || { echo "bench: $program is missing: sh scripts/setup.sh test" >&2; exit 1; }
done

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/bench" ./bench
go build -o "$bin/claimpool" ./cmd/claimpool

if [ "${1:-}" = -handover ]; then
	shift
	set -- "$bin/bench" handover -claimpool "$bin/claimpool" -history bench/handover.tsv "$@"
elif [ "${1:-}" = -logins ]; then
	shift
	set -- "$bin/bench" logins -claimpool "$bin/claimpool" -history bench/logins.tsv "$@"
else
	set -- "$bin/bench" compare -claimpool "$bin/claimpool" -history bench/history.tsv "$@"
fi
if [ "${BENCH_FIRST:-}" = 1 ]; then
	# Linux divides the processor between sessions before it looks at nice values: take a session of our own, and favour it.
	# shellcheck disable=SC2016
	setsid -w sh -c 'echo -20 >/proc/self/autogroup; exec "$@"' sh "$@"
else
	"$@"
fi
