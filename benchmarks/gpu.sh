#!/usr/bin/env bash
# Measure models on this machine's NVIDIA GPU by analyze, compare with PyTorch's and CUDA's figures, and verify a plan of
# two models on the GPU, without and with MPS: see README.md.
#
#   gpu.sh                       run with the packages that the Python already has
#   gpu.sh --wheels DIR          on a machine without network: install what is missing from the wheels in DIR
#   gpu.sh --make-wheels DIR     on a machine with network: fill DIR with the wheels of gpu/wheels.txt
#   --python PYTHON              the Python that has PyTorch (default: python3); 3.12 where wheels are used
#   --try-on-cpu                 try the script itself without a GPU; its figures mean nothing
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
library=libpython3.12.so.1.0
python=python3 wheels='' make='' options=()

fail() { printf 'gpu.sh: %s\n' "$*" >&2; exit "${status:-1}"; }
usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

while [ $# -gt 0 ]; do
  case $1 in
    --wheels | --make-wheels | --python)
      [ $# -gt 1 ] && [ -n "$2" ] || status=2 fail "$1 needs a value; see --help"
      case $1 in --wheels) wheels=$2 ;; --make-wheels) make=$2 ;; --python) python=$2 ;; esac
      shift 2
      ;;
    --try-on-cpu) options+=("$1"); shift ;;
    -h | --help) usage; exit 0 ;;
    *) status=2 fail "there is no option $1; see --help" ;;
  esac
done
[ -z "$make" ] || [ -z "$wheels" ] || status=2 fail "--make-wheels and --wheels are for two machines: give one of them"
command -v "$python" >/dev/null || status=2 fail "there is no $python; name a Python with --python"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -n "$make" ]; then
  mkdir -p "$make"
  # pip matches manylinux tags literally, so every tag that a wheel may have is named
  platforms=()
  for tag in manylinux1 manylinux2010 manylinux2014 manylinux_2_{5,12,17,24,27,28,31,34,35}; do
    platforms+=(--platform "${tag}_x86_64")
  done
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp \
    --python-version 3.12 "${platforms[@]}" --dest "$work" --requirement "$here/gpu/wheels.txt"
  "$python" "$here/gpu/strip_wheel.py" "$work"/nvidia_pytriton-*.whl
  find "$make" -maxdepth 1 -name '*.whl' -delete
  mv "$work"/*.whl "$make"
  # the Python backend needs Python's shared library, which a system's Python 3.12 often lacks: add ours if it exists
  source=$("$python" -c 'import sysconfig as s; print(s.get_config_var("LIBDIR") + "/" + s.get_config_var("INSTSONAME"))')
  if [ "${source##*/}" = "$library" ] && [ -f "$source" ]; then
    strip --strip-unneeded -o "$work/$library" "$source"
    gzip -9c "$work/$library" >"$make/$library.gz"
  else
    printf 'gpu.sh: %s has no %s to take along: the other machine must have it\n' "$python" "$library" >&2
  fi
  size=$(du -sm "$make" | cut -f 1)
  [ "$size" -lt 64 ] || fail "$make has $size MiB, and 64 is the most that can travel"
  printf '%s: %s MiB\n' "$make" "$size"
  exit 0
fi

if [ "${#options[@]}" = 0 ] && ! nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then
  fail "no NVIDIA GPU here (nvidia-smi lists none); nothing was measured"
fi

path=$(dirname "$here")
if [ -n "$wheels" ]; then
  [ -d "$wheels" ] || status=2 fail "there is no folder $wheels; fill it with --make-wheels where there is a network"
  "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' ||
    fail "the wheels are for Python 3.12, and $python is $("$python" --version)"
  "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-cache-dir \
    --target "$work/site" "$wheels"/*.whl || fail "the wheels in $wheels cannot be installed"
  path=$path:$work/site
  if [ -f "$wheels/$library.gz" ] && ! "$python" -c "import ctypes; ctypes.CDLL('$library')" 2>/dev/null; then
    gzip -dc "$wheels/$library.gz" >"$work/$library"
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$work
  fi
fi
cd "$(dirname "$here")"
PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH} "$python" -m benchmarks.gpu ${options[@]+"${options[@]}"}
