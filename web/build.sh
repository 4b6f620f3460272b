#!/bin/sh
# Builds the page into target/web/site, a folder that any web server can serve.
#
#   web/build.sh                 where there are node, npm and the target wasm32-unknown-unknown
#   web/build.sh --install       installs them if needed
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
case ${1:-} in
    --install) install=yes ;;
    -h | --help)
        sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' web/build.sh
        exit
        ;;
esac

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
export CARGO_TARGET_DIR="$folder/target"
mkdir -p "$tools"

# The tool and the crate must be of one version.
bindgen=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p;}' web/Cargo.lock)
if [ "$("$tools/bin/wasm-bindgen" --version 2>/dev/null)" != "wasm-bindgen $bindgen" ]; then
    cargo install wasm-bindgen-cli --version "$bindgen" --root "$tools"
fi
opt=$tools/binaryen-$binaryen
if ! [ -d "$opt" ]; then
    part=$(mktemp -d "$tools/part.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    npm install --prefix "$part" --no-save --no-package-lock --no-audit --no-fund \
        --ignore-scripts "binaryen@$binaryen"
    mv "$part" "$opt"
fi

cargo build --locked --manifest-path web/Cargo.toml --release --target wasm32-unknown-unknown
made=$folder/made
rm -rf "$made"
mkdir -p "$made"
"$tools/bin/wasm-bindgen" --target web --no-typescript --out-dir "$made" \
    "$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/wgpu_cnn_web.wasm"
node "$opt/node_modules/binaryen/bin/wasm-opt" -Oz --strip-debug --strip-producers "$made/wgpu_cnn_web_bg.wasm" \
    -o "$made/smaller.wasm"
mv "$made/smaller.wasm" "$made/wgpu_cnn_web_bg.wasm"

site=$folder/site
rm -rf "$site"
mkdir -p "$site/data"
cp web/page/* "$made"/* "$site"
cp examples/data/fashion-mnist/*.gz examples/data/fashion-mnist/LICENSE "$site/data"

# All but the data, as a server sends it.
size=$(cd "$site" && for file in *; do [ -f "$file" ] && gzip -9c "$file"; done | wc -c)
echo "$site: $size bytes compressed, without the data"
if [ "$size" -gt 660000 ]; then
    echo "error: more than 660,000 bytes" >&2
    exit 1
fi
