#!/bin/sh
set -eu
cd "$(dirname "$0")"
sh ../../scripts/setup-drivers.sh psycopg
exec ../../.cache/drivers/psycopg/bin/python invoices.py
