#!/bin/sh
# Compiles the extension for the headers in one folder, without installing it.
#
#   build.sh INCLUDEDIR OUTPUT [CFLAGS...]
#   STUB=function build.sh INCLUDEDIR OUTPUT    a library that exports this function
set -eu
include=$1
output=$2
shift 2
cd "$(dirname "$0")/.."
sources=$(echo ./*.c)
if [ -n "${STUB:-}" ]; then
	sources=test/stub/stub.c
	set -- -DNAME="$STUB"
fi
exec "${CC:-cc}" -std=gnu11 -shared -fPIC -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type -fno-strict-aliasing -fwrapv -D_GNU_SOURCE "$@" -I. -isystem "$include" $sources -lcrypto -o "$output"
