#!/usr/bin/env bash
# Makes the tables of training steps in testdata/sim: predict.sh [--check] [--quick]
# Those whose names begin with a GPU's are predictions for it, which need ptxas and nvdisasm (scripts/get_cuda.sh .cache/cuda). With
# --check nothing is written: it fails if a table would change. --quick leaves out those that take many minutes. Of a large model only the blocks
# that are timed are executed.
set -euo pipefail
cd "$(dirname "$0")/.."
check='' quick=''
for flag; do
  case $flag in
    --check) check=1 ;;
    --quick) quick=1 ;;
    *) sed -n '2,5s/^# //p' "$0" >&2; exit 1 ;;
  esac
done
[ -x .cache/cuda/bin/nvdisasm ] || scripts/get_cuda.sh .cache/cuda >&2
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/convae" ./cmd/convae

failed=''
# table FILE MODEL BATCH [FLAGS]: a step of the model, counted, or predicted with --machine.
table() {
  local file=testdata/sim/$1.txt
  "$bin/convae" profile "$2" --batch "$3" --device sim "${@:4}" >"$bin/table"
  if [ -z "$check" ]; then
    cp "$bin/table" "$file"
  elif ! diff "$file" "$bin/table"; then
    echo "predict: $file is not what this code gives: scripts/predict.sh writes it anew" >&2
    failed=1
  fi
}

table denoiser_128 denoiser 128
table h100_denoiser_128 denoiser 128 --machine h100
table h100_dense_256 scripts/bench_dense.yaml 256 --machine h100
table h100_large_16 scripts/bench_large.yaml 16 --machine h100 --sample
table h100_tf32_denoiser_128 denoiser 128 --machine h100 --precision tf32
table h100_tf32_dense_256 scripts/bench_dense.yaml 256 --machine h100 --precision tf32
table h100_bf16_denoiser_128 denoiser 128 --machine h100 --precision bf16
table h100_tf32_large_16 scripts/bench_large.yaml 16 --machine h100 --precision tf32 --sample
table h100_bf16_large_16 scripts/bench_large.yaml 16 --machine h100 --precision bf16 --sample
if [ -z "$quick" ]; then
  table h100_kl_small_16 kl-small 16 --machine h100 --sample
  table h100_bf16_kl_f8_1 kl-f8 1 --machine h100 --precision bf16 --sample
  table h100_large_64 scripts/bench_large.yaml 64 --machine h100 --sample
  table h100_tf32_large_64 scripts/bench_large.yaml 64 --machine h100 --precision tf32 --sample
  table h100_bf16_large_64 scripts/bench_large.yaml 64 --machine h100 --precision bf16 --sample
else
  echo "predict: the tables of kl-small, of kl-f8 and of the large model at 64 are left out, for --quick" >&2
fi
[ -z "$failed" ]
