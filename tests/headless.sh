#!/bin/sh
# Runs all tests. What this machine must have to be tested is said by WGPU_CNN_REQUIRE, and what of
# it is missing is a failure: gpu,subgroups8,f16 on lavapipe and x86-64, gpu elsewhere, or what the
# caller has set it to.
#
#   tests/headless.sh                    where there is a driver
#   tests/headless.sh --install          installs lavapipe, Mesa's software Vulkan driver, if needed
#   tests/headless.sh [--install] ARGS   passes ARGS on to cargo test: gradients -- --nocapture
set -eu

# The files of the Vulkan drivers that the loader would find.
driver_files() {
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
    printf '%s\n' "$files"
}

has_graphics_device() {
    for device in /dev/dri/renderD* /dev/nvidia[0-9]* /dev/dxg; do
        if [ -e "$device" ]; then return 0; fi
    done
    return 1
}

# Whether there is a driver that can work here.
has_driver() {
    case $(uname -s) in
        Linux | *BSD) ;;
        *) return 0 ;; # Metal and DX12 come with the system
    esac
    # Software drivers always work, the others if there is a device.
    case $(driver_files) in
        '') return 1 ;;
        *lvp* | *swiftshader*) return 0 ;;
    esac
    has_graphics_device
}

# Whether tests run on lavapipe, told by the driver's name and file: what it says that it can do is
# what is to be tested.
on_lavapipe() {
    case ${WGPU_CNN_ADAPTER:-} in
        '') ;;
        *llvmpipe*) return 0 ;;
        *) return 1 ;;
    esac
    files=$(driver_files)
    if printf '%s\n' "$files" | grep -q swiftshader; then return 1; fi
    if ! printf '%s\n' "$files" | grep -q lvp; then return 1; fi
    # The other drivers that are installed find no device, or there are none.
    ! has_graphics_device || ! printf '%s\n' "$files" | grep -qv lvp
}

required() {
    case $(uname -s)-$(uname -m) in
        Linux-x86_64 | *BSD-amd64) if on_lavapipe; then echo gpu,subgroups8,f16; else echo gpu; fi ;;
        *) echo gpu ;;
    esac
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

WGPU_CNN_REQUIRE=${WGPU_CNN_REQUIRE-$(required)}
export WGPU_CNN_REQUIRE
echo "required: ${WGPU_CNN_REQUIRE:-nothing}"

# Without a choice of targets cargo test compiles the examples too, which takes as long as the tests.
targets=all
for argument in "$@"; do
    case $argument in
        --) break ;;
        --lib | --bin* | --test | --test=* | --tests | --example* | --bench* | --doc | --all-targets)
            targets=chosen
            ;;
        --no-run) if [ $targets = all ]; then targets=no-documentation; fi ;;
    esac
done
case $targets in
    all)
        cargo test --lib --tests "$@"
        cargo test --doc "$@"
        ;;
    no-documentation) cargo test --lib --tests "$@" ;;
    *) cargo test "$@" ;;
esac
