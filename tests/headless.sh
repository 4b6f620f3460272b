#!/bin/sh
# Runs all tests, with a missing graphics adapter counted as failure.
#
#   tests/headless.sh                    where there is a driver
#   tests/headless.sh --install          installs lavapipe, Mesa's software Vulkan driver, if needed
#   tests/headless.sh [--install] ARGS   passes ARGS on to cargo test: gradients -- --nocapture
set -eu

# Whether the Vulkan loader would find a driver that can work here.
has_driver() {
    case $(uname -s) in
        Linux | *BSD) ;;
        *) return 0 ;; # Metal and DX12 come with the system
    esac
    files=${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}
    if [ -z "$files" ]; then
        folders=${XDG_CONFIG_HOME:-${HOME:-}/.config}:${XDG_CONFIG_DIRS:-/etc/xdg}:/etc
        folders=$folders:${XDG_DATA_HOME:-${HOME:-}/.local/share}
        folders=$folders:${XDG_DATA_DIRS:-/usr/local/share:/usr/share}:/usr/local/share:/usr/share
        files=$(each "$folders" | while read -r folder; do
            ls "$folder"/vulkan/icd.d/*.json 2>/dev/null || true
        done)
    else
        files=$(each "$files" | while read -r file; do ls "$file" 2>/dev/null || true; done)
    fi
    # Software drivers always work, the others if there is a device.
    case $files in
        '') return 1 ;;
        *lvp* | *swiftshader*) return 0 ;;
    esac
    for device in /dev/dri/renderD* /dev/nvidia[0-9]* /dev/dxg; do
        if [ -e "$device" ]; then return 0; fi
    done
    return 1
}

# The parts of a list that is separated by colons, a line each.
each() {
    printf '%s\n' "$1" | tr ':' '\n'
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

install_lavapipe() {
    if command -v apt-get >/dev/null; then
        as_root apt-get update
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y libvulkan1 mesa-vulkan-drivers
    elif command -v dnf >/dev/null; then
        as_root dnf install -y vulkan-loader mesa-vulkan-drivers
    elif command -v pacman >/dev/null; then
        as_root pacman -Sy --needed --noconfirm vulkan-icd-loader vulkan-swrast
    elif command -v apk >/dev/null; then
        as_root apk add vulkan-loader mesa-vulkan-swrast
    elif command -v zypper >/dev/null; then
        as_root zypper --non-interactive install libvulkan1 libvulkan_lvp
    else
        echo "error: no package manager that is known here; install Mesa's lavapipe by hand" >&2
        return 1
    fi
}

cd "$(dirname "$0")/.."

install=no
case ${1:-} in
    --install)
        install=yes
        shift
        ;;
    -h | --help)
        sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' tests/headless.sh
        exit
        ;;
esac

if ! has_driver; then
    if [ "$install" = yes ]; then
        install_lavapipe
    else
        echo "error: this machine has no Vulkan driver. To install a software driver and test:" >&2
        echo "    tests/headless.sh --install" >&2
        exit 1
    fi
fi

# The loader complains where this is not set.
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
    trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
fi

WGPU_CNN_REQUIRE_GPU=1
export WGPU_CNN_REQUIRE_GPU
cargo test --release "$@"
