#!/bin/sh
# Compiles the extension for the headers in one folder, without installing it.
#
#   build.sh INCLUDEDIR OUTPUT [CFLAGS...]
set -eu
include=$1
output=$2
shift 2
cd "$(dirname "$0")/.."
exec "${CC:-cc}" -std=gnu11 -shared -fPIC -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type -fno-strict-aliasing -fwrapv -D_GNU_SOURCE "$@" -I. -isystem "$include" ./*.c -lcrypto -o "$output"
