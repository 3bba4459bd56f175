#!/usr/bin/env python3
"""Makes the graphs beside it with torch.onnx, and what PyTorch computes with them: make.py. Those here are of PyTorch 1.13.0 (Debian's
python3-torch). Each .json has the dimensions and the numbers of an input and of its output."""
import json
import os

import torch
from torch import nn

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(1)


class Whole(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        return self.decoder(self.encoder(x))


class View(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        return x.view(x.size(0), *self.shape)


models = {
    # Padding that is not convae's, vectors between images.
    "torch_strides": ((1, 8, 12), Whole(
        nn.Sequential(nn.Conv2d(1, 3, 3, 2, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3, 2, 1), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(24, 5)),
        nn.Sequential(nn.Linear(5, 24), nn.ReLU(), View(4, 2, 3), nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), nn.BatchNorm2d(3), nn.ReLU(),
                      nn.ConvTranspose2d(3, 1, 4, 2, 1), nn.Sigmoid()))),
    # Pools, upsampling, and shapes that the graph computes.
    "torch_pools": ((3, 8, 8), Whole(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ELU(), nn.AvgPool2d(2), View(16), nn.Linear(16, 6), nn.Tanh()),
        nn.Sequential(nn.Linear(6, 16), View(4, 2, 2), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 5, padding=2, bias=False), nn.ReLU(),
                      nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 12, 3, padding=1), nn.Sigmoid(), nn.PixelShuffle(2), nn.MaxPool2d(2)))),
}
for name, (shape, model) in models.items():
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_mean, -0.5, 0.5)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
            nn.init.uniform_(m.weight, 0.5, 1.5)
    model.eval()
    x = torch.rand(2, *shape)
    with torch.no_grad():
        y = model(x)
    torch.onnx.export(model, x, name + ".onnx", input_names=["input"], output_names=["output"], opset_version=13,
                      dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}})
    with open(name + ".json", "w") as f:
        json.dump({k: {"dims": list(v.shape), "data": [float(e) for e in v.flatten()]} for k, v in (("input", x), ("output", y))}, f)
