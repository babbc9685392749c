#!/bin/sh
# Creates Rapport's namespace and search attributes; running it again changes nothing.
# Needs the temporal CLI, TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE.
set -eu

RETENTION="${TEMPORAL_RETENTION:-30d}"
ATTEMPTS="${TEMPORAL_ATTEMPTS:-60}"

wait_for() { # what, command...
    what="$1"
    shift
    attempt=1
    until "$@" >/dev/null 2>&1; do
        if [ "$attempt" -ge "$ATTEMPTS" ]; then
            echo "$what: not within $ATTEMPTS attempts at $TEMPORAL_ADDRESS. The last one said:" >&2
            "$@" >&2
            exit 1
        fi
        attempt=$((attempt + 1))
        sleep 1
    done
}

wait_for "Temporal is not healthy" temporal operator cluster health
if ! temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
fi
# A new namespace reaches the frontend's cache within seconds, and search attributes cannot be added before.
wait_for "Namespace $TEMPORAL_NAMESPACE cannot be read" \
    temporal operator search-attribute list --namespace "$TEMPORAL_NAMESPACE"

present="$(temporal operator search-attribute list --namespace "$TEMPORAL_NAMESPACE")"
for attribute in \
    EngagementStage=Keyword EngagementOutcome=Keyword Tenant=Keyword Line=Keyword Provider=Keyword Plan=Keyword \
    NextActionAt=Datetime WaitingSince=Datetime NeedsHuman=Bool HeldBy=Keyword HoldRule=Keyword SendUnknown=Bool \
    Job=Keyword; do
    name="${attribute%%=*}"
    echo "$present" | grep -qw "$name" && continue
    temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" --name "$name" --type "${attribute#*=}"
done
echo "Namespace $TEMPORAL_NAMESPACE is ready."
