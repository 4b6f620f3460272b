"""Files of weights as PyTorch's tools leave them: what `tests/zoo/files.rs` reads.

    python tests/zoo/files/generate.py

Needs torch 2.15, numpy and safetensors. Each holds the same small network, or a part of it; `expected.safetensors`
holds an input and, by the name of the file, the output in evaluation mode, computed in `float64` from the numbers
that the file holds.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file, save_model
from torch import nn
from torch.optim.swa_utils import AveragedModel

HERE = Path(__file__).parent


def network():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )


def made():
    torch.manual_seed(7)
    model = network()
    model(torch.randn(6, 1, 4, 4))  # running statistics that are not 0 and 1, and a count that is not 0
    return model.eval()


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def main():
    images = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    expected = {"input": images}

    def output(name, state):
        model = network().eval().double()
        model.load_state_dict({key: value.double() for key, value in state.items()})
        with torch.no_grad():
            expected[name] = model(images.double())

    def write(name, state):
        state = {key: value.contiguous() for key, value in state.items()}
        save_file(state, HERE / f"{name}.safetensors", {"format": "pt"})

    state = made().state_dict()
    write("plain", state)
    output("plain", state)
    write("parallel", nn.DataParallel(made()).state_dict())
    write("averaged", AveragedModel(made()).state_dict())
    for name, dtype in [("half", torch.half), ("bfloat16", torch.bfloat16), ("double", torch.double)]:
        converted = made().to(dtype).state_dict()
        write(name, converted)
        output(name, converted)

    parts = {f"part-{at}.safetensors": dict(list(state.items())[at::2]) for at in range(2)}
    for name, part in parts.items():
        save_file(part, HERE / name)
    weight_map = {key: name for name, part in parts.items() for key in part}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (HERE / "parts.index.json").write_text(json.dumps(index, indent=1) + "\n")

    torch.manual_seed(8)
    tied = Tied()
    save_model(tied, HERE / "tied.safetensors")
    assert sum("weight" in key for key in load_file(HERE / "tied.safetensors")) == 1
    with torch.no_grad():
        expected["tied"] = tied.double()(images.double().flatten(1)[:, :4])
    save_file(expected, HERE / "expected.safetensors")


main()
