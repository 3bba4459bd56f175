#!/usr/bin/env bash
# Checks convae on a machine with an NVIDIA GPU, measures it beside PyTorch, and writes one JSON file.
#
#   gpu_check.sh [--device cuda:1] [--data-dir DIR] [--out FILE] [--only STEP,STEP] [--step-limit SECONDS] [--quick]
#   gpu_check.sh pack FOLDER [--data-dir DIR]
#
# In the repository it builds convae (with cuda.h: see the README) and writes testdata/gpu/DATE-GPU.json. For a machine with
# neither Go nor a network, pack makes a folder with the program, the reference vectors, MNIST and the scripts: carry it
# there and run the gpu_check.sh in it. MNIST is downloaded, or taken from --data-dir.
#
# The steps: every op against float64 (table), reference vectors and the recorded training (golden), compute-sanitizer's four
# tools on a part of the table, the GPU against the simulator on the same inputs (simulator), ten epochs of MNIST twice with
# the same bits (mnist), and speed beside PyTorch (bench). What cannot be run is in the file with the reason. A step that
# fails does not stop the others; the exit status is then 1. The file is written after every step, so that a run that is
# ended leaves what it has; --only does some steps, where time is short (give each part an --out). A step that takes longer
# than --step-limit (1800) is ended and has failed: a GPU that hangs does not keep the others waiting. --quick makes every step
# small, and with --device sim or cpu tries the script itself without a GPU.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "gpu_check: $*" >&2; exit 1; }

pack='' device=cuda data='' out='' only='' quick='' limit=1800
if [ "${1:-}" = pack ]; then
  pack=${2:?gpu_check: pack wants a folder}
  shift 2
fi
while [ $# -gt 0 ]; do
  case $1 in
    --device | --data-dir | --out | --only | --step-limit)
      [ $# -gt 1 ] || fail "$1 wants a value"
      case $1 in --device) device=$2 ;; --data-dir) data=$2 ;; --out) out=$2 ;; --only) only=$2 ;; --step-limit) limit=$2 ;; esac
      shift ;;
    --quick) quick=1 ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
    *) fail "unknown argument $1 (see --help)" ;;
  esac
  shift
done

[[ $limit =~ ^[1-9][0-9]{0,6}$ ]] || fail "--step-limit is $limit, want a number of seconds"

tmp=$(mktemp -d)
child=''
trap 'rm -rf "$tmp"' EXIT
trap '[ -z "$child" ] || kill "$child" 2>/dev/null; exit 130' INT TERM
repository=''
[ -f "$here/../go.mod" ] && repository=$(dirname "$here")

build() {
  CGO_CFLAGS="-O2 -I$repository/cuda/driver/include ${CGO_CFLAGS:-}"
  if [ -f "$repository/.cache/cuda/include/cuda.h" ]; then CGO_CFLAGS+=" -I$repository/.cache/cuda/include"; fi
  export CGO_CFLAGS
  (cd "$repository" && CGO_ENABLED=1 go build -tags cuda -trimpath -o "$1" ./cmd/convae)
}

