#!/bin/sh
# Makes every secret of docker-compose.yml that does not exist yet; never touches one that does.
# Usage: deploy/make-secrets.sh [DIRECTORY], by default deploy/secrets, which git ignores.
#
# The directory is closed to everybody else on this host. The files in it are readable, because a container without
# root sees them with the owner and mode that they have here.
set -eu

directory="${1:-$(dirname "$0")/secrets}"
mkdir -p "$directory"
chmod 0700 "$directory"
cd "$directory"
umask 022

random() { # bytes, as hex
    od -An -v -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

keep() { # file; content on standard input
    [ -s "$1" ] && return
    cat >"$1.new"
    chmod 0444 "$1.new"
    mv "$1.new" "$1"
    echo "made $directory/$1"
}

for password in postgres_password temporal_db_password rapport_db_password; do
    random 24 | keep "$password"
done
# libpq reads the password of Rapport's store from this service file (docker-compose.yml: PGSERVICEFILE).
printf '[rapport]\npassword=%s\n' "$(cat rapport_db_password)" | keep store_service
random 32 | keep master_key
random 32 | keep pepper
random 24 | keep codec_token

# What deploy/rapport.example.yaml refers to, for the sandbox. Put real credentials beside them under names of your own.
mkdir -p accounts
chmod 0755 accounts
for token in recrubo_token recrubo_webhook_secret rest_token; do
    random 24 | keep "accounts/$token"
done
printf 'whsec_%s' "$(head -c 24 /dev/urandom | base64)" | keep accounts/ats_secret

# The sandbox plays the other side, so it knows the same secrets.
keep sandbox <<SETTINGS
host: 0.0.0.0
accounts:
  recrubo:
    - token: $(cat accounts/recrubo_token)
      webhook_url: http://gateway:8080/webhooks/recrubo/recrubo-sandbox
      webhook_secret: $(cat accounts/recrubo_webhook_secret)
      flows:
        - {id: flow-intake, collects: [available, city]}
      templates:
        - {id: tpl-intake, name: intake_v1, body: "Hello {{1}}, are you still looking for work?"}
        - {id: tpl-reminder, name: reminder_v1, body: "Hello {{1}}, we are still waiting for your answer."}
ats:
  demo: $(cat accounts/ats_secret)
SETTINGS
