#!/bin/sh
# Builds the page and uses it in headless Chromium, on the software driver that Chromium brings along. Its losses must
# be those of the same program run natively on that driver, bit for bit. Screenshots come to target/web/screenshots.
#
#   web/test.sh                  where there are Chromium, node, npm and the target wasm32-unknown-unknown
#   web/test.sh --install        installs them if needed
#   web/test.sh --fast           a part of it, with the page as build.sh --fast makes it: it trains, is paused, reset and
#                                reloaded, and each control is used, with fewer steps, at one width, and without the page's
#                                size, keyboard alone, memory, and what it does where something fails
#
# CHROMIUM is the browser, and SWIFTSHADER the file that leads Vulkan to its software driver, where they are not Debian's.
set -eu

# npm's package that drives Chromium, and downloads none. Later ones want a node that Debian 12 has not.
puppeteer=24.43.1
# Losses of the first training, and losses that the native program prints: more than the page's are compared with.
compared=30
steps=80
# Parts of test.mjs, where not all.
parts=

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

cd "$(dirname "$0")/.."
install=no
into=web
for argument in "$@"; do
    case $argument in
        --install) install=yes ;;
        --fast)
            into=web/fast
            compared=3
            steps=14
            parts=trains,controls
            ;;
        -h | --help)
            sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' web/test.sh
            exit
            ;;
        *)
            echo "error: $argument is no option: --help has them" >&2
            exit 1
            ;;
    esac
done
driver=${SWIFTSHADER:-/usr/lib/chromium/vk_swiftshader_icd.json}
look() {
    chromium=$(command -v "${CHROMIUM:-chromium}" || true)
    missing=
    [ -f "$driver" ] || missing="Chromium's software driver, $driver"
    [ -n "$chromium" ] || missing="Chromium${CHROMIUM:+ at $CHROMIUM}"
}
# Before the minutes that building takes.
look
if [ "$install" = yes ] && [ -n "$missing" ] && command -v apt-get >/dev/null; then
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium chromium-common
    look
fi
if [ -n "$missing" ]; then
    echo "error: this machine has no $missing." >&2
    if [ "$install" = yes ]; then
        echo "apt-get brings it on Debian alone. Where there is another:" >&2
        echo "    CHROMIUM=... SWIFTSHADER=.../vk_swiftshader_icd.json web/test.sh" >&2
    else
        echo "To install it and test:" >&2
        echo "    web/test.sh --install" >&2
    fi
    exit 1
fi
web/build.sh "$@"

target=${CARGO_TARGET_DIR:-target}
case $target in
    /*) ;;
    *) target=$PWD/$target ;;
esac
folder=$target/$into
drives=$target/web/tools/puppeteer-core-$puppeteer
if ! [ -d "$drives" ]; then
    part=$(mktemp -d "$target/web/tools/part.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    npm install --prefix "$part" --no-save --no-package-lock --no-audit --no-fund \
        --ignore-scripts "puppeteer-core@$puppeteer"
    mv "$part" "$drives"
fi

# Compiled as the other tests are, which have compiled all but the program itself.
CARGO_TARGET_DIR=$target VK_DRIVER_FILES=$driver VK_ICD_FILENAMES=$driver WGPU_CNN_ADAPTER=SwiftShader \
    XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" \
    cargo run --locked --example page -- "$steps" >"$folder/losses"
screenshots=$folder/screenshots
rm -rf "$screenshots"
CHROMIUM=$chromium PARTS=${PARTS:-$parts} STEPS=${STEPS:-$compared} \
    node web/test.mjs "$folder/site" "$drives/node_modules/puppeteer-core" "$folder/losses" "$screenshots"