if [ -n "$pack" ]; then
  [ -n "$repository" ] || fail "pack works in the repository"
  mkdir -p "$pack"
  pack=$(cd "$pack" && pwd)
  build "$pack/convae"
  cp "$here"/{gpu_check.sh,torch_bench.py,torch_model.py,bench_dense.yaml,bench_large.yaml} "$pack"
  cp -r "$repository/testdata/golden" "$pack"
  mkdir -p "$pack/mnist"
  if [ -n "$data" ]; then
    cp "$data"/*-ubyte* "$pack/mnist"
  else
    XDG_CACHE_HOME=$tmp "$pack/convae" data mnist >/dev/null
    find "$tmp" -name '*-ubyte*' -exec cp {} "$pack/mnist" \;
  fi
  [ "$(find "$pack/mnist" -name '*-ubyte*' | wc -l)" = 4 ] || fail "$pack/mnist has not the four files of MNIST"
  echo "carry $pack to the machine with the GPU, and run gpu_check.sh in it"
  exit
fi

if [ -n "$repository" ]; then
  convae=$tmp/convae golden=$repository/testdata/golden
  build "$convae"
else
  convae=$here/convae golden=$here/golden data=${data:-$here/mnist}
  [ -x "$convae" ] || fail "$convae is missing: make this folder with gpu_check.sh pack"
fi

# text prints its argument as a JSON string.
text() { printf '"%s"' "$(printf %s "$1" | tr '\n\t\r' '   ' | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')"; }
smi() { nvidia-smi --query-gpu=index,name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu,ecc.mode.current,compute_mode --format=csv 2>/dev/null || echo none; }
bad=false
# done_step NAME STATUS REASON SECONDS [FILE with JSON]
done_step() {
  printf '%-12s %-8s %5s s  %s\n' "$1" "$2" "$4" "$3" >&2
  [ "$2" != failed ] || bad=true
  {
    [ ! -s "$tmp/steps" ] || printf ',\n'
    printf '    %s: {"status": %s, "seconds": %s' "$(text "$1")" "$(text "$2")" "$4"
    [ -z "$3" ] || printf ', "reason": %s' "$(text "$3")"
    if [ -n "${5:-}" ] && head -c 1 "$5" | grep -q '[[{]'; then printf ', "result": '; cat "$5"; fi
    printf '}'
  } >>"$tmp/steps"
  write_report
}
write_report() {
  {
    cat "$tmp/head"
    printf '  "nvidia_smi": %s,\n  "nvidia_smi_after": %s,\n' "$(text "$smi")" "$(text "$(smi)")"
    printf '  "passed": %s,\n  "steps": {\n' "$([ $bad = true ] && echo false || echo true)"
    cat "$tmp/steps"
    printf '\n  }\n}\n'
  } >"$tmp/all"
  mv "$tmp/all" "$out"
}
# limited runs a command of a step until the step's time is over: it is asked to end then, and killed 15 seconds later. It
# runs beside the script, so that a signal to that ends both at once.
limited() {
  local left=$((deadline - SECONDS))
  timeout --kill-after=15 $((left > 0 ? left : 1)) "$@" &
  child=$!
  local rc=0
  wait "$child" 2>/dev/null || rc=$?
  child=''
  return "$rc"
}
not_run() { done_step "$1" 'not run' "$2" 0; }
# step NAME COMMAND... runs a command that prints JSON. Exit status 77 says that it could not be run.
step() {
  local name=$1 start=$SECONDS status=passed reason='' rc=0
  shift
  if [[ -n $only && ,$only, != *,$name,* ]]; then
    not_run "$name" "left out by --only"
    return
  fi
  deadline=$((SECONDS + limit))
  "$@" >"$tmp/out" 2>"$tmp/err" || rc=$?
  if [ "$rc" != 0 ]; then
    status=failed reason=$(tail -n 1 "$tmp/err")
    if [ $((SECONDS >= deadline)) = 1 ]; then reason="took longer than $limit s (--step-limit)${reason:+; its last words: $reason}"; fi
    [ "$rc" != 77 ] || status='not run'
    [ -n "$reason" ] || reason="exit status $rc"
  fi
  done_step "$name" "$status" "$reason" $((SECONDS - start)) "$tmp/out"
}

"$convae" devices --json >"$tmp/devices"
gpu=$device
case $device in cuda*)
  grep -q '"device": "cuda:0"' "$tmp/devices" || fail "$("$convae" devices | tail -n 1)"
  gpu=$(grep -A1 "\"device\": \"cuda:$([ "$device" = cuda ] && echo 0 || echo "${device#cuda:}")\"" "$tmp/devices" | sed -n 's/.*"name": "\(.*\)".*/\1/p')
  [ -n "$gpu" ] || fail "there is no device $device: see $convae devices" ;;
esac

probe='import torch'
if [[ $device = cuda* ]]; then probe+='; assert torch.cuda.is_available()'; fi
python=''
for p in ${PYTHON:-python3 /usr/bin/python3}; do
  if "$p" -c "$probe" 2>/dev/null; then python=$p; break; fi
done

now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
if [ -z "$out" ]; then
  folder=.
  if [ -n "$repository" ]; then folder=$repository/testdata/gpu; fi
  out=$folder/${now%T*}-$(printf %s "$gpu" | tr -cs 'A-Za-z0-9\n' '-').json
