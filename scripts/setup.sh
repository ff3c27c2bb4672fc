#!/bin/bash
# Installs what the tests, the demo and the benchmark need and the machine
# lacks: PostgreSQL, ZooKeeper, Patroni, PgBouncer, libfaketime, make, a C
# compiler for the race detector, patchelf for other versions of PostgreSQL,
# Chromium for the test of the booking example's page, and Python, Node.js and
# Java with their drivers for the examples in these languages. With
# --demo it is only what make demo needs: PostgreSQL and ZooKeeper. It may be run
# again; when nothing is missing it does nothing. It starts no service: the
# tests start servers of their own.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
case ${1:-} in
  '') all=yes ;;
  --demo) all=no ;;
  *) echo "setup: unknown argument $1" >&2; exit 2 ;;
esac

missing=()
need() { # need PACKAGE... -- COMMAND...: the packages, unless the command succeeds
  local packages=()
  while [ "$1" != -- ]; do packages+=("$1"); shift; done
  shift
  "$@" >/dev/null 2>&1 || missing+=("${packages[@]}")
}
postgres_there() {
  [ -n "${PGROUTE_PG_BIN:-}" ] && [ -x "$PGROUTE_PG_BIN/postgres" ] && return
  compgen -G '/usr/lib/postgresql/*/bin/postgres' || command -v postgres
}
pgbench_there() {
  [ -n "${PGROUTE_PG_BIN:-}" ] && [ -x "$PGROUTE_PG_BIN/pgbench" ] && return
  compgen -G '/usr/lib/postgresql/*/bin/pgbench' || command -v pgbench
}
zookeeper_there() { [ -e /usr/share/java/zookeeper.jar ] && [ -e /usr/share/java/slf4j-simple.jar ] && command -v java; }
patroni_there() { command -v patroni && command -v patronictl && /usr/bin/python3 -c 'import kazoo'; }
pgbouncer_there() { [ -x /usr/sbin/pgbouncer ] || command -v pgbouncer; }
faketime_there() { compgen -G '/usr/lib/*/faketime/libfaketime.so.1'; }
network_there() { [ -x /usr/sbin/nft ] && [ -x /usr/sbin/tc ] && { [ -x /usr/sbin/ip ] || [ -x /sbin/ip ]; }; }
compiler_there() { command -v "${CC:-gcc}" && [ -e /usr/include/stdlib.h ]; }
chromium_there() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
fonts_there() { [ -n "$(find /usr/share/fonts -name '*.[ot]tf' -print -quit)" ]; }
# The drivers are Debian's, for Debian's Python.
python_there() { /usr/bin/python3 -c 'import psycopg2, psycopg'; }
# Node.js's packages come from npm, in the versions that a file locks. Without
# them one test fails, and says so.
finish() {
  [ "$all" = no ] || [ ! -x examples/languages/install.sh ] || examples/languages/install.sh ||
    echo "setup: the packages of Node.js could not be installed" >&2
}

if ! command -v go >/dev/null; then
  echo "setup: there is no go in PATH: install Go 1.26 or newer from https://go.dev/dl/" >&2
  exit 1
fi
need postgresql postgresql-client -- postgres_there
need zookeeper libslf4j-java -- zookeeper_there
if [ "$all" = yes ]; then
  need postgresql -- pgbench_there # Debian has it in the server's package
  need patroni python3-kazoo -- patroni_there
  need pgbouncer -- pgbouncer_there
  need iproute2 nftables -- network_there # the hosts of make chaos
  need libfaketime -- faketime_there # the clocks of its servers
  need patchelf -- command -v patchelf # the servers of make versions
  need gcc libc6-dev -- compiler_there
  need make -- command -v make
  need openssl -- command -v openssl # a test of TLS renegotiation speaks with it
  need chromium -- chromium_there
  need fonts-liberation -- fonts_there # a page without letters is no page
  need python3 python3-psycopg2 python3-psycopg -- python_there
  need nodejs -- command -v node
  need npm -- command -v npm
  need default-jdk-headless -- command -v javac
  need libpostgresql-jdbc-java -- test -e /usr/share/java/postgresql.jar
fi
if [ ${#missing[@]} -eq 0 ]; then
  finish
  exit
fi
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if ! command -v apt-get >/dev/null; then
  echo "setup: this is not Debian; install by hand what provides: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: run as root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

# Debian asks policy-rc.d before it starts the service of a new package.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

echo "setup: installing ${missing[*]}" >&2
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q "$@" </dev/null; }
apt update
apt install -y --no-install-recommends "${missing[@]}"

# Nor shall they start with the machine, where there is a systemd to tell.
if [ -d /run/systemd/system ]; then
  for package in "${missing[@]}"; do
    case $package in
      postgresql | pgbouncer | patroni) "${as_root[@]}" systemctl disable --quiet "$package" || true ;;
    esac
  done
fi
finish
