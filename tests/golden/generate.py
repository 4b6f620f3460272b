"""Cases of our own where the set of tests/golden is thin, in the same format.

Every tensor is drawn from numpy's PCG64 and rounded to float32; PyTorch computes in float64 from those
float32 values, and the result is stored rounded to float32. A second run in float32 gives
`torch_f32_err`, the largest absolute difference per output.

    python generate.py [--out extra] [--seed 7]        (needs torch, numpy, safetensors)
"""

import argparse
import copy
import functools
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

from generate_networks import networks
from generate_updates import further_optimizers, schedules

NAN, INF = float("nan"), float("inf")
DTYPES = (torch.float64, torch.float32)


class Set:
    def __init__(self, seed):
        self.random = np.random.Generator(np.random.PCG64(seed))
        self.cases, self.tensors = [], {}

    def stream(self, number):
        """The same set with numbers of its own, so that what is added later changes no other case."""
        other = copy.copy(self)
        other.random = np.random.Generator(np.random.PCG64([number]))
        return other

    def normal(self, *shape, scale=1.0, shift=0.0):
        values = self.random.standard_normal(shape) * scale + shift
        return values.astype(np.float32)

    def add(self, group, op, params, inputs, compute, tags=()):
        """`compute(inputs as tensors)` gives the outputs; it runs in float64 and in float32."""
        number = sum(case["group"] == group for case in self.cases)
        case_id = f"{group}_x{number:02}"
        exact, rounded = (compute(tensors(inputs, dtype)) for dtype in DTYPES)
        index = {
            "id": case_id,
            "group": group,
            "op": op,
            "file": f"{group}.safetensors",
            "params": params,
            "tags": list(tags),
            "inputs": {},
            "outputs": {},
        }
        for name, value in inputs.items():
            index["inputs"][name] = {"shape": list(value.shape), "dtype": str(value.dtype)}
            self.keep(group, f"{case_id}/{name}", value)
        for name, value in exact.items():
            value = value.detach()
            if value.dtype == torch.int64:
                array, entry = value.numpy().astype(np.int32), {}
            else:
                array, entry = describe(value, rounded[name].detach())
            entry = {"shape": list(array.shape), "dtype": str(array.dtype)} | entry
            index["outputs"][name] = entry
            self.keep(group, f"{case_id}/{name}", array)
        self.cases.append(index)

    def keep(self, group, key, value):
        self.tensors.setdefault(group, {})[key] = np.ascontiguousarray(value)

    def layer(self, group, op, params, inputs, forward, tags=()):
        """A layer and its gradients: `forward(x, w, b or the like)` gives y, or (y, further outputs)."""
        short = {"gamma": "ggamma", "beta": "gbeta"}

        def compute(given):
            gy = given.pop("gy", None)
            leaves = {name: value.requires_grad_(gy is not None) for name, value in given.items()}
            y, further = forward(*leaves.values()), {}
            if isinstance(y, tuple):
                y, further = y
            outputs = {"y": y} | further
            if gy is not None:
                y.backward(gy)
                for name, leaf in leaves.items():
                    if leaf.grad is not None:
                        outputs[short.get(name, f"g{name}")] = leaf.grad
            return outputs

        self.add(group, op, params, inputs, compute, tags)

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for group, tensors in self.tensors.items():
            save_file(tensors, folder / f"{group}.safetensors")
        index = {"format": 1, "torch": torch.__version__, "conventions": __doc__, "cases": self.cases}
        (folder / "cases.json").write_text(json.dumps(index, indent=1, allow_nan=False) + "\n")


def tensors(inputs, dtype):
    """The inputs as tensors; integers stay integers."""
    whole = lambda value: np.issubdtype(value.dtype, np.integer)
    return {
        name: torch.tensor(value, dtype=torch.int64 if whole(value) else dtype)
        for name, value in inputs.items()
    }


