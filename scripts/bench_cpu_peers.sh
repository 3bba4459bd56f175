#!/usr/bin/env bash
# Compares convae's speed on the CPU with PyTorch's and, in inference, onnxruntime's: bench_cpu_peers.sh [ROUNDS [PATTERN]]; only rows
# that match the pattern, such as denoiser.*train.
# Processes alternate, so that other work on the machine hits both alike; medians over the rounds and their ratio are
# printed. PyTorch computes the same losses and runs as fast as we know to make it: all cores, the better memory layout,
# OpenMP threads that wait actively, no memory given back between steps, and an OpenMP BLAS if the system has one.
# onnxruntime runs the graph that convae exports, with as many threads; it takes part if NODE_PATH names a folder in which
# npm install --ignore-scripts onnxruntime-node has put it.
# PYTHON names the interpreter that has torch (default: the first of /usr/bin/python3 and python3 that has it). CONVAE_SIMD
# (avx512, avx2, none) holds for convae alone.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
pattern=${2:-.}
for python in ${PYTHON:-/usr/bin/python3 python3}; do
  if "$python" -c 'import torch' 2>/dev/null; then found=$python; break; fi
done
if [ -z "${found:-}" ]; then
  echo "bench_cpu_peers: no Python with torch (Debian: apt-get install python3-torch libopenblas0-openmp)" >&2
  exit 1
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/convae" ./cmd/convae

# name model batch-of-training what batch precision
rows="denoiser denoiser 128 --train 128
denoiser denoiser 128 --predict 1
denoiser denoiser 128 --predict 128
denoiser denoiser 128 --predict 1024
dense scripts/bench_dense.yaml 256 --train 256
large scripts/bench_large.yaml 16 --train 16
large-winograd scripts/bench_large.yaml 16 --train 16 winograd
c64 scripts/bench_64.yaml 16 --train 16
c64-winograd scripts/bench_64.yaml 16 --train 16 winograd
resnet-ae resnet-ae 16 --train 16
unet-denoiser unet-denoiser 16 --train 16"
rows=$(grep -- "$pattern" <<<"$rows") || {
  echo "bench_cpu_peers: no row matches $pattern" >&2
  exit 1
}

for model in denoiser:128 scripts/bench_dense.yaml:256 scripts/bench_large.yaml:16 scripts/bench_64.yaml:16 resnet-ae:16 unet-denoiser:16; do
  "$tmp/convae" bench "${model%:*}" --device cpu --train "${model#*:}" --save "$tmp/$(basename "${model%:*}").safetensors" >/dev/null
done
ort=
if node -e 'require("onnxruntime-node")' 2>/dev/null; then
  ort=$tmp/ort
  mkdir "$ort"
  "$tmp/convae" train denoiser --limit 128 --epochs 1 --out "$ort/run" --device cpu --log lines >/dev/null 2>&1
  "$tmp/convae" export "$ort/denoiser.onnx" --model "$ort/run" >/dev/null
  for batch in 1 128 1024; do
    "$found" -c "import sys, torch; torch.rand($batch * 784).numpy().tofile(sys.argv[1])" "$ort/$batch.f32"
    printf '[{"model": "%s", "input": "%s", "dims": [%d, 1, 28, 28], "seconds": 2}]' "$ort/denoiser.onnx" "$ort/$batch.f32" "$batch" >"$ort/$batch.json"
  done
fi
for _ in $(seq "$rounds"); do
  while read -r name model _ what batch precision; do
    if [ "$what" = --predict ]; then peer=(--predict "$batch"); else peer=(--train); fi
    printf '%s%s/%s ours ' "$name" "$what" "$batch"
    "$tmp/convae" bench "$model" --device cpu "$what" "$batch" --precision "${precision:-float32}" --rounds 1 --seconds 2 --json | tr -d '\n'
    printf '\n%s%s/%s torch ' "$name" "$what" "$batch"
    OMP_WAIT_POLICY=active MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456 \
      "$found" scripts/torch_cpu.py "$tmp/$(basename "$model").safetensors" "${peer[@]}"
    if [ -n "$ort" ] && [ "$what $model" = "--predict denoiser" ]; then
      printf '%s%s/%s onnxruntime ' "$name" "$what" "$batch"
      ORT_THREADS=$(nproc) node scripts/onnx_run.js "$ort/$batch.json"
    fi
  done <<<"$rows" >>"$tmp/results"
done
"$found" - "$tmp/results" "$rounds" <<'P'
import json, statistics, sys
rates, ort = {}, ""
for line in open(sys.argv[1]):
    name, who, text = line.split(" ", 2)
    run = json.loads(text)
    if who == "torch":
        torch = run
    if who == "onnxruntime":
        ort = ", onnxruntime " + run["onnxruntime"]
    rates.setdefault(name, {}).setdefault(who, []).append(run["rows"][0]["images_per_second"] if who == "ours" else run["images_per_second"])
cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
print(f"{cpu}, {torch['threads']} threads, PyTorch {torch['torch']}{ort}, medians of {sys.argv[2]} alternating runs, images/s")
print(f"{'':24s}{'convae':>10s}{'PyTorch':>10s}{'ratio':>8s}" + (f"{'onnxruntime':>13s}{'ratio':>8s}" if ort else ""))
for name, r in rates.items():
    a, b = statistics.median(r["ours"]), statistics.median(r["torch"])
    c = statistics.median(r["onnxruntime"]) if "onnxruntime" in r else 0
    print(f"{name:24s}{a:10.0f}{b:10.0f}{a / b:8.2f}" + (f"{c:13.0f}{a / c:8.2f}" if c else ""))
P
