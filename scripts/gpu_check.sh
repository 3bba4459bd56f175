#!/usr/bin/env bash
# Checks convae on a machine with an NVIDIA GPU, measures it beside PyTorch, and writes one JSON file.
#
#   gpu_check.sh [--device cuda:1] [--data-dir DIR] [--out FILE] [--minutes N] [--only STEP,STEP] [--step-limit SECONDS] [--quick]
#   gpu_check.sh pack FOLDER [--data-dir DIR]
#
# In the repository it builds convae (with cuda.h: see docs/gpu.md) and writes testdata/gpu/DATE-GPU.json. For a machine with
# neither Go nor a network, pack makes a folder with the program, the reference vectors, MNIST and the scripts: carry it
# there and run the gpu_check.sh in it. MNIST is downloaded, or taken from --data-dir.
#
# The steps, of which the first say most: every op against float64 (table), reference vectors and the recorded training (golden), images
# of 512x512 (image512), the time of each op beside its prediction (predicted, and of a dense and a large model), speed beside PyTorch
# (bench, bench_large), ten epochs of MNIST twice with the same bits (mnist), the GPU against the simulator on the same inputs (simulator),
# and compute-sanitizer's four tools on a part of the table. What cannot be run is in the file with the reason. A step that fails does not
# stop the others; the exit status is then 1. The file is written after every step, so that a run that is ended leaves what it has.
#
# All of it ends within --minutes (8), building included. Each step has a share of them, after which it is ended and has failed: a GPU that
# hangs does not keep the others waiting; --step-limit gives every step so many seconds instead. Steps for which no time is left are
# not run: --only does some steps (give each part an --out). --quick makes every step small, and with --device sim or cpu tries the
# script itself without a GPU.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "gpu_check: $*" >&2; exit 1; }

pack='' device=cuda data='' out='' only='' quick='' minutes=8 limit=''
if [ "${1:-}" = pack ]; then
  pack=${2:?gpu_check: pack wants a folder}
  shift 2
fi
while [ $# -gt 0 ]; do
  case $1 in
    --device | --data-dir | --out | --only | --minutes | --step-limit)
      [ $# -gt 1 ] || fail "$1 wants a value"
      case $1 in --device) device=$2 ;; --data-dir) data=$2 ;; --out) out=$2 ;; --only) only=$2 ;; --minutes) minutes=$2 ;; --step-limit) limit=$2 ;; esac
      shift ;;
    --quick) quick=1 ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
    *) fail "unknown argument $1 (see --help)" ;;
  esac
  shift
done

[[ $minutes =~ ^[1-9][0-9]{0,3}$ ]] || fail "--minutes is $minutes, want a number of minutes"
[[ -z $limit || $limit =~ ^[1-9][0-9]{0,6}$ ]] || fail "--step-limit is $limit, want a number of seconds"
finish=$((minutes * 60 - 20)) # what a step is given to end when it is asked to, and the report

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
  cp "$here"/{gpu_check.sh,torch_bench.py,torch_model.py,bench_512.yaml,bench_dense.yaml,bench_large.yaml} "$pack"
  cp -r "$repository"/testdata/{golden,sim} "$pack"
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
  convae=$tmp/convae golden=$repository/testdata/golden predictions=$repository/testdata/sim
  build "$convae"
else
  convae=$here/convae golden=$here/golden predictions=$here/sim data=${data:-$here/mnist}
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
# step NAME SHARE COMMAND... runs a command that prints JSON, for that share of the minutes in hundredths. Exit status 77 says that
# it could not be run.
step() {
  local name=$1 allowed=${limit:-$((minutes * 60 * $2 / 100))} start=$SECONDS status=passed reason='' rc=0
  shift 2
  if [[ -n $only && ,$only, != *,$name,* ]]; then
    not_run "$name" "left out by --only"
    return
  fi
  if [ "$SECONDS" -ge $finish ]; then
    not_run "$name" "no time is left of $minutes minutes (--minutes)"
    return
  fi
  if [ $((SECONDS + allowed)) -gt $finish ]; then allowed=$((finish - SECONDS)); fi
  deadline=$((SECONDS + allowed))
  "$@" >"$tmp/out" 2>"$tmp/err" || rc=$?
  if [ "$rc" != 0 ]; then
    status=failed reason=$(tail -n 1 "$tmp/err")
    if [ $((SECONDS >= deadline)) = 1 ]; then reason="took longer than $allowed s (--minutes, --step-limit)${reason:+; its last words: $reason}"; fi
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
  printf '  "minutes": %s,\n  "quick": %s,\n  "devices": ' "$minutes" "$([ -n "$quick" ] && echo true || echo false)"
  cat "$tmp/devices"
  printf '  ,\n'
} >"$tmp/head"

