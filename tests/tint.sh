#!/bin/sh
# Makes every pipeline of the shader tests in Dawn: its WGSL compiler, Tint, is that of Chromium and
# stricter than naga. Needs no driver and no browser, but node and npm.
#
#   tests/tint.sh                    where there are node and npm
#   tests/tint.sh --install          installs them if needed
#   tests/tint.sh [--install] ARGS   passes ARGS on to cargo test
set -eu

# npm's package of Dawn.
webgpu=0.6.2

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

has_node() {
    command -v node >/dev/null && command -v npm >/dev/null
}

cd "$(dirname "$0")/.."

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

target=${CARGO_TARGET_DIR:-target}
case $target in
    /*) ;;
    *) target=$PWD/$target ;;
esac
folder=$target/tint

# Whole or not at all, should this be interrupted.
dawn=$folder/webgpu-$webgpu
if ! [ -d "$dawn" ]; then
    mkdir -p "$folder"
    part=$(mktemp -d "$folder/part.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    npm install --prefix "$part" --no-save --no-package-lock --no-audit --no-fund \
        --ignore-scripts "webgpu@$webgpu"
    mv "$part" "$dawn"
fi

dump=$folder/pipelines
rm -rf "$dump"
WGPU_CNN_DUMP=$dump cargo test --release "$@" --lib shader_dump
if ! [ -s "$dump/pipelines.json" ]; then
    echo "error: the tests have left no pipelines in $dump" >&2
    exit 1
fi
node tests/tint.mjs "$dump" "$dawn/node_modules/webgpu"
