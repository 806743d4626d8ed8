#!/bin/sh
# One transaction with psql, which reads where to go, and the token, from PGHOST, PGPASSWORD and so on.
set -eu
cd "$(dirname "$0")"
exec psql --no-psqlrc --quiet --tuples-only --no-align --field-separator=' ' --set=ON_ERROR_STOP=1 --set=limit=100 --file=invoices.sql
