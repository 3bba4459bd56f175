#!/usr/bin/env python3
"""Compares the speed of training and inference with PyTorch's on one device, and prints JSON. Called by gpu_check.sh.

torch_bench.py --convae BINARY --model PRESET|CONFIG.yaml --device cuda --train 128,1024 --predict 1,128

For each batch: PyTorch's equivalent is built in all variants that it has (eager, compiled, compiled with CUDA graphs, each
with the whole step as a CUDA graph; fp32, TF32 and bf16; NCHW and channels_last). Each must have the losses of convae's first
steps in the same precision, from the same weights on the same batches; in bf16 that is autocast, which keeps the weights in
float32 as convae does. Then convae in each precision and every variant are
measured in turn, for some rounds; medians count, and those of one precision are compared. PyTorch's training finds its noisy
batches ready on the device, where convae draws the noise in every step; inference starts and ends in the host's memory for
both, pinned for PyTorch. A variant that does not run is in the result, with the reason. Exit status 1 if a loss differs.
"""
import argparse
import copy
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
numbers = lambda s: [int(n) for n in s.split(",") if n]
parser.add_argument("--convae", required=True)
parser.add_argument("--model", default="denoiser")
parser.add_argument("--device", default="cuda", help="a device of both: cuda, cuda:1, cpu")
parser.add_argument("--train", type=numbers, default=[])
parser.add_argument("--predict", type=numbers, default=[])
parser.add_argument("--precisions", default="", help="fp32,tf32,bf16 on a GPU, fp32 on the CPU")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--seconds", type=float, default=0.3, help="time of a round of each")
parser.add_argument("--minutes", type=float, default=20, help="time after which no more variants are built")
args = parser.parse_args()

import torch
import torch.nn.functional as F

from torch_model import Autoencoder, load

CUDA = args.device.startswith("cuda")
MODES = ("eager", "compile", "reduce-overhead", "eager+graph", "compile+graph")
LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
# Allowed differences, of losses as a share of them, of outputs as they are: fp32 differs by rounding, TF32 has 10 bits of
# mantissa, bf16 7, to which PyTorch rounds the output too.
BOUNDS = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 2e-2}
CALLED = {"fp32": "float32", "tf32": "tf32", "bf16": "bf16"}  # by convae
names = args.precisions.split(",") if args.precisions else list(CALLED) if CUDA else ["fp32"]
for name in names:
    if name not in CALLED:
        parser.error(f"--precisions names {name!r}, want some of {', '.join(CALLED)}")
PRECISIONS = {name: CALLED[name] for name in names}
deadline = time.monotonic() + 60 * args.minutes
torch.backends.cudnn.benchmark = True
if CUDA:
    torch.cuda.set_device(args.device if ":" in args.device else 0)


class Differs(Exception):
    pass


def sync():
    if CUDA:
        torch.cuda.synchronize()


def set_precision(precision):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def autocast(precision, f):
    """f, with its products in bf16 where the precision is that. Nothing that it casts outlives a call, as CUDA graphs need it."""
    if precision != "bf16":
        return f

    def cast(*x):
        with torch.autocast(args.device.split(":")[0], dtype=torch.bfloat16, cache_enabled=False):
            return f(*x)

    return cast


def compiled(f, mode):
    """f as mode wants it. Shapes are fixed; a fallback to eager is an error, not a figure under the wrong name."""
    if mode.startswith("eager"):
        return f
    if not hasattr(torch, "compile"):
        raise RuntimeError(f"torch {torch.__version__} has no torch.compile")
    from torch import _dynamo
    for limit in "cache_size_limit", "recompile_limit", "accumulated_cache_size_limit", "accumulated_recompile_limit":
        if hasattr(_dynamo.config, limit):  # one function is compiled for many models
            setattr(_dynamo.config, limit, 1000)
    return torch.compile(f, mode="reduce-overhead" if mode == "reduce-overhead" else "default", fullgraph=True, dynamic=False)


def captured(mode, step):
    """step, or the replay of it as a CUDA graph if mode wants one."""
    if not mode.endswith("+graph"):
        return step
    if not CUDA:
        raise RuntimeError("CUDA graphs need a GPU")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what is made in the first steps must not be recorded
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def begin(mode):
    """Tells the graphs of mode reduce-overhead that what they returned before is not needed any more."""
    if mode == "reduce-overhead" and hasattr(torch.compiler, "cudagraph_mark_step_begin"):
        torch.compiler.cudagraph_mark_step_begin()


