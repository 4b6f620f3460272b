#!/bin/sh
# Builds the page and uses it in headless Chromium, on the software driver that Chromium brings along. Its losses must
# be those of the same program run natively on that driver, bit for bit. Screenshots come to target/web/screenshots.
#
#   web/test.sh                  where there are Chromium, node, npm and the target wasm32-unknown-unknown
#   web/test.sh --install        installs them if needed
#
# CHROMIUM is the browser, and SWIFTSHADER the file that leads Vulkan to its software driver, where they are not Debian's.
set -eu

# npm's package that drives Chromium, and downloads none. Later ones want a node that Debian 12 has not.
puppeteer=24.43.1
# Losses that the native program prints: more than the page's are compared with.
steps=80

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

cd "$(dirname "$0")/.."
case ${1:-} in
    --install)
        if ! command -v chromium >/dev/null; then
            as_root apt-get update
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium
        fi
        ;;
    -h | --help)
        sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' web/test.sh
        exit
        ;;
esac
# Before the minutes that building takes.
chromium=${CHROMIUM:-$(command -v chromium || true)}
driver=${SWIFTSHADER:-/usr/lib/chromium/vk_swiftshader_icd.json}
if [ -z "$chromium" ] || ! [ -f "$driver" ]; then
    echo "error: this machine has no Chromium, or none of Debian's. To install it and test:" >&2
    echo "    web/test.sh --install" >&2
    exit 1
fi
web/build.sh "$@"

target=${CARGO_TARGET_DIR:-target}
case $target in
    /*) ;;
    *) target=$PWD/$target ;;
esac
folder=$target/web
drives=$folder/tools/puppeteer-core-$puppeteer
if ! [ -d "$drives" ]; then
    part=$(mktemp -d "$folder/tools/part.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    npm install --prefix "$part" --no-save --no-package-lock --no-audit --no-fund \
        --ignore-scripts "puppeteer-core@$puppeteer"
    mv "$part" "$drives"
fi

# In the folder of the other tests, which have compiled most of it.
CARGO_TARGET_DIR=$target VK_DRIVER_FILES=$driver VK_ICD_FILENAMES=$driver WGPU_CNN_ADAPTER=SwiftShader \
    XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" \
    cargo run --locked --manifest-path web/Cargo.toml --features native -- "$steps" >"$folder/losses"
screenshots=$folder/screenshots
rm -rf "$screenshots"
CHROMIUM=$chromium node web/test.mjs "$folder/site" "$drives/node_modules/puppeteer-core" "$folder/losses" "$screenshots"
