#!/usr/bin/env bash
# Make the Docker image that the tests run Triton in: a small Debian with the Triton server of the Python package
# nvidia-pytriton, laid out and tagged as NVIDIA's image is. Nothing is pulled from an image registry.
#
# Usage: build_triton_image.sh TAG        (as root, with debootstrap and a Docker engine; PYTHON names the interpreter
#                                          that has nvidia-pytriton, default python3)
# The root file system is kept in ${XDG_CACHE_HOME:-~/.cache}/tritonpack, so only the first run takes a minute.
set -euo pipefail

tag=${1:?the image tag to make}
python=${PYTHON:-python3}
suite=bookworm  # its python3 is 3.11, its glibc 2.36 (the server needs 2.35)
packages=python3,python3-numpy,python3-venv,libpython3.11,libcurl4,ca-certificates  # venv for deploy/Dockerfile

fail() { echo "build_triton_image.sh: $*" >&2; exit 1; }
for tool in debootstrap docker tar apt-get; do
  command -v "$tool" >/dev/null || fail "$tool is missing"
done
[ "$(id -u)" = 0 ] || fail "debootstrap needs root"
package=$("$python" -c 'import importlib.util as u; print(u.find_spec("pytriton").submodule_search_locations[0])' 2>/dev/null) ||
  fail "$python has no nvidia-pytriton: pip install 'tritonpack[local]'"
version=$("$python" -c 'import importlib.metadata as m; print(m.version("nvidia-pytriton"))')

cache=${XDG_CACHE_HOME:-$HOME/.cache}/tritonpack
key=$(sha256sum "$0" | cut -c1-12)-$version
archive=$cache/triton-image-$key.tar
mkdir -p "$cache"

if [ ! -s "$archive" ]; then
  exec 9>"$cache/build.lock"
  flock 9 # two test runs build it once
fi
if [ ! -s "$archive" ]; then
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)
  [ -n "$mirror" ] || fail "apt knows no package mirror: run apt-get update"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo "making a Debian $suite root" >&2
  debootstrap --variant=minbase --include="$packages" "$suite" "$work/root" "$mirror" >"$work/log" 2>&1 ||
    fail "debootstrap failed: $(tail -n 1 "$work/log")"
  rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* "$work"/root/usr/share/doc

  server=$work/root/opt/tritonserver
  mkdir -p "$server/bin" "$server/lib" "$server/backends"
  cp "$package/tritonserver/bin/tritonserver" "$server/bin/tritonserver.bin"
  cp -r "$package/tritonserver/backends/python" "$server/backends/python"
  cp "$package/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub" "$server/backends/python/"
  cp "$(dirname "$package")"/nvidia_pytriton.libs/* "$server/lib/"
  cat >"$server/bin/tritonserver" <<'WRAPPER'
#!/bin/sh
export LD_LIBRARY_PATH=/opt/tritonserver/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec /opt/tritonserver/bin/tritonserver.bin --backend-directory=/opt/tritonserver/backends "$@"
WRAPPER
  chmod 755 "$server/bin/tritonserver"
  tar -C "$work/root" -cf "$archive.part" . && mv "$archive.part" "$archive"
fi

label=tritonpack.test-image=$key
if [ -z "$(docker image ls --quiet --filter "reference=$tag" --filter "label=$label")" ]; then
  docker import \
    --change "LABEL $label" \
    --change 'ENV PATH=/opt/tritonserver/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'WORKDIR /opt/tritonserver' \
    "$archive" "$tag" >/dev/null
fi
echo "$tag"
