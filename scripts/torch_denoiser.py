#!/usr/bin/env python3
"""The denoiser in PyTorch on the CPU: training at batch 128 and inference at 1, 128 and 1024, images a second.

Prints one JSON object: {"train": 2930.1, "predict/1": ..., "torch": "1.13.0", "threads": 2, ...}. Each figure is the
better of NCHW and channels_last. Called by bench_cpu_peers.sh.
"""
import argparse
import json
import os
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--seconds", type=float, default=2.0, help="time for each figure")
args = parser.parse_args()
os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(args.threads)
torch.manual_seed(0)


def denoiser():
    """As trainer/presets/denoiser.yaml, ending in logits."""
    conv = lambda cin, cout: nn.Conv2d(cin, cout, 3, padding=1)
    return nn.Sequential(
        conv(1, 32), nn.ReLU(), nn.MaxPool2d(2), conv(32, 32), nn.ReLU(), nn.MaxPool2d(2),
        conv(32, 32), nn.ReLU(), nn.Upsample(scale_factor=2), conv(32, 32), nn.ReLU(), nn.Upsample(scale_factor=2),
        conv(32, 1))


def rate(step, images):
    """Images a second of step, which takes the given number of images."""
    for _ in range(3):
        step()
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < args.seconds / 2:
        step()
        n += 1
    return n * images / (time.perf_counter() - start)


def layouts():
    return (torch.contiguous_format, torch.channels_last)


clean = (torch.rand(512, 1, 28, 28) < 0.13).float()


def train(layout):
    model = denoiser().to(memory_format=layout)
    adam = torch.optim.Adam(model.parameters(), 1e-3, eps=1e-7, foreach=True)
    x = (clean + 0.5 * torch.randn_like(clean)).clamp(0, 1).contiguous(memory_format=layout)
    y = clean.contiguous(memory_format=layout)
    at = 0

    def step():
        nonlocal at
        loss = F.binary_cross_entropy_with_logits(model(x[at:at + 128]), y[at:at + 128])
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        at = (at + 128) % 512

    return rate(step, 128)


def predict(layout, batch):
    model = denoiser().to(memory_format=layout).eval()
    x = torch.rand(batch, 1, 28, 28).contiguous(memory_format=layout)

    def step():
        with torch.inference_mode():
            torch.sigmoid(model(x))

    return rate(step, batch)


out = {"train": max(train(m) for m in layouts())}
for batch in (1, 128, 1024):
    out[f"predict/{batch}"] = max(predict(m, batch) for m in layouts())
out |= {"torch": torch.__version__, "threads": args.threads}
print(json.dumps(out))
