#!/usr/bin/env python3
"""Checks that PyTorch's equivalent model takes a run's weights and computes the same: check_torch.py RUN [CONVAE].

Builds torch.nn.Sequential from RUN/config.yaml, loads RUN/model.safetensors into it with load_state_dict (strict), and
compares encoder and decoder with what `CONVAE encode` and `decode` make of random images. Needs torch, numpy and yaml.
"""
import json
import struct
import subprocess
import sys
import tempfile
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class Conv(nn.Conv2d):
    """Convolution with Keras's padding: the odd pixel goes to the bottom and right."""

    def __init__(self, cin, c, same):
        super().__init__(cin, c["filters"], c["kernel"], c["stride"], bias=not c.get("no_bias"))
        self.same = same

    def forward(self, x):
        if self.same:
            x = F.pad(x, pads(x, self.kernel_size, self.stride))
        return super().forward(x)


class ConvTranspose(nn.ConvTranspose2d):
    """Transposed convolution whose output is stride times its input with padding same."""

    def __init__(self, cin, c, same):
        super().__init__(cin, c["filters"], c["kernel"], c["stride"], bias=not c.get("no_bias"))
        self.same = same

    def forward(self, x):
        y = super().forward(x)
        h, w = (x.shape[2] * self.stride[0], x.shape[3] * self.stride[1])
        if not self.same:
            return y
        top, left = [max(k - s, 0) // 2 for k, s in zip(self.kernel_size, self.stride)]
        return y[:, :, top:top + h, left:left + w]


class Pool(nn.Module):
    def __init__(self, size, stride, same):
        super().__init__()
        self.size, self.stride, self.same = (size, size), (stride, stride), same

    def forward(self, x):
        if self.same:
            x = F.pad(x, pads(x, self.size, self.stride), value=float("-inf"))
        return F.max_pool2d(x, self.size, self.stride)


def pads(x, kernel, stride):
    out = []
    for n, k, s in reversed(list(zip(x.shape[2:], kernel, stride))):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        out += [total // 2, total - total // 2]
    return out


def sequential(layers, x):
    """The modules of a part and its output for x, which tells the number of channels."""
    modules = []

    def add(m):
        nonlocal x
        modules.append(m)
        x = m(x)

    for item in layers:
        (kind, c), = item.items()
        c = {"stride": 1, "padding": "same", **c}
        same = c["padding"] == "same"
        if kind == "conv2d":
            add(Conv(x.shape[1], c, same))
        elif kind == "conv2d_transpose":
            add(ConvTranspose(x.shape[1], c, same))
        elif kind == "maxpool2d":
            add(Pool(c["size"], item[kind].get("stride", c["size"]), same))
        elif kind == "upsampling2d":
            add(nn.Upsample(scale_factor=c["size"]))
        elif kind == "dense":
            add(nn.Linear(x.shape[1], c["units"], bias=not c.get("no_bias")))
        elif kind == "activation":
            add(ACTIVATIONS[c["function"]]())
        elif kind == "flatten":
            add(nn.Flatten())
        elif kind == "reshape":
            h, w, ch = c["shape"]
            add(nn.Unflatten(1, (ch, h, w)))
        elif kind == "dropout":
            add(nn.Dropout(c["rate"]).eval())
        else:
            sys.exit(f"check_torch: unknown layer {kind}")
        if c.get("activation", "linear") != "linear":
            add(ACTIVATIONS[c["activation"]]())
    return nn.Sequential(*modules), x


def load(path):
    raw = open(path, "rb").read()
    size, = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    data = raw[8 + size:]
    return {k: torch.from_numpy(np.frombuffer(data[slice(*t["data_offsets"])], "<f4").reshape(t["shape"]).copy())
            for k, t in header.items()}


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
    encoder, code = sequential(model["encoder"], nchw(images))
    decoder, _ = sequential(model["decoder"], code)
    whole = nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder)).eval()
    whole.load_state_dict(load(f"{run}/model.safetensors"))
    with tempfile.TemporaryDirectory() as tmp:
        np.save(f"{tmp}/in.npy", images)
        subprocess.run([*convae, "encode", f"{tmp}/in.npy", f"{tmp}/code.npy", "--model", run], check=True)
        subprocess.run([*convae, "decode", f"{tmp}/code.npy", f"{tmp}/out.npy", "--model", run], check=True)
        codes, out = np.load(f"{tmp}/code.npy"), np.load(f"{tmp}/out.npy")
    code = encoder(nchw(images))
    compare("encoder", codes, code)
    compare("decoder", out, decoder(code))
