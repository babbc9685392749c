#!/bin/sh
# Builds temporal-server and temporal-sql-tool from the versions in tools/temporal, for tests of the production shape
# on a machine without containers. Prints the directory that holds them. Two runs at once are safe: each builds aside
# and renames. The directory's name carries the hash of go.sum, so another version gets another directory.
set -eu

module="$(cd "$(dirname "$0")/../tools/temporal" && pwd)"
if command -v sha256sum >/dev/null; then sum=sha256sum; else sum="shasum -a 256"; fi
hash="$($sum "$module/go.sum" | cut -c1-16)"
target="${XDG_CACHE_HOME:-$HOME/.cache}/rapport/temporal-$hash"

if [ ! -x "$target/temporal-server" ] || [ ! -x "$target/temporal-sql-tool" ]; then
    command -v go >/dev/null || {
        echo "go is not installed: it builds temporal-server (see tools/temporal/go.mod for the version)" >&2
        exit 1
    }
    mkdir -p "$target"
    aside="$(mktemp -d "$target/.building.XXXXXX")"
    trap 'rm -rf "$aside"' EXIT
    trap 'exit 130' INT TERM
    echo "building temporal-server and temporal-sql-tool into $target (seconds with a warm Go cache, else minutes)" >&2
    cd "$module"
    for tool in temporal-server=cmd/server temporal-sql-tool=cmd/tools/sql; do
        name="${tool%%=*}"
        CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$aside/$name" "go.temporal.io/server/${tool#*=}"
        mv -f "$aside/$name" "$target/$name"
    done
fi
echo "$target"