def new_model(saved, layout):
    model = Autoencoder(saved["config"]["model"])
    model.load_state_dict(saved["weights"])
    return model.to(args.device, memory_format=LAYOUTS[layout])


class Train:
    """A training step over batches that are on the device."""

    def __init__(self, saved, batch, mode, layout, precision):
        self.saved, self.batch, self.mode = saved, batch, mode
        self.model = new_model(saved, layout)
        loss, o = saved["config"]["training"]["loss"], saved["config"]["training"]["optimizer"]
        if o["name"] != "adam" or o.get("epsilon_hat"):
            raise RuntimeError(f"the optimiser {o} is not compared: want adam without epsilon_hat")
        if loss == "bce":
            self.model.decoder[-1] = torch.nn.Identity()  # for the sigmoid: the loss is taken of logits
        loss_of = F.binary_cross_entropy_with_logits if loss == "bce" else F.mse_loss
        self.loss_of = compiled(autocast(precision, lambda x, y: loss_of(self.model(x), y)), mode)
        fast = {"fused": True, "capturable": mode.endswith("+graph")} if CUDA else {}
        self.adam = torch.optim.Adam(self.model.parameters(), o["learning_rate"], (o["beta1"], o["beta2"]), o["epsilon"], **fast)
        put = lambda t: [b.to(args.device).clone(memory_format=LAYOUTS[layout]) for b in t.split(batch)]
        self.inputs, self.targets = put(saved["input"]), put(saved["target"])
        self.x, self.y = self.inputs[0].clone(), self.targets[0].clone()
        self.run = captured(mode, self.once)
        self.i = 0

    def once(self):
        begin(self.mode)
        loss = self.loss_of(self.x, self.y)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()
        self.loss = loss.detach()

    def step(self):
        k = self.i % len(self.inputs)
        self.i += 1
        if self.mode.endswith("+graph"):  # a graph reads one place
            self.x.copy_(self.inputs[k])
            self.y.copy_(self.targets[k])
        else:
            self.x, self.y = self.inputs[k], self.targets[k]
        self.run()

    def check(self, bound):
        """Repeats convae's first steps; raises if a loss differs."""
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                p.copy_(self.saved["weights"][name])
            for state in self.adam.state.values():  # of the steps before a capture
                for v in state.values():
                    if torch.is_tensor(v):
                        v.zero_()
        worst = 0.0
        for want in self.saved["losses"].tolist():
            self.step()
            got = self.loss.item()
            worst = max(worst, abs(got - want) / abs(want)) if got == got else float("inf")
        if worst > bound:
            raise Differs(f"a loss differs by {worst:.2g} of its value, more than {bound:g}")
        return worst


class Predict:
    """Inference from the host's memory to the host's memory."""

    def __init__(self, saved, batch, mode, layout, precision):
        self.batch, self.mode = batch, mode
        self.model = new_model(saved, layout).eval()
        for p in self.model.parameters():
            p.requires_grad_(False)
        self.f = compiled(autocast(precision, lambda x: self.model(x)), mode)
        host = saved["input"][torch.arange(batch) % len(saved["input"])].contiguous(memory_format=LAYOUTS[layout])
        self.host = host.pin_memory() if CUDA else host
        self.x = self.host.to(args.device, copy=True)
        with torch.no_grad():
            y = self.model(self.x).cpu()
        self.out = y.pin_memory() if CUDA else y
        self.run = captured(mode, self.once)

    def once(self):
        with torch.no_grad():
            begin(self.mode)
            self.x.copy_(self.host, non_blocking=True)
            self.out.copy_(self.f(self.x), non_blocking=True)

    def step(self):
        self.run()
        sync()

    def check(self, bound):
        """Compares with the model in eager mode on the CPU, which training has compared with convae."""
        self.out.zero_()
        self.step()
        with torch.no_grad():
            want = copy.deepcopy(self.model).cpu()(self.host)
        worst = (self.out - want).abs().max().item()
        if not worst <= bound:
            raise Differs(f"an output differs by {worst:.2g}, more than {bound:g}")
        return worst


def rate(variant, seconds):
    """Images a second of about so many seconds of steps."""
    n = 1
    while True:
        start = time.perf_counter()
        for _ in range(n):
            variant.step()
        sync()
        took = time.perf_counter() - start
        if took >= seconds:
            return n * variant.batch / took
        n = max(n + 1, int(n * min(1.1 * seconds / took, 8)))