def describe(exact, rounded):
    """The stored array, its largest finite magnitude and float32's largest error."""
    finite = torch.isfinite(exact)
    difference = (exact - rounded.double())[finite]
    entry = {
        "max_abs": exact[finite].abs().max().item() if finite.any() else 0.0,
        "torch_f32_err": difference.abs().max().item() if finite.any() else 0.0,
    }
    if not finite.all():
        entry["nonfinite"] = int((~finite).sum())
    return exact.to(torch.float32).numpy(), entry


def activations(s):
    special = np.array([NAN, NAN, 1, -1, 0, -0.0, INF, -INF, INF, -INF, 2, -2, 1e-30, -1e-30], np.float32)
    upstream = np.array([1, NAN, NAN, NAN, NAN, NAN, 1, 1, NAN, NAN, INF, INF, 3, 3], np.float32)
    functions = {
        "relu": F.relu,
        "leaky_relu": lambda x: F.leaky_relu(x, 0.25),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "gelu_erf": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "silu": F.silu,
        "softplus": F.softplus,
    }
    for name, function in functions.items():
        params = {"negative_slope": 0.25} if name == "leaky_relu" else {}
        layer = lambda inputs, tags: s.layer("activation", name, params, inputs, function, tags)
        # An infinite gradient only where no zero factor meets it: that depends on rounding.
        count = len(special) if "relu" in name else 10
        layer({"x": special[:count], "gy": upstream[:count]}, ["nan"])
        layer({"x": s.normal(3, 5, 7, scale=3), "gy": s.normal(3, 5, 7)}, [])
    x = np.zeros((4, 9), np.float32)
    x[1::2] = -0.0
    s.layer("activation", "leaky_relu", {"negative_slope": 0.25}, {"x": x, "gy": s.normal(4, 9)},
            functions["leaky_relu"], ["zero"])
    s.layer("activation", "relu", {}, {"x": x, "gy": s.normal(4, 9)}, F.relu, ["zero"])


