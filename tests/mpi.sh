#!/bin/sh
# Ranks as processes of MPI: builds the feature `mpi`, and runs tests/mpi/ on 1, 2 and 4 ranks of this
# machine. Needs Open MPI, libclang, which reads its headers, and for the GPU's part lavapipe.
#
#   tests/mpi.sh                      where all that is there
#   tests/mpi.sh --install            installs what is missing
#   tests/mpi.sh [--install] ARGS     passes ARGS on to cargo: --locked, or -- kills for some of the tests
#   WGPU_CNN_MPI_KILLS=200 tests/mpi.sh -- kills
set -eu
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

has_all() {
    command -v mpirun >/dev/null && command -v mpicc >/dev/null &&
        { [ -n "${LIBCLANG_PATH:-}" ] || ldconfig -p | grep -q libclang || ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1; }
}

install=no
case ${1:-} in
    --install)
        install=yes
        shift
        ;;
    -h | --help)
        sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' tests/mpi.sh
        exit
        ;;
esac

if ! has_all; then
    if [ "$install" = no ]; then
        echo "error: this machine lacks Open MPI or libclang. To install them and test:" >&2
        echo "    tests/mpi.sh --install" >&2
        exit 1
    elif ! command -v apt-get >/dev/null; then
        echo "error: no package manager that is known here; install Open MPI and libclang by hand" >&2
        exit 1
    fi
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y libopenmpi-dev openmpi-bin libclang-dev
fi

# A rank finds the drivers without a folder of its own.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
cargo test --features mpi --test mpi "$@"
