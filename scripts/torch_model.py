"""PyTorch's equivalent of a model: built from its configuration, with weights from a safetensors file. Needs torch alone."""
import itertools
import json
import struct
import sys

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


class Rescale(nn.Module):
    def __init__(self, scale, offset):
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, x):
        return self.scale * x + self.offset


class Add(nn.Module):
    def forward(self, *x):
        return sum(x[1:], x[0])


class Concatenate(nn.Module):
    def forward(self, *x):
        return torch.cat(x, 1)


class Part(nn.Sequential):
    """The modules of a list of layers, for an input like x. What layers with names make is put into values, from where others take it."""

    def __init__(self, layers, x, values):
        super().__init__()
        self.plan = []  # the names of the inputs, the number of modules and the name of each layer
        for item in layers:
            item = dict(item)
            name, inputs = item.pop("name", None), item.pop("inputs", None)
            (kind, c), = item.items()
            xs = [values[i] for i in inputs] if inputs else [x]
            first, count = layer(kind, c, xs[0]), 1
            self.append(first)
            x = first(*xs)
            if c.get("activation", "linear") != "linear":
                self.append(ACTIVATIONS[c["activation"]]())
                count = 2
            self.plan.append((inputs, count, name))
            if name:
                values[name] = x  # an activation does not change the shape
        self.shape = x

    def forward(self, x, values=None):
        values = {"input": x} if values is None else values
        modules = iter(self)
        for inputs, count, name in self.plan:
            first, *rest = itertools.islice(modules, count)
            x = first(*(values[i] for i in inputs)) if inputs else first(x)
            for m in rest:
                x = m(x)
            if name:
                values[name] = x
        return x


def layer(kind, said, x):
    """The module of a layer whose first input is like x."""
    c = {"stride": 1, "padding": "same", **said}
    same = c["padding"] == "same"
    if kind == "conv2d":
        return Conv(x, c, same)
    if kind == "conv2d_transpose":
        return ConvTranspose(x.shape[1], c, same)
    if kind == "maxpool2d":
        return Pool(x, c["size"], said.get("stride", c["size"]), same)
    if kind == "upsampling2d":
        bilinear = c.get("interpolation") == "bilinear"
        return nn.Upsample(scale_factor=c["size"], mode="bilinear", align_corners=False) if bilinear else nn.Upsample(scale_factor=c["size"])
    if kind == "batch_normalization":
        return nn.BatchNorm2d(x.shape[1], c.get("epsilon", 1e-3), 1 - c.get("momentum", 0.99))
    if kind == "dense":
        return nn.Linear(x.shape[1], c["units"], bias=not c.get("no_bias"))
    if kind == "activation":
        return ACTIVATIONS[c["function"]]()
    if kind == "rescaling":
        return Rescale(c["scale"], c.get("offset", 0))
    if kind == "add":
        return Add()
    if kind == "concatenate":
        return Concatenate()
    if kind == "flatten":
        return nn.Flatten()
    if kind == "reshape":
        h, w, ch = c["shape"]
        return nn.Unflatten(1, (ch, h, w))
    if kind == "dropout":
        return nn.Dropout(c["rate"]).eval()
    sys.exit(f"torch_model: unknown layer {kind}")


class Autoencoder(nn.Module):
    """The model of a configuration; its state has the names that convae gives the weights."""

    def __init__(self, model):
        super().__init__()
        with torch.no_grad():
            *image, channels = model["input"]
            x = torch.zeros(1, channels, *image)
            values = {"input": x}
            self.encoder = Part(model["encoder"], x, values)
            self.decoder = Part(model["decoder"], self.encoder.shape, values)
            del self.encoder.shape, self.decoder.shape

    def forward(self, x):
        values = {"input": x}
        return self.decoder(self.encoder(x, values), values)


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
