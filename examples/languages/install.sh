#!/bin/bash
# Installs the npm package pg, as node/package-lock.json has it, into
# build/languages/node, where the tests look for it. When it is there already,
# nothing is done.
set -euo pipefail
cd "$(dirname "$0")"
into=../../build/languages/node

if ! command -v npm >/dev/null; then
  echo "install: there is no npm in PATH: install Node.js 18 or newer" >&2
  exit 1
fi
mkdir -p "$into"
cmp -s node/package-lock.json "$into/installed.json" && exit 0
rm -f "$into/installed.json"
cp node/package.json node/package-lock.json "$into/"
npm ci --prefix "$into" --no-audit --no-fund --loglevel=error >&2
cp node/package-lock.json "$into/installed.json" # last, so that it means that all is there
