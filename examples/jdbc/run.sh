#!/bin/sh
set -eu
cd "$(dirname "$0")"
sh ../../scripts/setup-drivers.sh jdbc
exec java -cp "$(echo ../../.cache/drivers/jdbc/*.jar)" Invoices.java
