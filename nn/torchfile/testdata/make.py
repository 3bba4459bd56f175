#!/usr/bin/env python3
"""Makes the files beside it with torch.save: make.py. Those here are of PyTorch 1.13.0 (Debian's python3-torch)."""
import collections
import os

import torch

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def numbers(*shape):
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape) / 8 - 1


# A state dict of a module, with its _metadata and a counter.
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, (2, 3)), torch.nn.BatchNorm2d(3), torch.nn.Linear(3, 2))
with torch.no_grad():
    for i, p in enumerate(model.parameters()):
        p.copy_(numbers(*p.shape) + i)
torch.save(model.state_dict(), "module.pt")

# A checkpoint: a state dict among other things, with tensors that are transposed, cut out, shared and expanded, and parameters.
base = numbers(4, 6)
state = collections.OrderedDict(
    plain=base, turned=base.t(), part=base[1:3, 2:5], column=base[:, 3], repeated=torch.tensor([0.5, 1.5]).expand(3, 2), scalar=torch.tensor(2.5),
    nothing=torch.zeros(0, 3), parameter=torch.nn.Parameter(base[0]), half=base.half(), brain=base.bfloat16(), double=base.double() / 3, whole=torch.tensor([-1, 1 << 40]))
torch.save({"epoch": 3, "loss": 0.25, "best": None, "args": ["a", ("b", True)], "optimizer": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 0.1}]},
            "state_dict": state}, "checkpoint.pth")
