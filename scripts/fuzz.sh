#!/bin/sh
# Runs every fuzz target of the module for the given time each (20s when none is given), one after the other.
set -eu
cd "$(dirname "$0")/.."
time=${1:-20s}
grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u | while read -r dir; do
	grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | sed 's/^func //' | while read -r target; do
		echo "fuzz: $dir $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir"
	done
done
