#!/bin/sh
set -eu
cd "$(dirname "$0")"
sh ../../scripts/setup-drivers.sh node-postgres
NODE_PATH=../../.cache/drivers/node-postgres/node_modules exec node invoices.js