def pools(s):
    def max_pool(shape, kernel, stride, padding=(0, 0), dilation=(1, 1), ceil=False, change=None, tags=()):
        x = s.normal(*shape)
        if change:
            change(x)

        def forward(x):
            y, indices = F.max_pool2d(x, kernel, stride, padding, dilation, ceil, return_indices=True)
            return y, {"indices": indices}

        y = forward(torch.tensor(x))[0]
        params = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation,
                  "ceil_mode": ceil}
        s.layer("max_pool2d", "max_pool2d", params, {"x": x, "gy": s.normal(*y.shape)}, forward, tags)

    def sprinkle(value):
        def change(x):
            x.reshape(-1)[s.random.choice(x.size, x.size // 6, replace=False)] = value
        return change

    max_pool((2, 3, 7, 9), (3, 3), (2, 2), ceil=True)
    max_pool((1, 2, 8, 10), (3, 2), (2, 3), ceil=True, tags=["ceil_mode"])
    max_pool((2, 2, 9, 10), (3, 3), (2, 3), padding=(1, 1), ceil=True, tags=["ceil_mode"])
    max_pool((1, 2, 5, 6), (2, 2), (3, 3), ceil=True, tags=["ceil_mode", "stride_gt_kernel"])
    max_pool((1, 3, 12, 11), (3, 2), (2, 2), padding=(1, 1), dilation=(2, 3), ceil=True, tags=["dilation"])
    max_pool((1, 2, 9, 9), (3, 3), (2, 2), padding=(1, 1), ceil=True, change=sprinkle(NAN), tags=["nan"])
    max_pool((1, 2, 9, 9), (3, 3), (2, 2), ceil=True, change=sprinkle(-INF), tags=["neg_inf"])
    max_pool((1, 1, 6, 6), (3, 3), (1, 1), change=lambda x: x.fill(-INF), padding=(1, 1), tags=["neg_inf"])
    for kernel, stride, padding, include, ceil in [
        (3, 2, 1, True, True), (2, 3, 0, True, True), (3, 2, 1, False, True), (4, 3, 2, False, False)
    ]:
        both = lambda value: [value, value]
        forward = lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil, include)
        x = s.normal(2, 3, 8, 10)
        y = forward(torch.tensor(x))
        params = {"kernel": both(kernel), "stride": both(stride), "padding": both(padding),
                  "count_include_pad": include, "ceil_mode": ceil}
        s.layer("avg_pool2d", "avg_pool2d", params, {"x": x, "gy": s.normal(*y.shape)}, forward)
    plane = (2, 3)
    globals_ = {
        "global_avg_pool2d": lambda x: x.mean(plane, keepdim=True),
        "global_max_pool2d": lambda x: F.max_pool2d(x, x.shape[2:]),
        "global_softmax_pool2d":
            lambda x: (torch.softmax(x.flatten(2), 2) * x.flatten(2)).sum(2)[:, :, None, None],
    }
    for name, forward in globals_.items():
        for shape in [(3, 5, 6, 7), (1, 2, 1, 100), (2, 1, 1, 1)]:
            inputs = {"x": s.normal(*shape, scale=2), "gy": s.normal(*shape[:2], 1, 1)}
            s.layer("global_pool2d", name, {}, inputs, forward)
    x = s.normal(2, 2, 5, 5)
    x[0, 0, 1, 2] = x[0, 0, 3, 1] = NAN
    x[1, 1] = -INF
    s.layer("global_pool2d", "global_max_pool2d", {}, {"x": x, "gy": s.normal(2, 2, 1, 1)},
            globals_["global_max_pool2d"], ["nan", "neg_inf"])
    s.layer("max_pool1d", "max_pool1d", {"kernel": [3], "stride": [2], "padding": [1]},
            {"x": s.normal(2, 3, 17), "gy": s.normal(2, 3, 9)}, lambda x: F.max_pool1d(x, 3, 2, 1))
    s.layer("avg_pool1d", "avg_pool1d", {"kernel": [4], "stride": [3], "padding": [1]},
            {"x": s.normal(2, 3, 17), "gy": s.normal(2, 3, 6)}, lambda x: F.avg_pool1d(x, 4, 3, 1))


def convolutions(s):
    def conv(op, x, w, params, forward, bias=True, tags=(), spoil=None):
        inputs = {"x": s.normal(*x), "w": s.normal(*w)}
        if bias:
            outputs = w[0] if op.startswith("conv2") or op == "conv1d" else w[1] * params.get("groups", 1)
            inputs["b"] = s.normal(outputs)
        y = forward(*(torch.tensor(value) for value in inputs.values()))
        inputs["gy"] = s.normal(*y.shape)
        if spoil:
            name, value = spoil
            array = inputs[name].reshape(-1)
            array[array.size // 3] = array[-1] = value
        s.layer(op, op, params | {"bias": bias}, inputs, forward, tags)

    for [top, bottom, left, right], stride in [((0, 1, 2, 0), 1), ((2, 0, 0, 3), 2), ((1, 2, 0, 0), 1)]:
        conv("conv2d", (2, 3, 9, 8), (5, 3, 3, 3),
             {"kernel": [3, 3], "stride": [stride, stride], "padding4": [top, bottom, left, right]},
             lambda x, w, b: F.conv2d(F.pad(x, (left, right, top, bottom)), w, b, stride),
             tags=["padding4"])
    conv("conv2d", (2, 3, 9, 8), (4, 3, 4, 2), {"kernel": [4, 2], "padding": "same"},
         lambda x, w, b: F.conv2d(x, w, b, padding="same"), tags=["same"])
    conv("conv2d", (2, 6, 11, 13), (12, 1, 3, 5), {"kernel": [3, 5], "stride": [2, 1], "groups": 6},
         lambda x, w, b: F.conv2d(x, w, b, (2, 1), groups=6), tags=["depthwise"])
    conv("conv2d", (1, 70, 6, 7), (66, 70, 3, 3), {"kernel": [3, 3], "padding": [1, 1]},
         lambda x, w, b: F.conv2d(x, w, b, padding=1), tags=["several_tiles"])
    conv("conv1d", (3, 4, 23), (6, 4, 5), {"kernel": [5], "padding4": [0, 0, 4, 0]},
         lambda x, w, b: F.conv1d(F.pad(x, (4, 0)), w, b), tags=["padding4", "causal"])
    conv("conv_transpose2d", (2, 4, 5, 6), (4, 3, 3, 4),
         {"kernel": [3, 4], "stride": [2, 3], "padding": [1, 2], "output_padding": [1, 0],
          "dilation": [2, 1]},
         lambda x, w, b: F.conv_transpose2d(x, w, b, (2, 3), (1, 2), (1, 0), 1, (2, 1)))
    conv("conv_transpose2d", (1, 6, 4, 4), (6, 2, 2, 2), {"kernel": [2, 2], "stride": [2, 2], "groups": 2},
         lambda x, w: F.conv_transpose2d(x, w, None, 2, groups=2), bias=False, tags=["groups"])
    conv("linear", (7, 33), (65, 33), {}, lambda x, w: F.linear(x, w), bias=False)
    # With values that are not finite. In float64 the zeros of the padding are factors of a weight gradient
    # like any other; PyTorch's float32 algorithms partly leave them out.
    for spoil in [("x", NAN), ("x", INF), ("gy", NAN), ("gy", -INF)]:
        for x, w, stride, groups in [
            ((1, 2, 9, 9), (3, 2, 3, 3), 1, 1), ((2, 3, 9, 10), (5, 3, 7, 7), 1, 1),
            ((1, 3, 8, 9), (4, 3, 3, 6), 1, 1), ((1, 17, 8, 7), (18, 17, 3, 3), 2, 1),
            ((1, 4, 9, 9), (4, 1, 3, 3), 1, 4), ((1, 4, 9, 9), (6, 2, 2, 2), 3, 2),
        ]:
            params = {"kernel": w[2:], "stride": [stride] * 2, "padding": [1, 1], "groups": groups}
            conv("conv2d", x, w, params, lambda x, w, b: F.conv2d(x, w, b, stride, 1, groups=groups),
                 tags=["nonfinite"], spoil=spoil)
        conv("conv_transpose2d", (1, 3, 5, 6), (3, 4, 3, 3), {"kernel": [3, 3], "stride": [2, 2]},
             lambda x, w, b: F.conv_transpose2d(x, w, b, 2), tags=["nonfinite"], spoil=spoil)


def normalisations(s):
    for axis, shape in [(0, (5, 4)), (1, (2, 6, 3, 4)), (1, (3, 5)), (2, (2, 3, 7, 2)), (-3, (2, 5, 3, 3))]:
        for name, function in [("softmax", torch.softmax), ("log_softmax", torch.log_softmax)]:
            inputs = {"x": s.normal(*shape, scale=3), "gy": s.normal(*shape)}
            s.layer("softmax", name, {"axis": axis}, inputs, lambda x: function(x, axis))

    def batch_norm(op, shape, training, momentum=0.1, eps=1e-5, tags=()):
        c = shape[1]
        running = {"running_mean": s.normal(c), "running_var": np.abs(s.normal(c)) + np.float32(0.5)}
        inputs = {"x": s.normal(*shape, scale=2, shift=1), "gamma": s.normal(c), "beta": s.normal(c),
                  "gy": s.normal(*shape)}

        def forward(x, gamma, beta):
            mean, var = (torch.tensor(running[name], dtype=x.dtype)
                         for name in ("running_mean", "running_var"))
            y = F.batch_norm(x, mean, var, gamma, beta, training, momentum, eps)
            return y, {"running_mean_after": mean, "running_var_after": var}

        params = {"training": training, "momentum": momentum, "eps": eps, "running_var": "unbiased"}
        number = len(s.cases)
        s.layer("batch_norm2d", op, params, inputs, forward, tags)
        case = s.cases[number]
        for name, value in running.items():
            case["inputs"][name] = {"shape": [c], "dtype": "float32"}
            s.keep("batch_norm2d", f"{case['id']}/{name}", value)

    batch_norm("batch_norm2d", (3, 4, 5, 6), False, tags=["eval"])
    batch_norm("batch_norm2d", (3, 4, 5, 6), False, eps=0.1, tags=["eval"])
    batch_norm("batch_norm2d", (2, 3, 7, 5), True, momentum=0.3, eps=1e-3)
    batch_norm("batch_norm1d", (9, 6), True, tags=["1d"])
    batch_norm("batch_norm1d", (4, 3, 17), True, tags=["1d"])


def losses(s):
    def cross_entropy(shape, params, labels=None, weight=None, tags=()):
        rows, classes = shape
        labels = s.random.integers(0, classes, rows).astype(np.int32) if labels is None else labels
        options = {name: value for name, value in params.items()}
        inputs = {"x": s.normal(*shape, scale=2), "labels": labels}
        if weight is not None:
            inputs["weight"] = weight

        def compute(given):
            x = given["x"].requires_grad_()
            loss = F.cross_entropy(x, given["labels"], weight=given.get("weight"), **options)
            loss.backward()
            return {"loss": loss.reshape(1), "gx": x.grad}

        s.add("cross_entropy", "cross_entropy", params, inputs, compute, tags)

    weight = np.abs(s.normal(7)) + np.float32(0.1)
    some_ignored = np.array([3, -100, 0, 6, -100], np.int32)
    for reduction in ("mean", "sum"):
        cross_entropy((6, 7), {"reduction": reduction}, weight=weight, tags=["weight"])
        cross_entropy((5, 7), {"reduction": reduction, "ignore_index": -100}, some_ignored, tags=["ignore"])
        cross_entropy((5, 7), {"reduction": reduction, "ignore_index": 3, "label_smoothing": 0.2},
                      np.array([3, 1, 0, 6, 3], np.int32), weight, ["ignore", "weight", "label_smoothing"])

    cross_entropy((3, 7), {"ignore_index": 2}, np.full(3, 2, np.int32), tags=["ignore"])

    def soft(given):
        x = given["x"].requires_grad_()
        loss = F.cross_entropy(x, given["target"], reduction="sum")
        loss.backward()
        return {"loss": loss.reshape(1), "gx": x.grad}

    target = np.abs(s.normal(4, 5))
    target /= target.sum(1, keepdims=True)
    s.add("cross_entropy", "cross_entropy_soft", {"reduction": "sum"},
          {"x": s.normal(4, 5), "target": target.astype(np.float32)}, soft)


def optimizers(s):
    def optimizer(op, make, params, tags):
        shapes, steps = [(5, 7), (13,)], 6
        inputs = {f"p{j}": s.normal(*shape) for j, shape in enumerate(shapes)}
        for k in range(steps):
            for j, shape in enumerate(shapes):
                # A large gradient at first, so that amsgrad's maximum stays behind the others.
                inputs[f"g{k}_p{j}"] = s.normal(*shape, scale=4 if k == 0 else 0.5)

        def compute(given):
            parameters = [given[f"p{j}"].requires_grad_() for j in range(len(shapes))]
            step, outputs = make(parameters), {}
            for k in range(steps):
                for j, parameter in enumerate(parameters):
                    parameter.grad = given[f"g{k}_p{j}"].clone()
                step.step()
                for j, parameter in enumerate(parameters):
                    outputs[f"s{k}_p{j}"] = parameter.detach().clone()
            return outputs

        s.add("optimizer", op, params, inputs, compute, tags)

    classes = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW,
               "rmsprop": torch.optim.RMSprop}
    for op, params, tags in [
        ("sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True}, ["nesterov"]),
        ("sgd", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}, ["nesterov"]),
        ("sgd", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}, ["dampening"]),
        ("adam", {"lr": 0.05, "amsgrad": True}, ["amsgrad"]),
        ("adamw", {"lr": 0.05, "betas": [0.8, 0.9], "weight_decay": 0.2, "amsgrad": True}, ["amsgrad"]),
        ("rmsprop", {"lr": 0.01, "centered": True}, ["centered"]),
        ("rmsprop", {"lr": 0.01, "alpha": 0.9, "centered": True, "momentum": 0.9, "weight_decay": 0.1},
         ["centered"]),
        ("rmsprop", {"lr": 0.01}, []),
    ]:
        optimizer(op, lambda parameters: classes[op](parameters, **params), params, tags)


