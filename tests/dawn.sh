# What tests/tint.sh and tests/hlsl.sh have in common, which read it with `.` from the root of the repository: npm's package
# of Dawn.
webgpu=0.6.2

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Makes `target` the folder that cargo builds in, and `dawn` the one of the package, which is fetched if need be.
fetch_dawn() {
    target=${CARGO_TARGET_DIR:-target}
    case $target in
        /*) ;;
        *) target=$PWD/$target ;;
    esac
    # Whole or not at all, should this be interrupted.
    dawn=$target/dawn/webgpu-$webgpu
    if ! [ -d "$dawn" ]; then
        mkdir -p "$target/dawn"
        part=$(mktemp -d "$target/dawn/part.XXXXXX")
        trap 'rm -rf "$part"' EXIT
        npm install --prefix "$part" --no-save --no-package-lock --no-audit --no-fund \
            --ignore-scripts "webgpu@$webgpu"
        mv "$part" "$dawn"
    fi
}
