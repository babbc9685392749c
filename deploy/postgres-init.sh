#!/bin/sh
# Runs once, when the PostgreSQL volume is empty: one role and its databases for Temporal, one for Rapport.
# Neither can read the other's. The image runs it with POSTGRES_USER set; the passwords are secrets.
set -eu

SECRETS="${SECRETS:-/run/secrets}"
TEMPORAL_PASSWORD="$(cat "$SECRETS/temporal_db_password")"
RAPPORT_PASSWORD="$(cat "$SECRETS/rapport_db_password")"
export TEMPORAL_PASSWORD RAPPORT_PASSWORD

# Passwords travel through the environment, so that no process list shows them.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv temporal_password TEMPORAL_PASSWORD
\getenv rapport_password RAPPORT_PASSWORD
CREATE ROLE temporal LOGIN CREATEDB PASSWORD :'temporal_password';
CREATE ROLE rapport LOGIN PASSWORD :'rapport_password';
CREATE DATABASE rapport OWNER rapport;
REVOKE ALL ON DATABASE rapport FROM PUBLIC;
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO temporal;
SQL
