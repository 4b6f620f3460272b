"""The networks of `generate.py`, trained for five steps by PyTorch."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = nn.Sequential(*body), nn.Sequential(*shortcut)

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


def networks(s):
    def module(layer, shape):
        """A layer as PyTorch's module, and the shape of what it gives."""
        options = {name: value for name, value in layer.items() if name != "op"}
        size = lambda name, default: options.get(name, default)
        op = layer["op"]
        if op in ("conv2d", "conv1d", "conv_transpose2d"):
            made = {"conv2d": nn.Conv2d, "conv1d": nn.Conv1d, "conv_transpose2d": nn.ConvTranspose2d}[op]
            further = {"output_padding": size("output_padding", 0)} if op == "conv_transpose2d" else {}
            made = made(shape[1], size("out_channels", 0), size("kernel", 0), size("stride", 1),
                        size("padding", 0), dilation=size("dilation", 1), groups=size("groups", 1),
                        bias=size("bias", True), **further)
        elif op in ("max_pool2d", "max_pool1d"):
            made = {"max_pool2d": nn.MaxPool2d, "max_pool1d": nn.MaxPool1d}[op]
            made = made(size("kernel", 0), size("stride", None), size("padding", 0),
                        ceil_mode=size("ceil_mode", False))
        elif op in ("avg_pool2d", "avg_pool1d"):
            made = {"avg_pool2d": nn.AvgPool2d, "avg_pool1d": nn.AvgPool1d}[op]
            made = made(size("kernel", 0), size("stride", None), size("padding", 0),
                        size("ceil_mode", False), size("count_include_pad", True))
        elif op == "linear":
            made = nn.Linear(shape[1], size("out_features", 0), size("bias", True))
        elif op in ("batch_norm2d", "batch_norm1d"):
            made = {"batch_norm2d": nn.BatchNorm2d, "batch_norm1d": nn.BatchNorm1d}[op](shape[1])
        elif op == "layer_norm":
            made = nn.LayerNorm(shape[1:])
        elif op == "residual":
            body, _ = modules(layer["layers"], shape)
            shortcut, _ = modules(layer.get("shortcut", []), shape)
            made = Residual(body, shortcut)
        else:
            made = {
                "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu_erf": nn.GELU,
                "gelu_tanh": lambda: nn.GELU("tanh"), "silu": nn.SiLU, "softplus": nn.Softplus,
                "leaky_relu": lambda: nn.LeakyReLU(size("slope", 0.01)), "flatten": nn.Flatten,
                "global_avg_pool2d": lambda: nn.AdaptiveAvgPool2d(1),
                "global_max_pool2d": lambda: nn.AdaptiveMaxPool2d(1),
                "softmax": lambda: nn.Softmax(size("axis", -1)),
                "log_softmax": lambda: nn.LogSoftmax(size("axis", -1)),
            }[op]()
        with torch.no_grad():
            return made, list(made.eval()(torch.zeros(shape)).shape)

    def modules(layers, shape):
        made = []
        for layer in layers:
            one, shape = module(layer, shape)
            made.append(one)
        return made, shape

    def network(op, shape, layers, optimizer, hyper, loss, tags=()):
        steps = 5
        made, out = modules(layers, shape)
        initial = nn.Sequential(*made)
        names = [name for name, _ in initial.named_parameters()]
        inputs = {}
        for name, value in initial.named_parameters():
            bound = 1 / np.sqrt(max(1, value[0].numel()))
            norm = value.dim() == 1 and name.endswith("weight")
            inputs[f"init.{name}"] = s.normal(*value.shape, scale=0.2 if norm else bound,
                                              shift=1.0 if norm else 0.0)
        for k in range(steps):
            inputs[f"x{k}"] = s.normal(*shape)
            if loss == "cross_entropy":
                inputs[f"t{k}"] = s.random.integers(0, out[1], shape[0]).astype(np.int32)
            else:
                inputs[f"t{k}"] = s.normal(*out)
        function = {"cross_entropy": F.cross_entropy, "mse_loss": F.mse_loss}[loss]

        def compute(given):
            made, _ = modules(layers, shape)
            model = nn.Sequential(*made).to(given["x0"].dtype).train()
            with torch.no_grad():
                for name, value in model.named_parameters():
                    value.copy_(given[f"init.{name}"])
            step = getattr(torch.optim, optimizer)(model.parameters(), **hyper)
            outputs, values = {}, []
            for k in range(steps):
                step.zero_grad()
                logits = model(given[f"x{k}"])
                value = function(logits, given[f"t{k}"])
                value.backward()
                values.append(value.detach())
                if k == 0:
                    outputs["logits0"] = logits
                    for name, parameter in model.named_parameters():
                        outputs[f"grad0.{name}"] = parameter.grad.clone()
                step.step()
                if k < steps - 1:
                    for name, parameter in model.named_parameters():
                        outputs[f"step{k}.{name}"] = parameter.detach().clone()
            outputs["losses"] = torch.stack(values)
            for name, value in model.state_dict().items():
                if not name.endswith("num_batches_tracked"):
                    outputs[f"final.{name}"] = value.clone()
            outputs["eval"] = model.eval()(given["x0"])
            return outputs

        params = {"input": shape, "layers": layers, "optimizer": optimizer, "hyper": hyper, "loss": loss,
                  "reduction": "mean", "steps": steps, "parameters": names}
        s.add("network", op, params, inputs, compute, tags)

    conv = lambda channels, kernel=3, **options: {
        "op": "conv2d", "out_channels": channels, "kernel": [kernel, kernel], **options}
    op = lambda name, **options: {"op": name, **options}
    network("residual", [4, 2, 10, 9], [
        conv(6, padding=[1, 1], bias=False), op("batch_norm2d"), op("relu"),
        op("residual", layers=[conv(6, padding=[1, 1], bias=False), op("batch_norm2d"), op("relu"),
                               conv(6, padding=[1, 1], bias=False), op("batch_norm2d")]),
        op("relu"),
        op("residual", layers=[conv(8, padding=[1, 1], stride=[2, 2]), op("relu"),
                               conv(8, padding=[1, 1])],
           shortcut=[conv(8, 1, stride=[2, 2], bias=False), op("batch_norm2d")]),
        op("relu"), op("global_avg_pool2d"), op("flatten"), op("linear", out_features=5),
    ], "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.001}, "cross_entropy",
        ["residual"])
    network("nested residuals", [3, 3, 8, 8], [
        op("residual", shortcut=[], layers=[
            conv(3, padding=[1, 1]), op("silu"),
            op("residual", layers=[conv(3, 1), op("tanh")], shortcut=[conv(3, 1)])]),
        op("max_pool2d", kernel=[3, 3], stride=[2, 2], ceil_mode=True), op("flatten"),
        op("linear", out_features=4),
    ], "Adam", {"lr": 0.01, "amsgrad": True}, "cross_entropy", ["residual"])
    network("autoencoder", [3, 2, 8, 8], [
        conv(4, stride=[2, 2], padding=[1, 1]), op("leaky_relu", slope=0.2),
        op("conv_transpose2d", out_channels=2, kernel=[3, 3], stride=[2, 2], padding=[1, 1],
           output_padding=[1, 1]),
        op("sigmoid"),
    ], "RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5}, "mse_loss")
    network("signals", [6, 3, 40], [
        op("conv1d", out_channels=5, kernel=[5], padding=[4], dilation=[2]), op("batch_norm1d"),
        op("gelu_tanh"), op("max_pool1d", kernel=[3], stride=[2]),
        op("conv1d", out_channels=4, kernel=[3]), op("softplus"), op("avg_pool1d", kernel=[4]),
        op("flatten"), op("linear", out_features=6), op("log_softmax", axis=1),
    ], "AdamW", {"lr": 0.01, "weight_decay": 0.1}, "mse_loss")
    network("attention over channels", [2, 3, 6, 6], [
        conv(4), op("softmax", axis=1), op("layer_norm"), conv(3, 2), op("global_max_pool2d"),
        op("flatten"),
    ], "SGD", {"lr": 0.1, "momentum": 0.5, "dampening": 0.2}, "cross_entropy")