def add_loss(s, op, function, params, inputs, tags=()):
    def compute(given):
        x = given.pop("x").requires_grad_()
        value = function(x, **given)
        value.backward()
        return {"loss": value.reshape(1), "gx": x.grad}

    s.add("loss", op, params, inputs, compute, tags)


def draw_labels(s, classes, *shape, ignored=None):
    values = s.random.integers(0, classes, shape).astype(np.int32)
    if ignored is not None:
        values.reshape(-1)[::3] = ignored
    return values


def further_losses(s):
    s = s.stream(100)
    loss = functools.partial(add_loss, s)
    labels = functools.partial(draw_labels, s)

    def share(*shape):
        values = np.abs(s.normal(*shape)) + np.float32(0.01)
        return (values / values.sum(1, keepdims=True)).astype(np.float32)

    # Single elements, so that one that is not finite hides no other.
    functions = {"l1": (F.l1_loss, {}), "smooth_l1": (F.smooth_l1_loss, {"beta": 0.5}),
                 "huber": (F.huber_loss, {"delta": 0.5}), "mse": (F.mse_loss, {})}
    for op, (function, options) in functions.items():
        for x, t in [(NAN, 0), (0, NAN), (INF, INF), (INF, -INF), (-INF, 2), (1, INF), (-0.0, 0.0)]:
            one = lambda x, target: function(x, target, reduction="sum", **options)
            inputs = {"x": np.array([[x]], np.float32), "target": np.array([[t]], np.float32)}
            loss(op, one, {"reduction": "sum"} | options, inputs, ["nonfinite"])
    divergence = lambda x, target: F.kl_div(x, target, reduction="sum")
    for x, t in [(-INF, 0), (NAN, 0), (-INF, 0.5), (INF, 0.5), (-1, -1), (-1, NAN), (-2, 0)]:
        inputs = {"x": np.array([[x]], np.float32), "target": np.array([[t]], np.float32)}
        loss("kl_div", divergence, {"reduction": "sum"}, inputs, ["nonfinite"])
    binary = lambda x, target, **weights: F.binary_cross_entropy_with_logits(x, target, **weights)
    for x, t in [(INF, 0), (-INF, 0), (INF, 1), (-INF, 1), (NAN, 1), (1, NAN), (1e4, 0.25)]:
        inputs = {"x": np.array([[x]], np.float32), "target": np.array([[t]], np.float32),
                  "pos_weight": np.array([3], np.float32)}
        loss("bce_with_logits", binary, {}, inputs, ["nonfinite"])
    for shape, weight, pos_weight in [((3, 4, 2, 5), (5,), (4, 1, 1)), ((3, 4, 2, 5), (4, 2, 5), (2, 1)),
                                      ((6, 5), (5,), None), ((2, 3, 7), (1,), (3, 7))]:
        inputs = {"x": s.normal(*shape, scale=3), "target": s.random.random(shape).astype(np.float32),
                  "weight": np.abs(s.normal(*weight))}
        if pos_weight:
            inputs["pos_weight"] = np.abs(s.normal(*pos_weight))
        loss("bce_with_logits", binary, {}, inputs, ["weight"])
    for reduction in ("mean", "batchmean"):
        inputs = {"x": np.log(share(3, 4, 5)), "target": share(3, 4, 5)}
        loss("kl_div", lambda x, target: F.kl_div(x, target, reduction=reduction), {"reduction": reduction}, inputs)

    x = s.normal(2, 3, 2, 3)
    x[0, 0, 0, 0], x[0, 1, 0, 1], x[0, 2, 1, 0], x[1, 1, 1, 2] = NAN, INF, -INF, -INF
    rows = {"x": x, "labels": labels(3, 2, 2, 3)}
    for params in ({}, {"ignore_index": 1}, {"label_smoothing": 0.25}):
        pixels = lambda x, labels: F.cross_entropy(x, labels, **params)
        loss("cross_entropy", pixels, params, rows, ["nonfinite"])
    likelihood = lambda x, labels, weight=None: F.nll_loss(x, labels, weight, ignore_index=-100)
    loss("nll", likelihood, {}, rows, ["nonfinite"])
    loss("nll", likelihood, {}, {"x": s.normal(2, 3, 4), "labels": np.full((2, 4), -100, np.int32)}, ["ignore"])
    loss("nll", likelihood, {}, {"x": s.normal(3, 2, 65), "labels": labels(2, 3, 65, ignored=-100),
                                 "weight": np.array([0.5, 2], np.float32)}, ["1d"])
    pixels = lambda x, labels: F.cross_entropy(x, labels)
    loss("cross_entropy", pixels, {}, {"x": s.normal(1, 5, 9, 15, scale=3), "labels": labels(5, 1, 9, 15)})
    soft = lambda x, target, weight: F.cross_entropy(x, target, weight, label_smoothing=0.1)
    loss("cross_entropy_soft", soft, {"label_smoothing": 0.1},
         {"x": s.normal(2, 4, 3, 5), "target": share(2, 4, 3, 5), "weight": np.abs(s.normal(4))})
    dice_losses(s)


