"""PyTorch's equivalent of a model: built from its configuration, with weights from a safetensors file. Needs torch alone."""
import json
import struct
import sys
from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class Conv(nn.Conv2d):
    """Convolution with Keras's padding: the odd pixel goes to the bottom and right."""

    def __init__(self, x, c, same):
        super().__init__(x.shape[1], c["filters"], c["kernel"], c["stride"], bias=not c.get("no_bias"))
        self.pads = pads(x, self.kernel_size, self.stride) if same else [0] * 4
        if self.pads[::2] == self.pads[1::2]:  # what the convolution can do itself is faster there
            self.padding, self.pads = (self.pads[2], self.pads[0]), None

    def forward(self, x):
        return super().forward(F.pad(x, self.pads) if self.pads else x)


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
    def __init__(self, x, size, stride, same):
        super().__init__()
        self.size, self.stride = (size, size), (stride, stride)
        self.pads = pads(x, self.size, self.stride) if same else [0] * 4

    def forward(self, x):
        if any(self.pads):
            x = F.pad(x, self.pads, value=float("-inf"))
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
            add(Conv(x, c, same))
        elif kind == "conv2d_transpose":
            add(ConvTranspose(x.shape[1], c, same))
        elif kind == "maxpool2d":
            add(Pool(x, c["size"], item[kind].get("stride", c["size"]), same))
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
            sys.exit(f"torch_model: unknown layer {kind}")
        if c.get("activation", "linear") != "linear":
            add(ACTIVATIONS[c["activation"]]())
    return nn.Sequential(*modules), x


def autoencoder(model):
    """The model of a configuration; its state has the names that convae gives the weights."""
    with torch.no_grad():
        *image, channels = model["input"]
        encoder, code = sequential(model["encoder"], torch.zeros(1, channels, *image))
        decoder, _ = sequential(model["decoder"], code)
    return nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))


def load(path):
    """The tensors and the metadata of a safetensors file of float32."""
    raw = open(path, "rb").read()
    size, = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + size])
    metadata = header.pop("__metadata__", {})
    data = bytearray(raw[8 + size:])

    def tensor(t):
        lo, hi = t["data_offsets"]
        return torch.frombuffer(data, dtype=torch.float32, count=(hi - lo) // 4, offset=lo).reshape(t["shape"]).clone()

    return {k: tensor(t) for k, t in header.items()}, metadata
