#!/usr/bin/env bash
# Compares the denoiser's speed on the CPU with PyTorch's: bench_cpu_peers.sh [ROUNDS].
# Processes alternate, so that other work on the machine hits both alike; medians over the rounds and their ratio are
# printed. PyTorch runs as fast as we know to make it: all cores, the better memory layout, OpenMP threads that wait
# actively, no memory given back between steps, and an OpenMP BLAS if the system has one.
# PYTHON names the interpreter that has torch (default: the first of /usr/bin/python3 and python3 that has it).
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
threads=$(nproc)
for python in ${PYTHON:-/usr/bin/python3 python3}; do
  if "$python" -c 'import torch' 2>/dev/null; then found=$python; break; fi
done
if [ -z "${found:-}" ]; then
  echo "bench_cpu_peers: no Python with torch (Debian: apt-get install python3-torch libopenblas0-openmp)" >&2
  exit 1
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go test -c -o "$tmp/bench" .

ours() { "$tmp/bench" -test.run '^$' -test.bench . -test.benchtime 2s; }
theirs() {
  OMP_WAIT_POLICY=active MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456 \
    "$found" scripts/torch_denoiser.py --threads "$threads"
}
for _ in $(seq "$rounds"); do
  ours >>"$tmp/ours"
  theirs >>"$tmp/theirs"
done
"$found" - "$tmp" "$rounds" <<'P'
import json, re, statistics, sys
tmp, rounds = sys.argv[1], sys.argv[2]
names = {"BenchmarkDenoiserTrain": "train", **{f"BenchmarkDenoiserPredict/batch={n}": f"predict/{n}" for n in (1, 128, 1024)}}
ours, theirs = {}, {}
for line in open(f"{tmp}/ours"):
    m = re.match(r"(Benchmark\S+?)(?:-\d+)?\s.*?([\d.e+]+) images/s", line)
    if m:
        ours.setdefault(names[m[1]], []).append(float(m[2]))
for line in open(f"{tmp}/theirs"):
    run = json.loads(line)
    for k in names.values():
        theirs.setdefault(k, []).append(run[k])
cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
print(f"{cpu}, {run['threads']} threads, PyTorch {run['torch']}, medians of {rounds} alternating runs, images/s")
print(f"{'':14s}{'convae':>10s}{'PyTorch':>10s}{'ratio':>8s}")
for k in names.values():
    a, b = statistics.median(ours[k]), statistics.median(theirs[k])
    print(f"{k:14s}{a:10.0f}{b:10.0f}{a / b:8.2f}")
P