fi
mkdir -p "$(dirname "$out")"
smi=$(smi)
{
  printf '{\n  "date": %s,\n  "device": %s,\n  "gpu": %s,\n' "$(text "$now")" "$(text "$device")" "$(text "$gpu")"
  printf '  "convae": %s,\n  "system": %s,\n' "$(text "$("$convae" version)")" "$(text "$(uname -srm)")"
  printf '  "nvcc": %s,\n' "$(text "$(nvcc --version 2>/dev/null | tail -n 1 || true)")"
  printf '  "torch": %s,\n' "$(text "$([ -z "$python" ] || "$python" -c 'import torch; print(torch.__version__, "CUDA", torch.version.cuda)')")"
  printf '  "quick": %s,\n  "devices": ' "$([ -n "$quick" ] && echo true || echo false)"
  cat "$tmp/devices"
  printf '  ,\n'
} >"$tmp/head"

# What a full run and a quick one do.
check=() part=(--every 10 --steps 2 --batch 4) simulator=(--every 2 --steps 5 --batch 8)
train=(denoiser --data mnist --epochs 10) rates=("128,1024" "1,128,1024" 5 0.3) large=("16,64" 16 5 0.5)
[ -z "$data" ] || train+=(--data-dir "$data")
if [ -n "$quick" ]; then
  check=(--every 10 --steps 1 --batch 2) part=(--every 50 --steps 1 --batch 2) simulator=(--every 20 --steps 1 --batch 2)
  train=(denoiser --data digits --epochs 1 --limit 32 --batch 16 --validation 0.002) rates=(4 2 1 0.05)
fi

step table limited "$convae" check --device "$device" "${check[@]}" --json
step golden limited "$convae" check --device "$device" --golden "$golden" --json
# sanitized TOOL checks a part of the table under compute-sanitizer.
sanitized() {
  local log=$tmp/$1.log rc=0
  limited compute-sanitizer --tool "$1" --error-exitcode 9 --log-file "$log" "$convae" check --device "$device" "${part[@]}" --json || rc=$?
  sed 's/^=* *//' "$log" | grep . | tail -n 1 >&2
  if grep -q 'Device not supported' "$log"; then return 77; fi
  grep -q SUMMARY "$log" && return "$rc"
}
for tool in memcheck racecheck initcheck synccheck; do
  if [[ $device != cuda* ]]; then
    not_run "$tool" "compute-sanitizer works on a GPU"
  elif ! command -v compute-sanitizer >/dev/null; then
    not_run "$tool" "compute-sanitizer is not in the PATH (it comes with the CUDA toolkit)"
  else
    step "$tool" sanitized "$tool"
  fi
done
if [ "$device" = cpu ]; then
  not_run simulator "the CPU runs other code than the simulator"
else
  step simulator limited "$convae" check --device "$device" --against sim "${simulator[@]}" --json
fi

# trained does the same training twice and prints the history of the first.
trained() {
  for i in 1 2; do
    limited "$convae" train "${train[@]}" --device "$device" --seed 1 --log json --out "$tmp/run$i" >/dev/null || return
  done
  cat "$tmp/run1/history.json"
  cmp "$tmp/run1/model.safetensors" "$tmp/run2/model.safetensors" >&2
}
step mnist trained

# speed NAME MODEL TRAIN PREDICT ROUNDS SECONDS measures beside PyTorch if there is one.
speed() {
  if [ -n "$python" ] && [ "$device" != sim ]; then
    step "$1" limited "$python" "$here/torch_bench.py" --convae "$convae" --model "$2" --device "$device" --train "$3" --predict "$4" --rounds "$5" --seconds "$6"
  else
    step "$1" limited "$convae" bench "$2" --device "$device" --train "$3" --predict "$4" --rounds "$5" --seconds "$6" --json
  fi
}
speed bench denoiser "${rates[@]}"
[ -n "$quick" ] || speed bench_large "$here/bench_large.yaml" "${large[@]}"
if [ "$device" = sim ]; then
  not_run pytorch "PyTorch has no simulator"
elif [ -z "$python" ]; then
  not_run pytorch "no Python with a torch for the device (PYTHON names one): bench has convae alone"
fi

echo "wrote $out" >&2
[ $bad = false ]
