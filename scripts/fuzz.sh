#!/bin/bash
# Runs every fuzz target of the module for FUZZTIME (20s) each, or only those
# whose name matches the first argument.
set -euo pipefail
cd "$(dirname "$0")/.."
pattern=${1:-.}
found=0
while read -r package; do
  while read -r target; do
    found=1
    echo "== $package $target"
    go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}"
  done < <(go test -list '^Fuzz' "$package" | grep '^Fuzz' | grep -E -- "$pattern" || true)
done < <(go list ./...)
if [ "$found" = 0 ]; then
  echo "no fuzz target matches $pattern" >&2
  exit 1
fi
