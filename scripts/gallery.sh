#!/usr/bin/env bash
# Trains the runs of docs/gallery.md, with built-in data alone, and copies their pictures to docs/gallery: some ten minutes on two cores.
# Usage: scripts/gallery.sh [NAME...], of denoiser, vae, unet, super-resolution, inpainting, anomaly, spiral (default: all)
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/convae" ./cmd/convae
mkdir -p docs/gallery
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(denoiser vae unet super-resolution inpainting anomaly spiral)

train() { "$work/convae" train "$@" --log lines; }

for name in "${names[@]}"; do
  run=$work/$name to=docs/gallery/$name.png
  case $name in
    denoiser)
      train --out "$run"
      cp "$run/samples.png" "$to" ;;
    vae)
      train vae-conv --epochs 15 --seed 2 --out "$run"
      "$work/convae" report "$run"
      cp "$run/pictures/latent.png" "$to" ;;
    unet)
      train unet-denoiser --epochs 5 --out "$run"
      cp "$run/samples.png" "$to" ;;
    super-resolution | inpainting)
      train "$name" --epochs 5 --out "$run"
      cp "$run/samples.png" "$to" ;;
    anomaly)
      train anomaly --epochs 10 --set 'data.only=[7]' --out "$run"
      "$work/convae" anomalies "$run" --worst "$to" ;;
    spiral)
      train spiral --out "$run"
      "$work/convae" report "$run"
      cp "$run/pictures/analysis.png" "$to" ;;
    *)
      echo "there is no picture $name: want denoiser, vae, unet, super-resolution, inpainting, anomaly or spiral" >&2
      exit 1 ;;
  esac
done
ls -l docs/gallery
