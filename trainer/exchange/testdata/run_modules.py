#!/usr/bin/env python3
"""Runs modules that convae has exported: run_modules.py JOBS.json

JOBS.json is a list of {module, weights, method, input, dims, output}: a file of Python with its state dict, which method of Model to call, and files
of the float32 numbers that go in and come out. Prints the dimensions of each output."""
import importlib.util
import json
import sys

import numpy as np
import torch

torch.set_num_threads(2)
loaded = {}
for job in json.load(open(sys.argv[1])):
    path = job["module"]
    if path not in loaded:
        spec = importlib.util.spec_from_file_location("exported", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.Model().eval()
        state = torch.load(job["weights"], weights_only=True)
        wanted = model.load_state_dict(state, strict=False)
        # PyTorch counts batches for its own use; all else has to fit.
        missing = [k for k in wanted.missing_keys if not k.endswith("num_batches_tracked")]
        if missing or wanted.unexpected_keys:
            sys.exit(f"{path}: missing {missing}, unexpected {wanted.unexpected_keys}")
        loaded = {path: model}
    x = torch.from_numpy(np.fromfile(job["input"], np.float32).reshape(job["dims"]))
    with torch.inference_mode():
        y = getattr(loaded[path], job["method"])(x)
    y.contiguous().numpy().tofile(job["output"])
    print(json.dumps(list(y.shape)), flush=True)
