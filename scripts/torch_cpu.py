#!/usr/bin/env python3
"""The speed of PyTorch's equivalent of a model on the CPU, as JSON. Called by bench_cpu_peers.sh.

torch_cpu.py STEPS.safetensors --train | --predict BATCH

STEPS.safetensors is what `convae bench MODEL --train N --save` writes: weights, batches and the losses of a few steps, which
PyTorch must have too. Prints images a second, the better of NCHW and channels_last; training is with the batches ready
in memory.
"""
import argparse
import json
import os
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("steps")
parser.add_argument("--train", action="store_true")
parser.add_argument("--predict", type=int, metavar="BATCH")
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--seconds", type=float, default=2.0, help="time of the measurement")
args = parser.parse_args()
os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))

import torch
import torch.nn.functional as F

from torch_model import Autoencoder, load

torch.set_num_threads(args.threads)
tensors, metadata = load(args.steps)
config = json.loads(metadata["config"])
losses = tensors.pop("losses").tolist()
inputs, targets = [tensors.pop(k).permute(0, 3, 1, 2) for k in ("input", "target")]
training, batch = config["training"], config["training"]["batch"]


def new_model(layout):
    model = Autoencoder(config["model"])
    model.load_state_dict(tensors)
    return model.to(memory_format=layout)


def rate(step, images):
    """Images a second of step, which takes so many."""
    for _ in range(3):
        step()
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < args.seconds / 2:
        step()
        n += 1
    return n * images / (time.perf_counter() - start)


def train(layout):
    model, o = new_model(layout), training["optimizer"]
    if o["name"] != "adam" or o.get("epsilon_hat"):
        sys.exit(f"torch_cpu: the optimiser {o} is not compared: want adam without epsilon_hat")
    loss_of = F.mse_loss
    if training["loss"] == "bce":
        model.decoder[-1] = torch.nn.Identity()  # for the sigmoid: the loss is taken of logits
        loss_of = F.binary_cross_entropy_with_logits
    adam = torch.optim.Adam(model.parameters(), o["learning_rate"], (o["beta1"], o["beta2"]), o["epsilon"], foreach=True)
    pairs = [[t.contiguous(memory_format=layout) for t in pair] for pair in zip(inputs.split(batch), targets.split(batch))]
    at = 0

    def step():
        nonlocal at
        x, y = pairs[at % len(pairs)]
        at += 1
        loss = loss_of(model(x), y)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return loss

    # The first loss is of the same weights. Before a batch normalisation some gradients are nothing but rounding, which Adam scales up: behind
    # that, PyTorch's own float32 and float64 part by 0.5 % within three steps of resnet-ae.
    normalised = any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    for i, want in enumerate(losses):
        got = step().item()
        if not abs(got - want) <= (1e-2 if normalised and i > 0 else 1e-4) * abs(want):
            sys.exit(f"torch_cpu: a loss is {got}, convae's is {want}")
    return rate(step, batch)


def predict(layout):
    model = new_model(layout).eval()
    x = inputs[torch.arange(args.predict) % len(inputs)].contiguous(memory_format=layout)

    def step():
        with torch.inference_mode():
            model(x)

    return rate(step, args.predict)


best = max(map(train if args.train else predict, (torch.contiguous_format, torch.channels_last)))
print(json.dumps({"images_per_second": best, "torch": torch.__version__, "threads": args.threads}))
