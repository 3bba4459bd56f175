#!/usr/bin/env bash
# Fetches the pinned CUDA compiler: get_cuda.sh FOLDER [headers]
# puts nvcc 12.4, cicc, ptxas, nvdisasm and libdevice into FOLDER, out of Debian's packages and without installing any (87 MB to
# download). With "headers" also CUDA's headers, which the real driver needs to be built (1 GB to download).
# The mirror is the one that apt already uses. Elsewhere than on Debian, install CUDA 12.4 and set NVCC instead.
set -euo pipefail
if [ $# -lt 1 ] || ! command -v apt-get >/dev/null; then
  sed -n '2,5s/^# //p' "$0" >&2
  exit 1
fi
folder=$(mkdir -p "$1" && cd "$1" && pwd)
headers=${2:-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# An apt of our own, which knows one release only and nothing of what is installed.
mirror=$(apt-get indextargets --format '$(SITE)' | awk '/\/debian\/?$/ && !found { print; found = 1 }')
mkdir -p "$tmp"/lists/partial "$tmp"/cache/archives/partial "$folder"/bin "$folder"/include "$folder"/nvvm/libdevice
: >"$tmp/status"
cat >"$tmp/cuda.sources" <<SOURCES
Types: deb
URIs: $mirror
Suites: trixie
Components: non-free
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
own_apt() {
  apt-get -qq -o Dir::State::Lists="$tmp/lists" -o Dir::State::status="$tmp/status" -o Dir::Cache="$tmp/cache" \
    -o Dir::Etc::sourcelist="$tmp/cuda.sources" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User=root "$@"
}
cd "$tmp"
own_apt update
own_apt download nvidia-cuda-toolkit
lib=./usr/lib/nvidia-cuda-toolkit
dpkg --fsys-tarfile nvidia-cuda-toolkit_*.deb | tar -x $lib/bin/nvcc $lib/bin/cicc $lib/libdevice ./usr/bin/ptxas ./usr/bin/nvdisasm
mv $lib/bin/nvcc $lib/bin/cicc usr/bin/ptxas usr/bin/nvdisasm "$folder/bin/"
mv $lib/libdevice/libdevice.10.bc "$folder/nvvm/libdevice/"
cat >"$folder/bin/nvcc.profile" <<'PROFILE'
TOP = $(_HERE_)/..
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
PATH += $(_HERE_):
INCLUDES += "-I$(TOP)/include" $(_SPACE_)
PROFILE
if [ "$headers" = headers ]; then
  own_apt download nvidia-cuda-dev
  mkdir dev
  dpkg --fsys-tarfile nvidia-cuda-dev_*.deb | tar -x -C dev --wildcards './usr/include/*.h' './usr/include/*.hpp' './usr/include/crt/*'
  cp -r dev/usr/include/. "$folder/include/"
fi
"$folder/bin/nvcc" --version | tail -2
