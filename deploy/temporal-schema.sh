#!/bin/sh
# Creates or updates Temporal's two PostgreSQL databases; running it again changes nothing.
# Needs temporal-sql-tool, SQL_HOST, SQL_PORT, SQL_USER, and SQL_PASSWORD or a file named by SQL_PASSWORD_FILE.
set -eu

: "${SQL_PASSWORD:=$(cat "${SQL_PASSWORD_FILE:?set SQL_PASSWORD or SQL_PASSWORD_FILE}")}"
SQL_PLUGIN=postgres12
export SQL_PASSWORD SQL_PLUGIN

prepare() { # database, its schema, which is embedded in the tool
    temporal-sql-tool --database "$1" create-database
    temporal-sql-tool --database "$1" setup-schema --version 0.0
    temporal-sql-tool --database "$1" update-schema --schema-name "$2"
}

prepare temporal postgresql/v12/temporal
prepare temporal_visibility postgresql/v12/visibility
echo "Temporal's databases are at the schema of this release."