# What a full run and a quick one do.
check=() part=(--every 10 --steps 2 --batch 4) simulator=(--every 2 --steps 5 --batch 8) images=(8 8 3 0.5) profile=(--steps 20)
train=(denoiser --data mnist --epochs 10) rates=("128,1024" "1,128,1024" 5 0.3) large=("16,64" 16 5 0.5)
[ -z "$data" ] || train+=(--data-dir "$data")
if [ -n "$quick" ]; then
  check=(--every 50 --steps 1 --batch 2) part=(--every 50 --steps 1 --batch 2) simulator=(--every 50 --steps 1 --batch 2)
  images=("" 1 1 0.01) profile=(--steps 1)
  train=(denoiser --data digits --epochs 1 --limit 32 --batch 16 --validation 0.002) rates=(4 2 1 0.05)
fi

step table 15 limited "$convae" check --device "$device" "${check[@]}" --json
step golden 8 limited "$convae" check --device "$device" --golden "$golden" --json

# measured NAME SHARE MODEL TRAIN PREDICT ROUNDS SECONDS measures convae alone.
measured() {
  step "$1" "$2" limited "$convae" bench "$3" --device "$device" ${4:+--train "$4"} --predict "$5" --rounds "$6" --seconds "$7" --json
}
measured image512 8 "$here/bench_512.yaml" "${images[@]}"

# predicted NAME MODEL BATCH TABLE [FLAGS] times each op beside what the model of an H100 says of it.
predicted() {
  step "$1" 5 limited "$convae" profile "$2" --device "$device" --batch "$3" --predicted "$predictions/$4.txt" "${profile[@]}" "${@:5}" --json
}
# In float32 and tf32 the tables of the denoiser are of its whole step in one launch, for which the simulated GPU, of compute capability 8.0, has
# too little shared memory.
if [ "$device" = sim ]; then
  predicted predicted denoiser 128 h100_bf16_denoiser_128 --precision bf16
else
  predicted predicted denoiser 128 h100_denoiser_128
fi
if [ -z "$quick" ]; then
  predicted predicted_dense "$here/bench_dense.yaml" 256 h100_dense_256
  predicted predicted_large "$here/bench_large.yaml" 16 h100_large_16
  predicted predicted_tf32 denoiser 128 h100_tf32_denoiser_128 --precision tf32
  predicted predicted_large_tf32 "$here/bench_large.yaml" 16 h100_tf32_large_16 --precision tf32
  predicted predicted_bf16 denoiser 128 h100_bf16_denoiser_128 --precision bf16
  predicted predicted_large_bf16 "$here/bench_large.yaml" 16 h100_bf16_large_16 --precision bf16
fi

# speed NAME SHARE MODEL TRAIN PREDICT ROUNDS SECONDS measures beside PyTorch if there is one. Half of the time is for making it ready.
speed() {
  if [ -n "$python" ] && [ "$device" != sim ]; then
    step "$1" "$2" limited "$python" "$here/torch_bench.py" --convae "$convae" --model "$3" --device "$device" --train "$4" --predict "$5" --rounds "$6" \
      --seconds "$7" --minutes "$(awk "BEGIN { print $minutes * $2 / 200 }")"
  else
    measured "$@"
  fi
}
speed bench 25 denoiser "${rates[@]}"
[ -n "$quick" ] || speed bench_large 15 "$here/bench_large.yaml" "${large[@]}"
if [ "$device" = sim ]; then
  not_run pytorch "PyTorch has no simulator"
elif [ -z "$python" ]; then
  not_run pytorch "no Python with a torch for the device (PYTHON names one): bench has convae alone"
fi

# trained does the same training twice and prints the history of the first.
trained() {
  for i in 1 2; do
    limited "$convae" train "${train[@]}" --device "$device" --seed 1 --log json --out "$tmp/run$i" >/dev/null || return
  done
  cat "$tmp/run1/history.json"
  cmp "$tmp/run1/model.safetensors" "$tmp/run2/model.safetensors" >&2
}
step mnist 15 trained
if [ "$device" = cpu ]; then
  not_run simulator "the CPU runs other code than the simulator"
else
  step simulator 15 limited "$convae" check --device "$device" --against sim "${simulator[@]}" --json
fi

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
    step "$tool" 8 sanitized "$tool"
  fi
done

echo "wrote $out" >&2
[ $bad = false ]
