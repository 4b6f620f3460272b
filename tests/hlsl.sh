#!/bin/sh
# Compiles the shaders, each text with one set of constants, with the compilers that Windows has for HLSL, FXC and DXC, under wine. They
# come with npm's package of Dawn. Nothing runs: wine's own DX12 would be another driver than anybody's.
#
#   tests/hlsl.sh                    where there are wine, MinGW's C++ compiler, node and npm
#   tests/hlsl.sh --install          installs them if needed
#   tests/hlsl.sh [--install] ARGS   passes ARGS on to cargo test
set -eu

mingw=x86_64-w64-mingw32-g++

wine_at() {
    command -v wine64 || command -v wine || ls /usr/lib/wine/wine64 2>/dev/null || true
}

has_all() {
    [ -n "$(wine_at)" ] && command -v "$mingw" >/dev/null && command -v npm >/dev/null
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
        sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' tests/hlsl.sh
        exit
        ;;
esac

if ! has_all && [ "$install" = yes ]; then
    as_root apt-get update
    npm=
    command -v npm >/dev/null || npm="nodejs npm"
    # shellcheck disable=SC2086 # two words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        wine64 g++-mingw-w64-x86-64-posix $npm
fi
if ! has_all; then
    echo "error: this machine lacks wine, $mingw, node or npm. To install them and test:" >&2
    echo "    tests/hlsl.sh --install" >&2
    exit 1
fi

fetch_dawn
folder=$target/hlsl
dump=$folder/pipelines
rm -rf "$dump"
WGPU_CNN_DUMP_HLSL=$dump cargo test "$@" --lib shader_dump
if ! [ -s "$dump/list" ]; then
    echo "error: the tests have left no pipelines in $dump" >&2
    exit 1
fi
"$mingw" -O1 -static -o "$dump/hlsl.exe" tests/hlsl.cpp -lole32
for library in d3dcompiler_47.dll dxcompiler.dll; do
    cp "$dawn/node_modules/webgpu/dist/win32-x64/$library" "$dump"
done
cd "$dump"
# Its own, and not wine's of the same name.
WINEPREFIX=$folder/wine WINEDEBUG=-all WINEDLLOVERRIDES="d3dcompiler_47=n" "$(wine_at)" hlsl.exe list
