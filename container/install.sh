#!/bin/sh
# What both images install: install.sh {packages|app}, in a folder with the project's files.
# PIP_PYTHON names the Python environment to install into, TORCH_INDEX the index that torch comes
# from (empty: wherever pip looks).
set -eu

# Nothing but what the lock files name, and no file without one of their hashes.
locked() {
    file=$1
    shift
    # Some packages come as source only; setuptools, locked too and installed first, builds them.
    python3 -m pip install --no-deps --require-hashes --no-build-isolation --use-pep517 \
        "$@" --requirement "requirements/$file"
}

case $1 in
packages)
    locked build.txt
    if [ -n "${TORCH_INDEX-}" ]; then
        locked torch.txt --index-url "$TORCH_INDEX"
    else
        # A wheel in a folder that pip was told of comes first. By itself pip would prefer the index,
        # which tells hashes in advance.
        case $(python3 -m pip config list) in
        *find-links*) locked torch.txt --no-index || locked torch.txt ;;
        *) locked torch.txt ;;
        esac
    fi
    torch=$("$PIP_PYTHON" -c 'from importlib.metadata import version; print(version("torch"))')
    case $torch in
    *+cpu) echo "torch $torch needs no CUDA" ;;
    *) locked cuda.txt ;;
    esac
    locked runtime.txt
    ;;
app)
    python3 -m pip install --no-deps --no-build-isolation .
    python3 -m pip check
    # A quarter of a gigabyte that no run reads: headers and tests of torch, tests of the others.
    site=$("$PIP_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    rm -rf "$site/torch/include" "$site/torch/test"
    find "$site/torch/bin" -type f ! -name torch_shm_manager -delete
    find "$site" -type d -name tests -prune -exec rm -rf {} +
    ;;
*)
    echo "install.sh: $1: unknown step" >&2
    exit 64
    ;;
esac