def convae(precision, *more):
    command = [args.convae, "bench", args.model, "--device", args.device, "--precision", PRECISIONS[precision], *more]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ours(what, batch, precision):
    out = json.loads(convae(precision, f"--{what}", str(batch), "--rounds", "1", "--seconds", str(args.seconds), "--json"))
    if out["precision"] != PRECISIONS[precision]:
        raise RuntimeError(f"convae was asked for {PRECISIONS[precision]} and measured {out['precision']}")
    return out["rows"][0]["images_per_second"]


def build(kind, saved, batch):
    """All variants that run, as pairs of their entry in the result and themselves (None for those that do not)."""
    for precision, steps in saved.items():
        for layout in LAYOUTS if steps["input"].dim() == 4 else ("nchw",):
            for mode in MODES:
                row, variant = {"mode": mode, "precision": precision, "layout": layout}, None
                try:
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"out of time: --minutes is {args.minutes:g}")
                    set_precision(precision)
                    variant = kind(steps, batch, mode, layout, precision)
                    row["difference"] = variant.check(BOUNDS[precision])
                except Differs as e:
                    row["failed"], variant = str(e), None
                except Exception as e:  # of a compiler, a graph, memory: the others still count
                    row["not_run"], variant = " ".join(f"{type(e).__name__}: {e}".split())[:300], None
                yield row, variant


def compare(what, batch, saved):
    print(f"{args.model} {what} batch {batch}", file=sys.stderr)
    variants = list(build({"train": Train, "predict": Predict}[what], saved, batch))
    rates = {precision: [] for precision in PRECISIONS}
    for _ in range(args.rounds):
        if CUDA:
            torch.cuda.empty_cache()
        for precision in PRECISIONS:
            rates[precision].append(ours(what, batch, precision))
        for row, variant in variants:
            if variant:
                set_precision(row["precision"])
                row.setdefault("rounds", []).append(rate(variant, args.seconds))
    result = {"what": what, "batch": batch, "torch": [r for r, _ in variants],
              "convae": {p: {"images_per_second": statistics.median(r), "rounds": r} for p, r in rates.items()}}
    for precision, us in result["convae"].items():
        rows = [r for r in result["torch"] if r["precision"] == precision and "rounds" in r]
        for r in rows:
            r["images_per_second"] = statistics.median(r["rounds"])
        if rows:
            best = max(rows, key=lambda r: r["images_per_second"])
            ratio = us["images_per_second"] / best["images_per_second"]
            result[f"best_{precision}"] = {k: best[k] for k in ("mode", "layout", "images_per_second")} | {"ratio": ratio}
            print(f"  {precision}: convae {us['images_per_second']:.0f} images/s, PyTorch {best['images_per_second']:.0f} ({best['mode']}, {best['layout']}), "
                  f"ratio {ratio:.2f}", file=sys.stderr)
    return result


def main():
    result = {"model": args.model, "torch": torch.__version__, "rounds": args.rounds, "seconds": args.seconds, "rows": []}
    if CUDA:
        result |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "gpu": torch.cuda.get_device_name()}
    with tempfile.TemporaryDirectory() as tmp:
        def saved(batch, precision):
            path = os.path.join(tmp, "steps.safetensors")
            convae(precision, "--train", str(batch), "--save", path)
            tensors, metadata = load(path)
            s = {k: tensors.pop(k) for k in ("input", "target", "losses")}
            for k in "input", "target":
                if s[k].dim() == 4:
                    s[k] = s[k].permute(0, 3, 1, 2).contiguous()
            return s | {"config": json.loads(metadata["config"]), "weights": tensors}

        for what, batches in ("train", args.train), ("predict", args.predict):
            for batch in batches:
                try:
                    result["rows"].append(compare(what, batch, {p: saved(batch if what == "train" else 1, p) for p in PRECISIONS}))
                except subprocess.CalledProcessError as e:
                    print(e.stderr, file=sys.stderr)
                    result["rows"].append({"what": what, "batch": batch, "failed": e.stderr.strip()})
                gc.collect()
                if hasattr(torch, "_dynamo"):
                    torch._dynamo.reset()
    json.dump(result, sys.stdout, indent=2)
    print()
    return any("failed" in r for row in result["rows"] for r in [row, *row.get("torch", [])])


sys.exit(main())
