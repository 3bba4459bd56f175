#!/usr/bin/env python3
"""Checks that PyTorch's equivalent model takes a run's weights and computes the same: check_torch.py RUN [CONVAE].

Builds torch.nn.Sequential from RUN/config.yaml, loads RUN/model.safetensors into it with load_state_dict (strict), and
compares encoder and decoder with what `CONVAE encode` and `decode` make of random images. Needs torch, numpy and yaml.
"""
import subprocess
import sys
import tempfile

import numpy as np
import torch
import yaml

from torch_model import Autoencoder, load


def nchw(a):
    return torch.from_numpy(np.moveaxis(a, -1, 1).copy() if a.ndim == 4 else a)


def compare(what, ours, theirs):
    worst = (nchw(ours) - theirs).abs().max().item()
    print(f"{what}: worst difference {worst:.2g}")
    if not worst < 1e-4:
        sys.exit(f"check_torch: {what} differs")


run, convae = sys.argv[1], sys.argv[2:] or ["go", "run", "./cmd/convae"]
model = yaml.safe_load(open(f"{run}/config.yaml"))["model"]
images = np.random.default_rng(1).random([16, *model["input"]], np.float32)
with torch.inference_mode():
    whole = Autoencoder(model).eval()
    whole.load_state_dict(load(f"{run}/model.safetensors")[0])
    with tempfile.TemporaryDirectory() as tmp:
        np.save(f"{tmp}/in.npy", images)
        subprocess.run([*convae, "encode", f"{tmp}/in.npy", f"{tmp}/code.npy", "--model", run], check=True)
        subprocess.run([*convae, "decode", f"{tmp}/code.npy", f"{tmp}/out.npy", "--model", run], check=True)
        codes, out = np.load(f"{tmp}/code.npy"), np.load(f"{tmp}/out.npy")
    code = whole.encoder(nchw(images))
    compare("encoder", codes, code)
    compare("decoder", out, whole.decoder(code))
