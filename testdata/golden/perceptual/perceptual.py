"""Makes perceptual.safetensors, by PyTorch in float64: python3 perceptual.py. VGG-16 is built by hand, with few filters, and drawn weights, as those of LPIPS are."""
import json
import struct

import torch
import torch.nn.functional as F

torch.manual_seed(13)
torch.set_default_dtype(torch.float64)
FILTERS = [[4, 4], [6, 6], [8, 8, 8], [8, 8, 8], [8, 8, 8]]
LAYERS = ["relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"]
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def rounded(t):
    return t.float().double()


vgg, inputs, module = {}, 3, 0
for block in FILTERS:
    for filters in block:
        vgg[f"features.{module}.weight"] = rounded(torch.randn(filters, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5)
        # Above 0, so that few features are: where a vector is about 0, rounding makes another of it.
        vgg[f"features.{module}.bias"] = rounded(torch.rand(filters))
        inputs, module = filters, module + 2
    module += 1


def features(x):
    if x.shape[1] == 1:
        x = x.repeat(1, 3, 1, 1)
    x = (x - MEAN.view(1, 3, 1, 1)) / STD.view(1, 3, 1, 1)
    module, found = 0, []
    for i, block in enumerate(FILTERS):
        if i > 0:
            x = F.max_pool2d(x, 2)
            module += 1
        for j in range(len(block)):
            x = F.relu(F.conv2d(x, vgg[f"features.{module}.weight"], vgg[f"features.{module}.bias"], padding=1))
            module += 2
            if f"relu{i + 1}_{j + 1}" in LAYERS:
                found.append(x)
    return found


def unit(x):
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)


def distance(p, t, layer, lpips):
    if lpips:
        return ((unit(p) - unit(t)) ** 2 * lins[f"lin{layer}.model.1.weight"]).sum(1).mean((1, 2))
    return torch.mean((p - t) ** 2, dim=(1, 2, 3))


lins = {f"lin{i}.model.1.weight": rounded(torch.rand(1, block[-1], 1, 1)) for i, block in enumerate(FILTERS)}
tensors = vgg | lins
for channels, lpips in (1, False), (3, False), (3, True):
    name = "lpips/" if lpips else f"{channels}_channels/"
    w = rounded(torch.randn(channels, channels, 3, 3) * 0.3).requires_grad_()
    b = rounded(torch.randn(channels) * 0.1).requires_grad_()
    x, clean = rounded(torch.rand(3, channels, 19, 21)), rounded(torch.rand(3, channels, 19, 21))
    tensors |= {name + "x": x.permute(0, 2, 3, 1), name + "clean": clean.permute(0, 2, 3, 1)}
    tensors |= {name + "init/weight": w.detach().clone(), name + "init/bias": b.detach().clone()}
    optimizer, losses = torch.optim.SGD([w, b], lr=0.05), []
    for step in range(3):
        out = torch.sigmoid(F.conv2d(x, w, b, padding=1))
        distances = torch.stack([distance(p, t, i, lpips) for i, (p, t) in enumerate(zip(features(out), features(clean)))])
        loss = 0.5 * F.mse_loss(out, clean) + (0.1 if lpips else 0.01) * distances.sum(0).mean()
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            tensors |= {name + "step0/output": out.detach().permute(0, 2, 3, 1), name + "step0/distances": distances.detach().sum(0)}
            tensors |= {name + "step0/grad/weight": w.grad.clone(), name + "step0/grad/bias": b.grad.clone()}
        optimizer.step()
        losses.append(loss.item())
    tensors |= {name + "losses": torch.tensor(losses), name + "final/weight": w.detach().clone(), name + "final/bias": b.detach().clone()}

header, data = {"__metadata__": {"loss": json.dumps({"mse": 0.5, "perceptual": {"weight": 0.01, "layers": LAYERS}}), "lpips": json.dumps({"mse": 0.5, "perceptual": {"weight": 0.1, "lpips": True}}), "optimizer": "sgd 0.05"}}, b""
for name, t in tensors.items():
    raw = struct.pack(f"<{t.numel()}f", *t.flatten().tolist())
    header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(header).encode()
with open("perceptual.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + data)
print({n: t.tolist() for n, t in tensors.items() if n.endswith(("losses", "distances"))})
