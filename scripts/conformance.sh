#!/bin/bash
# Fetches what make conformance runs into build/conformance, and compiles it:
# PostgreSQL's regression and isolation suites with the psql of their version,
# the program libpq_pipeline, the drivers' own tests, and what these need. It
# installs nothing: packages are unpacked below build/, by the machine's apt in
# a state of apt's own, from the archives that the machine already uses. It may
# be run again; what is there already is left alone. With --suite it is only
# what the short version needs: PostgreSQL's suites.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
only=${1:-}
case $only in
  '' | --suite) ;;
  *) echo "conformance: unknown argument $only" >&2; exit 2 ;;
esac
major=15
mkdir -p build/conformance
cd build/conformance
root=$PWD

if [ ! -x /usr/lib/postgresql/$major/bin/postgres ]; then
  echo "conformance: PostgreSQL $major's own suite needs PostgreSQL $major: apt-get install postgresql-$major" >&2
  exit 1
fi

# apt works on lists of its own, so that neither the machine's lists change nor
# root is needed. It is set up when the first thing is found to be missing.
options=()
prepare_apt() {
  [ ${#options[@]} -eq 0 ] || return 0
  mkdir -p apt/lists/partial apt/cache/archives/partial
  local origin=('Created-By: Packages' 'Origin: Debian')
  if [ -z "$(apt-get indextargets "${origin[@]}")" ]; then
    echo "conformance: apt knows no archive of Debian's: run apt-get update first" >&2
    exit 1
  fi
  local place='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(REPO_URI) $(CODENAME) $(COMPONENT)'
  {
    apt-get indextargets --format "deb $place" "${origin[@]}"
    apt-get indextargets --format "deb-src $place" "${origin[@]}"
    # The tests of a later release's driver are better than none.
    apt-get indextargets --format "deb-src ${place/'$(CODENAME)'/trixie}" "${origin[@]}" | grep -v security
  } | sort -u >apt/sources.list
  options=(-qq -o "Dir::Etc::sourcelist=$root/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$root/apt/lists" -o "Dir::Cache=$root/apt/cache" -o Debug::NoLocking=1
    -o Acquire::Languages=none -o APT::Get::Download-Only=true)
  [ "$(id -u)" -ne 0 ] || options+=(-o APT::Sandbox::User=root) # apt's own user may not write here
  apt-get "${options[@]}" update
}

# source_package NAME ORDER: unpacks a source package as its authors made it,
# without Debian's changes, into src/NAME: the first version, in an ORDER of
# sort's, that can be had. An archive may name a version whose files it lacks.
source_package() {
  local name=$1 order=$2 version
  [ ! -e "src/$name/.fetched" ] || return 0
  prepare_apt
  for version in $(apt-cache "${options[@]}" showsrc "$name" | sed -n 's/^Version: //p' | sort -u "$order"); do
    rm -rf "src/$name" "src/$name.files"
    mkdir -p "src/$name" "src/$name.files"
    # apt gives a file its name when its checksum is right, so that a missing
    # file of Debian's own does not matter.
    (cd "src/$name.files" && apt-get "${options[@]}" source --download-only "$name=$version" >/dev/null 2>&1) || true
    if tar -x -f src/"$name".files/*.orig.tar.* -C "src/$name" --strip-components=1 2>/dev/null; then
      rm -rf "src/$name.files"
      echo "$version" >"src/$name/.fetched" # last, so that it means that all is there
      echo "conformance: $name $version" >&2
      return 0
    fi
  done
  rm -rf "src/$name" "src/$name.files"
  echo "conformance: no version of the source package $name can be had" >&2
  return 1
}

# binary_packages DIR PACKAGE...: unpacks packages (NAME or NAME=VERSION) into DIR.
binary_packages() {
  local into=$1
  shift
  [ "$(cat "$into/.fetched" 2>/dev/null)" != "$*" ] || return 0
  prepare_apt
  rm -rf "$into"
  mkdir -p "$into/debs"
  (cd "$into/debs" && apt-get "${options[@]}" download "$@")
  local deb
  for deb in "$into"/debs/*.deb; do dpkg-deb -x "$deb" "$into"; done
  rm -rf "$into/debs"
  echo "$*" >"$into/.fetched"
}

# compile OUTPUT SOURCE FLAG...: nothing is done if it was done before.
compile() {
  local output=$1 source=$2
  shift 2
  [ ! -e "$output" ] || [ "$source" -nt "$output" ] || return 0
  ${CC:-gcc} -O1 -o "$output" "$source" "$@"
}

source_package postgresql-$major -rV
version=$(cat src/postgresql-$major/.fetched)
# Servers and psql change what they print in minor versions, and the suite with
# them.
binary_packages server "postgresql-$major=$version" "postgresql-client-$major=$version"
binary_packages headers "postgresql-server-dev-$major=$version" "libpq-dev=$version"
tree=$root/src/postgresql-$major
include=(-I"$root/headers/usr/include/postgresql/$major/server" -I"$root/headers/usr/include/postgresql/internal" -I"$root/headers/usr/include/postgresql")
mkdir -p lib
for source in src/test/regress/regress.c contrib/spi/autoinc.c contrib/spi/refint.c; do
  compile "lib/$(basename "$source" .c).so" "$tree/$source" -shared -fPIC -fno-strict-aliasing -fwrapv -DREFINT_VERBOSE "${include[@]}"
done
libpq=$(ldconfig -p | sed -n 's/.*libpq\.so\.5 .*=> //p' | head -n 1)
# A tool that needs to know the server process behind its connection asks for it.
compile lib/backendpid.so "$root/../../internal/conformance/programs/backendpid.c" -shared -fPIC "${include[@]}"
compile lib/libpq_pipeline "$tree/src/test/modules/libpq_pipeline/libpq_pipeline.c" "${include[@]}" \
  -I"$tree/src/interfaces/libpq" "$root/headers/usr/lib/postgresql/$major/lib/libpgfeutils.a" "$libpq" \
  "$root/headers/usr/lib/postgresql/$major/lib/libpgcommon.a" "$root/headers/usr/lib/postgresql/$major/lib/libpgport.a"
[ "$only" != --suite ] || exit 0

# go_module NAME MODULE VERSION: a module's files, with its tests, in src/NAME.
go_module() {
  local name=$1 module=$2 version=$3 from
  [ "$(cat "src/$name/.fetched" 2>/dev/null)" != "$version" ] || return 0
  rm -rf "src/$name"
  from=$(cd "$root/src" && GOFLAGS=-mod=mod go mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  cp -r "$from" "src/$name"
  chmod -R u+w "src/$name"
  (cd "src/$name" && go mod download)
  echo "$version" >"src/$name/.fetched"
}

go_module pgx github.com/jackc/pgx/v5 v5.12.0
go_module pq github.com/lib/pq v1.12.3
# Of a driver the oldest: that of the machine's own release, which its library
# is of. One that cannot be had is left out of the run, which says so.
for driver in psycopg2 psycopg3 libdbd-pg-perl; do source_package "$driver" -V || true; done
binary_packages python python3-psycopg2 python3-psycopg python3-typing-extensions python3-pytest python3-pytest-asyncio python3-async-generator \
  python3-attr python3-dnspython python3-iniconfig python3-more-itertools python3-packaging python3-pluggy python3-py python3-tz
binary_packages perl libdbi-perl libdbd-pg-perl libtest-simple-perl
# The driver of Node.js is the one that the examples use.
../../examples/languages/install.sh
