#!/bin/sh
# Builds claimpool and the benchmark, and compares: every flag goes to "bench compare" (try -help, -quick, -real).
# Results are appended to bench/history.tsv, except with -quick.
set -eu
cd "$(dirname "$0")/.."

for program in pgbouncer taskset; do
	command -v "$program" >/dev/null || { echo "bench: $program is missing: sh scripts/setup.sh test" >&2; exit 1; }
done

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/bench" ./bench
go build -o "$bin/claimpool" ./cmd/claimpool

"$bin/bench" compare -claimpool "$bin/claimpool" -history bench/history.tsv "$@"
