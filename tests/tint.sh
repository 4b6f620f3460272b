#!/bin/sh
# Makes every pipeline of the shader tests in Dawn: its WGSL compiler, Tint, is that of Chromium and
# stricter than naga. Needs no driver and no browser, but node and npm.
#
#   tests/tint.sh                    where there are node and npm
#   tests/tint.sh --install          installs them if needed
#   tests/tint.sh [--install] ARGS   passes ARGS on to cargo test
set -eu

has_node() {
    command -v node >/dev/null && command -v npm >/dev/null
}

cd "$(dirname "$0")/.."
. tests/dawn.sh

install=no
case ${1:-} in
    --install)
        install=yes
        shift
        ;;
    -h | --help)
        sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' tests/tint.sh
        exit
        ;;
esac

if ! has_node && [ "$install" = yes ]; then
    if ! command -v apt-get >/dev/null; then
        echo "error: no package manager that is known here; install node and npm by hand" >&2
        exit 1
    fi
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nodejs npm
fi
if ! has_node; then
    echo "error: this machine has no node or no npm. To install them and test:" >&2
    echo "    tests/tint.sh --install" >&2
    exit 1
fi

fetch_dawn
folder=$target/tint
dump=$folder/pipelines
rm -rf "$dump"
WGPU_CNN_DUMP=$dump cargo test "$@" --lib shader_dump
if ! [ -s "$dump/pipelines.json" ]; then
    echo "error: the tests have left no pipelines in $dump" >&2
    exit 1
fi
node tests/tint.mjs "$dump" "$dawn/node_modules/webgpu"
