#!/usr/bin/env bash
# Builds the image of Dockerfile.cuda without a Docker engine, and runs what is in it: check_container.sh
# For root on Debian, with Go and the network. buildah builds in chroots; debootstrap makes the base images, from the mirror
# that apt already uses; Go and the modules are this machine's. All that it makes is removed at the end, but for CUDA's
# header in .cache/cuda and the packages of the tools.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
fail() { echo "check_container: $*" >&2; exit 1; }
step() { printf '\n-- %s (%d s)\n' "$*" "$SECONDS"; }

[ "$(id -u)" = 0 ] || fail "want root, for chroots and mounts"
command -v apt-get >/dev/null || fail "want Debian, with apt-get"
command -v go >/dev/null || fail "want Go in the PATH"
missing=()
for tool in buildah debootstrap; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ ${#missing[@]} -gt 0 ]; then
  { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >/dev/null
fi
header=.cache/cuda/include/cuda.h
[ -f "$header" ] || scripts/get_cuda.sh .cache/cuda headers >&2
# shellcheck disable=SC2016 # apt's variable, not the shell's
mirror=$(apt-get indextargets --format '$(SITE)' | awk '/\/debian\/?$/ && !found { print; found = 1 }')
[ -n "$mirror" ] || fail "apt knows no mirror of Debian"

tmp=$(mktemp -d)
child=
# Storage of our own; vfs and chroot ask nothing of the kernel.
store() { buildah --root "$tmp/storage" --runroot "$tmp/runroot" --storage-driver vfs "$@"; }
cleanup() {
  if [ -n "$child" ]; then kill -KILL "$child" 2>/dev/null || true; fi
  store unmount --all >/dev/null 2>&1 || true
  store rm --all >/dev/null 2>&1 || true
  rm -rf --one-file-system "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
# quiet COMMAND... shows what it prints only if it fails.
quiet() { "$@" >"$tmp/log" 2>&1 || { tail -n 40 "$tmp/log" >&2; fail "failed: $*"; }; }

step "base images: Debian; Debian with gcc; CUDA's header"
base=$(store from scratch)
root=$(store mount "$base")
quiet debootstrap --variant=minbase bookworm "$root" "$mirror"
rm -rf "${root:?}"/var/cache/apt/archives/*.deb "${root:?}"/dev/*
store unmount "$base" >/dev/null
quiet store commit --rm "$base" base-debian
go=$(store from --pull-never base-debian)
quiet store run --isolation chroot "$go" -- sh -c 'apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev ca-certificates'
store config --env PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$go"
quiet store commit --rm "$go" base-go
cuda=$(store from scratch)
quiet store copy "$cuda" "$header" /usr/local/cuda/include/cuda.h
quiet store commit --rm "$cuda" base-cuda

step "the image"
go mod download
quiet store build --isolation chroot --pull-never -f Dockerfile.cuda -t convae \
  --build-arg GO_IMAGE=localhost/base-go --build-arg CUDA_IMAGE=localhost/base-cuda --build-arg RUN_IMAGE=localhost/base-debian \
  --volume "$(go env GOROOT):/usr/local/go:ro" --volume "$(go env GOMODCACHE)/cache/download:/modules:ro" --build-arg GOPROXY=file:///modules .
image=$(store from --pull-never convae)
root=$(store mount "$image")

setting() { store inspect --type image --format "{{range .OCIv1.Config.$1}}{{println .}}{{end}}" convae; }
value() { store inspect --type image --format "{{.OCIv1.Config.$1}}" convae; }
mapfile -t env < <(setting Env | grep .)
mapfile -t entry < <(setting Entrypoint | grep .)
mapfile -t args < <(setting Cmd | grep .)
user=$(value User)
dir=$(value WorkingDir)
[[ $user =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || fail "USER is $user, want numbers above 0"
[ "$(value StopSignal)" = SIGTERM ] || fail "STOPSIGNAL is $(value StopSignal)"
[ "$(value Volumes)" = "map[$dir:{}]" ] || fail "VOLUME is $(value Volumes), want $dir"
for v in NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility; do
  [[ " ${env[*]} " = *" $v "* ]] || fail "the image's environment lacks $v"
done
test -s "$root/etc/ssl/certs/ca-certificates.crt" || fail "the image has no CA certificates"
grep -q "^module gorgonia.org/cu " "$root/usr/share/doc/convae/copyright" || fail "the image has no notices of licences"
du -sh --exclude proc "$root" | sed 's/\t.*/ with the base image/'

# inside COMMAND... becomes the command in the image, as its user, with its environment and no other, without privileges.
# What it mounts goes with it.
inside() {
  # shellcheck disable=SC2016 # for the shell that it starts
  exec unshare --mount -- sh -ec '
    root=$1 user=$2 dir=$3; shift 3
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    exec setpriv --bounding-set=-all,+sys_chroot,+setuid,+setgid --no-new-privs env -i "$@"
  ' sh "$root" "$user" "$dir" "${env[@]}" chroot --userspec="$user" --groups= "$root" sh -c "cd $dir && exec \"\$@\"" sh "$@"
}
# start COMMAND... leaves it running, with its output in a file.
start() {
  : >"$tmp/out" # or what follows might read what the last one printed, until the child has opened the file
  (inside "$@") >"$tmp/out" 2>&1 </dev/null &
  child=$!
}
# finish STATUS fails unless that is how what was started ends.
finish() {
  local status=0
  wait "$child" || status=$?
  child=
  [ "$status" = "$1" ] || { cat "$tmp/out" >&2; fail "exit status is $status, want $1"; }
}
convae() { start "${entry[@]}" "$@"; finish 0; }
printed() { grep -qe "$1" "$tmp/out" || { cat "$tmp/out" >&2; fail "what it printed lacks: $1"; }; }
# training FOLDER waits until the child is in the midst of an epoch.
training() {
  local i
  for i in {1..600}; do
    if grep -q '"message":"training"' "$tmp/out"; then return; fi
    kill -0 "$child" 2>/dev/null || break
    sleep 0.1
  done
  cat "$tmp/out" >&2
  fail "training has not begun after $((i / 10)) s"
}

step "the binary needs the C library and no CUDA"
start ldd /usr/local/bin/convae
finish 0
cat "$tmp/out"
printed 'libc\.so\.6'
if grep -E 'libcuda|not found' "$tmp/out"; then fail "the binary must not need that"; fi

step "devices"
convae devices
cat "$tmp/out"
printed 'libcuda\.so\.1'
start "${entry[@]}" train --device cuda
finish 1
printed '"level":"error".*libcuda\.so\.1' # CONVAE_LOG is json there

step "train, as the image does without arguments: on the CPU, and it says why, in JSON"
convae "${args[@]}"
grep '"message":"device"' "$tmp/out" || { cat "$tmp/out" >&2; fail "no log line in JSON names the device"; }
printed '"device":"cpu[^"]*","reason":".*libcuda\.so\.1'
printed '"psnr_after":[0-9.]*.*"message":"done"'
test -s "$root$dir"/runs/*/model.safetensors
[ "$(stat -c %u:%g "$root$dir"/runs/*/model.safetensors)" = "$user" ] || fail "the run does not belong to $user"

step "check, of a tenth of the table: the tests have run all of it"
convae check --every 10
tail -n 3 "$tmp/out"

# interrupted and resumed hold what a run must print that is ended by a signal, and one that goes on from there.
interrupted() {
  printed '"interrupted":true.*"message":"done"'
  saved=$(find "$root$dir/$1/checkpoints" -name 'step-*.safetensors' | sed 's/.*step-0*\([0-9]*\).*/\1/' | sort -n | tail -n 1)
  [ "${saved:-0}" -gt 0 ] || fail "$1 has no checkpoint"
}
resumed() {
  local first
  first=$(grep -m 1 '"message":"training"' "$tmp/out" | sed 's/.*"step":\([0-9]*\).*/\1/')
  [ "${first:-0}" -gt "$saved" ] || { cat "$tmp/out" >&2; fail "the restart did not go on from step $saved: its first is ${first:-unknown}"; }
  test -s "$root$dir/$1/model.safetensors" || fail "$1 has no model"
}
short="--data digits --epochs 12 --limit 6000"

step "the command of the Kubernetes job: started, ended by SIGTERM, restarted, run again"
line=$(sed -n 's/^ *args: \[\(.*\)\]$/\1/p' scripts/job.k8s.yaml | tr -d ',"' | sed "s/--device cuda/--device cpu/; s/--data mnist --epochs 10/$short/")
[[ $line = *"$short"* ]] || fail "job.k8s.yaml has other arguments than this script knows"
read -ra job <<<"$line"
mkdir "$root$dir/runs/mnist"
touch "$root$dir/runs/mnist/config.yaml" # of a run that was killed before its first checkpoint
chown -R "$user" "$root$dir/runs/mnist"
start "${entry[@]}" "${job[@]}"
training
kill -TERM "$child"
finish 130
interrupted runs/mnist
start "${entry[@]}" "${job[@]}"
finish 0
resumed runs/mnist
start "${entry[@]}" "${job[@]}"
finish 0

step "the Slurm job: started, its time nearly over, restarted; cancelled"
install -m 755 scripts/job.slurm.sh "$root/usr/local/bin/"
printf '#!/bin/sh\necho "scontrol $*"\n' | install -m 755 /dev/stdin "$root/usr/local/bin/scontrol"
slurm() {
  # shellcheck disable=SC2086 # words
  start env SLURM_JOB_ID="$1" SLURM_RESTART_COUNT="$2" DEVICE=cpu job.slurm.sh $short
}
slurm 7 0
training
kill -USR1 "$child"
finish 130
interrupted runs/slurm-7
printed '^scontrol requeue 7$'
slurm 7 1
finish 0
resumed runs/slurm-7
slurm 8 0
training
kill -TERM "$child"
finish 130
interrupted runs/slurm-8
if grep scontrol "$tmp/out"; then fail "a cancelled job must not be requeued"; fi

step "passed"
