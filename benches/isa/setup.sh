#!/usr/bin/env bash
# The compilers of real GPUs, for `cargo bench --bench isa` on a machine that has none of them: Mesa's drivers, and
# a stub of the kernel's driver where they need one. For Debian 12.
#
#   benches/isa/setup.sh FOLDER amd            RADV from Debian's backports: half a minute
#   benches/isa/setup.sh FOLDER nvidia intel   NVK and ANV of the same Mesa, built here: a quarter of an hour each
#
# The drivers lie in FOLDER, and WGPU_CNN_ISA has to say where that is. What is installed on the system is what they
# are built with.
set -euo pipefail

usage() {
    sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
    exit "$1"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# apt with the backports, and without touching the system's lists.
apt_here() {
    apt-get -q -oDir::Etc::sourcelist="$root/backports.sources" -oDir::Etc::sourceparts=/dev/null \
        -oDir::State::Lists="$root/lists" "$@"
}

backports() {
    if [ -d lists ]; then return; fi
    mkdir -p lists.part/partial
    cat >backports.sources <<'END'
Types: deb deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
    apt_here -oDir::State::Lists="$root/lists.part" update
    mv lists.part lists
}

# The file that tells Vulkan's loader where the driver is.
driver_file() {
    printf '{ "ICD": { "api_version": "1.3.0", "library_path": "%s" }, "file_format_version": "1.0.0" }\n' "$1"
}

amd() {
    mkdir -p amd/debs
    (cd amd/debs && apt_here download {mesa-vulkan-drivers,libdrm2,libdrm-common,libdrm-amdgpu1}/bookworm-backports)
    for deb in amd/debs/*.deb; do dpkg -x "$deb" amd/root; done
    ln -sfn root/usr/lib/x86_64-linux-gnu amd/lib
    driver_file "$root/amd/lib/libvulkan_radeon.so" >amd/icd.json
}

source_of_mesa() {
    as_root apt-get install -y -q --no-install-recommends libdrm-dev libclc-15-dev libllvmspirvlib-15-dev \
        llvm-15-dev libclang-15-dev libclang-cpp15-dev clang-15 spirv-tools glslang-tools bison flex ninja-build \
        libelf-dev libexpat1-dev zlib1g-dev libudev-dev pkg-config gcc g++ libzstd-dev python3-venv xz-utils
    if ! [ -d tools ]; then
        python3 -m venv tools
        tools/bin/pip install -q meson mako pyyaml packaging
    fi
    export PATH=$root/tools/bin:$root/cargo/bin:$PATH CLANG_PATH=/usr/bin/clang-15 LIBCLANG_PATH=/usr/lib/llvm-15/lib
    if [ -d source ]; then return; fi
    # The archive keeps the upstream's source where the description of a superseded package is gone.
    apt_here source --download-only mesa/bookworm-backports || ls mesa_*.orig.tar.xz
    mkdir -p source.part
    tar xf mesa_*.orig.tar.xz -C source.part --strip-components 1
    mv source.part source
}

# build FOLDER DRIVER STUB OPTIONS: a driver and its stub.
build() {
    local folder=$1 driver=$2 stub=$3
    shift 3
    [ -e "$folder/build/build.ninja" ] || meson setup "$folder/build" source -Dbuildtype=release -Dgallium-drivers= \
        -Dplatforms= -Dglx=disabled -Degl=disabled -Dgbm=disabled -Dopengl=false -Dgles1=disabled -Dgles2=disabled \
        -Dxmlconfig=disabled -Dvideo-codecs= -Dllvm=enabled -Dshared-llvm=enabled -Dvalgrind=disabled \
        -Dlibunwind=disabled "$@"
    ninja -C "$folder/build" "$driver" "$stub"
    ln -sfn "build/$stub" "$folder/shim.so"
    driver_file "$root/$folder/build/$driver" >"$folder/icd.json"
}

# NAK is written in Rust: Mesa takes its crates as archives, which cargo fetches.
crates_of_nak() {
    local wrap version file
    cargo install -q bindgen-cli --version 0.71.1 --root cargo
    cargo install -q cbindgen --root cargo
    mkdir -p source/subprojects/packagecache
    for wrap in paste syn quote unicode-ident proc-macro2 equivalent hashbrown indexmap once_cell roxmltree; do
        version=$(sed -n 's/^directory *= *.*-\([0-9.]*\)$/\1/p' "source/subprojects/$wrap.wrap")
        file=$(sed -n 's/^source_filename *= *//p' "source/subprojects/$wrap.wrap")
        mkdir -p "crates/$wrap/src"
        : >"crates/$wrap/src/lib.rs"
        printf '[package]\nname = "fetch"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n[dependencies]\n%s = "=%s"\n' \
            "$wrap" "$version" >"crates/$wrap/Cargo.toml"
        cargo fetch -q --manifest-path "crates/$wrap/Cargo.toml"
        find "${CARGO_HOME:-$HOME/.cargo}/registry/cache" -name "$wrap-$version.crate" \
            -exec cp {} "source/subprojects/packagecache/$file" \;
    done
}

nvidia() {
    source_of_mesa
    crates_of_nak
    build nvidia src/nouveau/vulkan/libvulkan_nouveau.so src/nouveau/drm-shim/libnouveau_noop_drm_shim.so \
        -Dvulkan-drivers=nouveau -Dtools=drm-shim,nouveau
}

intel() {
    source_of_mesa
    build intel src/intel/vulkan/libvulkan_intel.so src/intel/tools/libintel_noop_drm_shim.so \
        -Dvulkan-drivers=intel -Dintel-rt=disabled -Dtools=drm-shim,intel
}

case ${1:-} in -h | --help) usage 0 ;; esac
[ $# -ge 2 ] || usage 2 >&2
mkdir -p "$1"
cd "$1"
root=$PWD
shift
for vendor in "$@"; do
    case $vendor in amd | nvidia | intel) ;; *) echo "error: amd, nvidia or intel, not $vendor" >&2; exit 2 ;; esac
done
command -v dpkg >/dev/null || { echo "error: only for Debian and its like; a RADV of Mesa 25 or later is taken from the system" >&2; exit 1; }
as_root apt-get update -q
as_root apt-get install -y -q libvulkan1
backports
for vendor in "$@"; do
    "$vendor"
    echo "$vendor: ready in $root"
done
