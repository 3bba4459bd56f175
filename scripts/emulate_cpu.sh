#!/usr/bin/env bash
# Runs tests on an emulated processor with AVX-512, AVX512_BF16 and AMX, which few machines have: Bochs boots Linux, whose init runs them.
#
#   scripts/emulate_cpu.sh ./cpu/simd -test.run Multiply -- ./cpu -test.run 'Conv/amx'
#
# Packages are separated by --, each with the flags of its test binary. Tests cannot read files of the repository: there is nothing but the binaries.
# The processor is one of some 100 million instructions a second, and needs most of a minute to start. What is needed is fetched from
# Debian's archive to .cache/emulator, and runs from there: nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { sed -n '2,8s/^# \?//p' "$0"; exit 2; }
cache=$PWD/.cache/emulator
root=$cache/root

fetch() {
  rm -rf "$cache"
  mkdir -p "$cache"/apt/{lists,archives}/partial "$root"
  # From the mirror that this machine's apt uses. The kernel of backports, because setcpuid (below) came with Linux 6.15.
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/\?$') || {
    echo "emulate_cpu: apt knows no mirror of Debian" >&2
    exit 1
  }
  for suite in trixie trixie-backports; do
    echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
  done >"$cache/apt/sources.list"
  : >"$cache/apt/status"
  local options=(-qq -o Dir::Etc="$cache/apt" -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$cache/apt/lists" -o Dir::State::status="$cache/apt/status" -o Dir::Cache="$cache/apt" -o Dir::Cache::archives="$cache/apt/archives"
    -o APT::Install-Recommends=false -o APT::Architecture=amd64 -o APT::Architectures=amd64)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" install -y --download-only -t trixie-backports linux-image-cloud-amd64 bochs/trixie bochs-term/trixie \
    isolinux/trixie syslinux-common/trixie xorriso/trixie busybox-static/trixie
  for package in "$cache"/apt/archives/*.deb; do dpkg -x "$package" "$root"; done
  rm -rf "$cache/apt"
  touch "$cache/fetched"
}
[ -e "$cache/fetched" ] || fetch >&2

# emulated NAME runs a program of those that were fetched, with their libraries.
emulated() {
  local lib=$root/usr/lib/x86_64-linux-gnu program=$1
  shift
  "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$lib:$lib/pulseaudio" "$root/usr/bin/$program" "$@"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/init/{proc,sys,dev,tmp} "$work/boot"
cp "$root/usr/bin/busybox" "$work/init/"
{
  echo '#!/busybox sh'
  for fs in proc:proc sysfs:sys devtmpfs:dev; do echo "/busybox mount -t ${fs%:*} none /${fs#*:}"; done
  echo 'cd /tmp; echo emulated: started'
} >"$work/init/init"
chmod +x "$work/init/init"
tests=0
while [ $# -gt 0 ]; do
  CGO_ENABLED=0 GOARCH=amd64 go test -c -ldflags='-s -w' -o "$work/init/test$tests" "$1"
  command="/test$tests -test.timeout 0"
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    command+=" $(printf %q "$1")"
    shift
  done
  [ $# -eq 0 ] || shift
  printf '%s && echo emulated: passed\n' "$command" >>"$work/init/init"
  tests=$((tests + 1))
done
echo '/busybox stty -F /dev/ttyS0 sane; /busybox sleep 2; /busybox poweroff -f' >>"$work/init/init"

# Bochs has no XFD, by which Linux gives a thread the tiles of AMX, and room to save them in, when it first uses one. It is said to be there (setcpuid: feature 324), so
# every thread has the tiles, and Linux saves none: with one processor, on which Go then runs one thread at a time, nobody takes them from another.
cp "$(find "$root/usr/lib/modules" "$root/boot" -name 'vmlinuz*' | head -n 1)" "$work/boot/vmlinuz"
(cd "$work/init" && find . | ./busybox cpio -o -H newc 2>/dev/null) >"$work/boot/initrd"
cp "$root/usr/lib/ISOLINUX/isolinux.bin" "$root/usr/lib/syslinux/modules/bios/ldlinux.c32" "$work/boot/"
cat >"$work/boot/isolinux.cfg" <<'END'
DEFAULT linux
LABEL linux
KERNEL vmlinuz
INITRD initrd
APPEND console=ttyS0,115200 loglevel=3 panic=-1 reboot=triple no5lvl nokaslr mitigations=off tsc=unstable lpj=1000000 setcpuid=324
END
emulated xorriso -as mkisofs -quiet -o "$work/boot.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$work/boot" 2>/dev/null
cat >"$work/bochsrc" <<END
display_library: rfb, options="timeout=0"
cpu: model=sapphire_rapids, count=1, ips=100000000, reset_on_triple_fault=0
memory: guest=1024, host=1024
romimage: file=$root/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=$root/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
log: $work/log
panic: action=fatal
error: action=ignore
END
# Linux changes its own code as it starts, and once in nine times Bochs ran into a breakpoint that was there only meanwhile; tsc=unstable, above, leaves out
# the change at which that was seen. Nothing has been tested then, and the machine is started again.
for attempt in 1 2 3; do
  : >"$work/serial"
  # Bochs ends as if it had failed when the machine is switched off.
  LTDL_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu/bochs/plugins emulated bochs-bin -q -f "$work/bochsrc" >"$work/out" 2>&1 </dev/null &
  bochs=$!
  trap 'kill $bochs 2>/dev/null || true; rm -rf "$work"' EXIT
  tail -f --pid=$bochs "$work/serial"
  wait $bochs || true
  ! grep -q '^emulated: started' "$work/serial" || break
  echo "Linux did not start on the emulated processor, for the $attempt. time" >&2
done
if [ "$(grep -c '^emulated: passed' "$work/serial")" != $tests ]; then
  echo "not all of $tests test binaries passed on the emulated processor; the end of Bochs's log:" >&2
  tail -n 5 "$work/log" "$work/out" >&2
  exit 1
fi
