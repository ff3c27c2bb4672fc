#!/bin/bash
# Runs every fuzz target of the module for FUZZTIME (20s) each, or only those
# whose name matches the first argument. Inputs that are merely interesting are
# hardly made smaller: where other goroutines run, what an input covers differs
# from run to run, and making it smaller would take all the time.
set -euo pipefail
cd "$(dirname "$0")/.."
pattern=${1:-.}
found=0
while read -r package; do
  while read -r target; do
    found=1
    echo "== $package $target"
    go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 20x
  done < <(go test -list '^Fuzz' "$package" | grep '^Fuzz' | grep -E -- "$pattern" || true)
done < <(go list ./...)
if [ "$found" = 0 ]; then
  echo "no fuzz target matches $pattern" >&2
  exit 1
fi
