#!/usr/bin/env bash
# Trains presets on MNIST with three seeds, as for the tables of docs/quality.md, and prints what they reach on the test images.
#
#   scripts/mnist_quality.sh FOLDER [PRESET | PRESET@EPOCHS ...]
#
# FOLDER keeps the runs; it goes on with those that were interrupted, and trains none again. SEEDS (1 2 3) and MNIST_DIR (idx files; else they
# are downloaded) may be set. All presets take some two hours on two cores with AVX-512.
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 1; }
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- denoiser dense32@10 dense32 deep32 deep64 conv49 convt sparse-l1 sparse-kl contractive vae@10 vae-conv concrete
data=(--data mnist)
[ -z "${MNIST_DIR:-}" ] || data+=(--data-dir "$MNIST_DIR")

(cd "$root" && go build -o "$folder/convae" ./cmd/convae)
printf '%-14s %5s %6s %9s %9s %9s %7s %7s %7s\n' preset seed epoch val_loss BCE MSE PSNR SSIM units
for item in "$@"; do
  preset=${item%@*}
  epochs=()
  [ "$preset" = "$item" ] || epochs=(--epochs "${item#*@}")
  for seed in ${SEEDS:-1 2 3}; do
    run=$folder/$item-$seed
    "$folder/convae" train "$preset" "${data[@]}" ${epochs[@]+"${epochs[@]}"} --seed "$seed" --continue --out "$run" >"$run.txt" 2>"$run.log"
    awk -F, -v item="$item" -v seed="$seed" '
      NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
      END { printf "%-14s %5s %6s %9.5g %9.5f %9.5f %7.2f %7.4f %7s\n", item, seed, $at["epoch"], $at["val_loss"],
            $at["val_bce"], $at["val_mse"], $at["val_psnr"], $at["val_ssim"], $at["val_active_units"] }' "$run/history.csv"
  done
done
