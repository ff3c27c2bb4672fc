#!/bin/bash
# versions.sh [--install] VERSION... : PostgreSQL 13, 15, 17, 18 and 19 beside the
# machine's own, and with each of them the tests that speak with a server.
#
# Debian has one version in each release. Its packages are unpacked into a folder
# with the libraries they were built for, the C library too, and the programs are
# told to use these: nothing of the machine is changed, no root is needed beyond
# what is missing to do this, and the servers run like any other. The folder must
# not be moved afterwards. A version that the machine has under
# /usr/lib/postgresql is taken from there.
#
#   PGROUTE_PG_DIR  where the versions are kept (/opt/pgroute/postgresql)
#   MIRROR          Debian's mirror, if not the one that this machine uses
#   TESTFLAGS       more flags for go test
#   PACKAGES        other packages than the core
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
export PGROUTE_PG_DIR=${PGROUTE_PG_DIR:-/opt/pgroute/postgresql}
PACKAGES=${PACKAGES:-./lsn/... ./internal/cluster ./internal/catalogue ./internal/sqlclass/... ./router/pgprobe ./router/pgxdb ./proxy/... ./internal/stress}
install_only=no
if [ "${1:-}" = --install ]; then install_only=yes; shift; fi
[ $# -gt 0 ] || { echo "versions: which versions of PostgreSQL?" >&2; exit 2; }

fail() { echo "versions: $*" >&2; exit 1; }

# suites VERSION: the releases of Debian that have it, and its libraries.
suites() {
  case $1 in
    13) echo bullseye ;;
    15) echo bookworm ;;
    17) echo trixie ;;
    18) echo sid ;;
    19) echo sid experimental ;;
    *) fail "no release of Debian has PostgreSQL $1" ;;
  esac
}

mirror() {
  local found=${MIRROR:-}
  [ -n "$found" ] || found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | head -1)
  echo "${found%/}"
}

# What is taken of all that a server depends on: the server, the client, and
# libraries. Not perl, not the tools that manage clusters, not the compiler of
# the JIT, which alone is larger than everything else.
wanted() {
  grep -E "^(postgresql(-client)?-$1|libc6|libgcc-s1|libstdc\+\+6|libpq5|libssl|libxml2|libicu|libldap|liblber|libsasl2-2|libgssapi|libkrb5|libk5crypto|libcom-err|libkeyutils|libpam0g|libaudit1|libcap-ng0|libcap2|libsystemd0|liblz4|libzstd1|libxxhash0|libnuma1|liburing|libreadline8|libtinfo6|libedit2|libbsd0|libmd0|liblzma5|libgcrypt|libgpg-error|libgnutls|libcrypt1|libselinux1|libpcre|libxslt1|libffi|libp11|libnettle|libhogweed|libgmp|libidn2|libunistring|libtasn1|libdb5|libelf|zlib1g)[^_]*_" |
    sed 's/_.*//' | sort -u
}

unpack() { # unpack VERSION: into its folder
  local version=$1 dir=$PGROUTE_PG_DIR/$1 from suite key=/usr/share/keyrings/debian-archive-keyring.gpg
  for tool in apt-get dpkg-deb patchelf; do
    command -v "$tool" >/dev/null || fail "$tool is missing (Debian: apt-get install $tool)"
  done
  from=$(mirror)
  [ -n "$from" ] || fail "no Debian mirror is known: set MIRROR"
  rm -rf "$dir"
  mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/debs" "$dir/root"
  for suite in $(suites "$version"); do echo "deb [signed-by=$key] $from $suite main"; done >"$dir/apt/sources.list"
  case $version in
    13 | 15 | 17) echo "deb [signed-by=$key] $from-security $(suites "$version")-security main" >>"$dir/apt/sources.list" ;;
  esac
  # An old release's index may be past its date; that is no reason to test nothing.
  local apt=(apt-get -qq -o Dir::Etc::sourcelist="$dir/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" -o Dir::State::status=/dev/null
    -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
  "${apt[@]}" update
  local ask=("postgresql-$version" libgcc-s1) pin=()
  if [ "$version" = 19 ]; then # not released yet
    ask=(postgresql-19/experimental postgresql-client-19/experimental libpq5/experimental libc6/sid libgcc-s1/sid)
    pin=(-e 's#^\(libpq5\|postgresql.*-19\)$#\1/experimental#')
  fi
  mapfile -t packages < <("${apt[@]}" --no-install-recommends --print-uris -y install "${ask[@]}" |
    sed -n "s#^'\([^']*\)'.*#\1#p" | sed 's#.*/##; s/%2b/+/g' | wanted "$version" | sed "${pin[@]}" -e '')
  [ ${#packages[@]} -gt 10 ] || fail "the packages of PostgreSQL $version cannot be found at $from"
  (cd "$dir/debs" && "${apt[@]}" download "${packages[@]}")
  for package in "$dir"/debs/*.deb; do dpkg-deb -x "$package" "$dir/root"; done

  local root=$dir/root loader='' candidate
  for candidate in "$root"/lib/*/ld-2.*.so "$root"/lib/*/ld-linux*.so.* "$root"/usr/lib/*/ld-linux*.so.* "$root"/usr/lib64/ld-linux*.so.* "$root"/lib64/ld-linux*.so.*; do
    if [ -f "$candidate" ]; then loader=$candidate; break; fi
  done
  [ -n "$loader" ] || fail "no dynamic loader came with PostgreSQL $version"
  local triplet
  triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || basename "$(dirname "$loader")")
  # An RPATH, and not a RUNPATH, holds for the libraries' own libraries too, and
  # for what the server loads later.
  for program in "$root/usr/lib/postgresql/$version/bin"/*; do
    [ "$(head -c 4 "$program" | tail -c 3)" = ELF ] || continue
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$root/lib/$triplet:$root/usr/lib/$triplet" "$program"
  done
  rm -rf "$dir/debs" "$dir/apt" "$root/usr/lib/postgresql/$version/lib"/{llvmjit*,bitcode}
  chmod -R a+rX "$dir"
  ln -s "root/usr/lib/postgresql/$version/bin" "$dir/bin" # last: it says that all is there
}

programs() { # programs VERSION: the folder of its programs
  local own=/usr/lib/postgresql/$1/bin
  if [ -x "$own/postgres" ]; then echo "$own"; else echo "$PGROUTE_PG_DIR/$1/bin"; fi
}

for version in "$@"; do
  suites "$version" >/dev/null
  if [ ! -x "$(programs "$version")/postgres" ]; then
    echo "versions: unpacking PostgreSQL $version into $PGROUTE_PG_DIR/$version" >&2
    unpack "$version"
  fi
  "$(programs "$version")/postgres" --version
done
[ "$install_only" = no ] || exit 0

# One version after the other: packages that pass or fail, and how long it took.
status=0
mkdir -p build
for version in "$@"; do
  log=build/versions-$version.log
  echo "== PostgreSQL $version"
  began=$SECONDS
  # shellcheck disable=SC2086
  if PGROUTE_PG_VERSION=$version go test -count=1 -timeout 30m ${TESTFLAGS:-} $PACKAGES >"$log" 2>&1; then verdict=ok; else verdict=FAILED status=1; fi
  grep -E '^(ok|FAIL|--- FAIL|panic:)|^ +--- FAIL' "$log" || true
  echo "== PostgreSQL $version: $verdict in $((SECONDS - began)) s ($log)"
done
exit $status