def dice(x, labels=None, target=None, of="softmax", smoothing=1.0, over_batch=False, ignore_index=-100,
         reduction="mean"):
    p = torch.softmax(x, 1) if of == "softmax" else torch.sigmoid(x)
    if labels is not None:
        counts = (labels != ignore_index).unsqueeze(1)
        target = F.one_hot(torch.where(counts[:, 0], labels, 0), x.shape[1]).movedim(-1, 1) * counts
        p = p * counts
    axes = [axis for axis in range(x.dim()) if axis > 1 or over_batch and axis == 0]
    both, every = (p * target).sum(axes), (p + target).sum(axes)
    losses = 1 - (2 * both + smoothing) / (every + smoothing)
    return {"mean": losses.mean(), "sum": losses.sum(), "batchmean": losses.sum() / len(x)}[reduction]


def dice_losses(s):
    for params, shape in [({}, (2, 4, 5, 3)), ({"over_batch": True}, (3, 4, 5, 3)),
                          ({"ignore_index": 255, "reduction": "sum"}, (2, 3, 6, 6)),
                          ({"smoothing": 1e-5, "of": "sigmoid", "reduction": "batchmean"}, (3, 4, 70))]:
        ignored = params.get("ignore_index")
        x = s.normal(*shape, scale=2)
        inputs = {"x": x, "labels": draw_labels(s, shape[1], shape[0], *shape[2:], ignored=ignored)}
        add_loss(s, "dice", lambda x, labels: dice(x, labels, **params), params, inputs)
    for params, shape in [({"of": "sigmoid"}, (3, 1, 9, 8)), ({"of": "sigmoid", "over_batch": True}, (2, 3, 4, 5)),
                          ({"smoothing": 0.5}, (1, 3, 7, 11)), ({"over_batch": True}, (6, 5))]:
        inputs = {"x": s.normal(*shape), "target": (s.normal(*shape) > 0).astype(np.float32)}
        add_loss(s, "dice", lambda x, target: dice(x, target=target, **params), params, inputs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "extra")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    made = Set(arguments.seed)
    for part in (convolutions, pools, activations, normalisations, losses, optimizers, networks,
                 further_losses, further_optimizers, schedules):
        part(made)
    made.write(arguments.out)
    print(len(made.cases), "cases in", arguments.out)
