#!/bin/sh
# Builds the page into target/web/site, a folder that any web server can serve.
#
#   web/build.sh                 where there are node, npm and the target wasm32-unknown-unknown
#   web/build.sh --install       installs them if needed
#   web/build.sh --fast          as tests are compiled, and not made small: into target/web/fast/site
set -eu

# npm's package of Binaryen, whose wasm-opt makes the module smaller.
binaryen=132.0.0

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

cd "$(dirname "$0")/.."
install=no
fast=no
for argument in "$@"; do
    case $argument in
        --install) install=yes ;;
        --fast) fast=yes ;;
        -h | --help)
            sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' web/build.sh
            exit
            ;;
        *)
            echo "error: $argument is no option: --help has them" >&2
            exit 1
            ;;
    esac
done

if ! command -v npm >/dev/null && [ "$install" = yes ]; then
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nodejs npm
fi
if ! command -v npm >/dev/null; then
    echo "error: this machine has no node or no npm. To install them and build:" >&2
    echo "    web/build.sh --install" >&2
    exit 1
fi
if ! node -e 'process.exit(Number(parseInt(process.versions.node) < 18))'; then
    echo "error: node $(node --version) is too old: 18 is the oldest that will do" >&2
    exit 1
fi
if ! [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]; then
    rustup target add wasm32-unknown-unknown
fi

target=${CARGO_TARGET_DIR:-target}
case $target in
    /*) ;;
    *) target=$PWD/$target ;;
esac
folder=$target/web
tools=$folder/tools
export CARGO_TARGET_DIR="$target"
mkdir -p "$tools"

profile=release
into=$folder
if [ "$fast" = yes ]; then
    profile=dev
    into=$folder/fast
fi
# As tests are compiled, with what the two have in common. It takes the version of wasm-bindgen that the page's crate has.
cargo build --locked --manifest-path web/Cargo.toml --package wgpu-cnn-web-bindgen
cargo build --locked --manifest-path web/Cargo.toml --profile "$profile" --target wasm32-unknown-unknown
made=$into/made
rm -rf "$made"
mkdir -p "$made"
"$target/debug/wgpu-cnn-web-bindgen" \
    "$target/wasm32-unknown-unknown/$([ "$profile" = dev ] && echo debug || echo "$profile")/wgpu_cnn_web.wasm" "$made"

if [ "$fast" = no ]; then
    opt=$tools/binaryen-$binaryen
    if ! [ -d "$opt" ]; then
        part=$(mktemp -d "$tools/part.XXXXXX")
        trap 'rm -rf "$part"' EXIT
        npm install --prefix "$part" --no-save --no-package-lock --no-audit --no-fund \
            --ignore-scripts "binaryen@$binaryen"
        mv "$part" "$opt"
    fi
    node "$opt/node_modules/binaryen/bin/wasm-opt" -Oz --strip-debug --strip-producers \
        "$made/wgpu_cnn_web_bg.wasm" -o "$made/smaller.wasm"
    mv "$made/smaller.wasm" "$made/wgpu_cnn_web_bg.wasm"
fi

site=$into/site
rm -rf "$site"
mkdir -p "$site/data"
cp web/page/* "$made"/* "$site"
cp examples/data/fashion-mnist/*.gz examples/data/fashion-mnist/LICENSE "$site/data"
if [ "$fast" = yes ]; then
    echo "$site: not made small"
    exit
fi

# Cores that a page does not have (`Core::exists`) are not sent.
for kernel in conv2d_rows conv2d_strided conv2d_unfold conv2d_winograd conv2d_fft matmul_subgroup _2x4; do
    if grep -q "$kernel" "$site/wgpu_cnn_web_bg.wasm"; then
        echo "error: the page has kernels named $kernel, of a core that pages do without" >&2
        exit 1
    fi
done

# All but the data, as a server sends it.
size=$(cd "$site" && for file in *; do [ -f "$file" ] && gzip -9c "$file"; done | wc -c)
echo "$site: $size bytes compressed, without the data"
if [ "$size" -gt 570000 ]; then
    echo "error: more than 570,000 bytes" >&2
    exit 1
fi
