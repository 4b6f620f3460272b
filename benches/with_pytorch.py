"""The benches' training steps and kernels in PyTorch, for comparison on one machine.

    python benches/with_pytorch.py          # the GPU through CUDA where there is one, else the CPU
    python benches/with_pytorch.py cpu 2    # two threads
    python benches/with_pytorch.py cpu 2 zoo resnet18 mobilenet_v2   # the steps of `examples/zoo.rs`
    python benches/with_pytorch.py cpu 2 loader FOLDER               # the files of `benches/loader.rs`

Needs torch, and torchvision for ResNet-18. Networks, batches, optimizer and what an iteration does are those
of `benches/step.rs`: a batch is uploaded, goes forward and backward, the weights are updated, and the loss is
read back. Prints medians, on a GPU with cuDNN's own autotuning, in f32 without and with TF32.
"""

import statistics
import sys
import time

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cuda" if torch.cuda.is_available() else "cpu"
if len(sys.argv) > 2:
    torch.set_num_threads(int(sys.argv[2]))
ON_GPU = DEVICE == "cuda"
torch.backends.cudnn.benchmark = True


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 10),
    )


def vgg():
    layers, before = [], 3
    for channels in (32, 64, 128):
        layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        before = channels
    layers += [nn.Flatten(), nn.Linear(2048, 256), nn.ReLU(), nn.Linear(256, 10)]
    return nn.Sequential(*layers)


def momentum(parameters):
    return torch.optim.SGD(parameters, 0.01, momentum=0.9)


def adam(parameters):
    return torch.optim.Adam(parameters, 1e-3)


# name, network, batch, image, classes, optimizer, whether it is for GPUs alone
STEPS = [
    ("lenet-64", lenet, 64, (1, 28, 28), 10, momentum, False),
    ("lenet-256", lenet, 256, (1, 28, 28), 10, momentum, False),
    ("vgg-64", vgg, 64, (3, 32, 32), 10, adam, False),
    ("resnet-18-8", torchvision.models.resnet18, 8, (3, 64, 64), 1000, momentum, False),
    ("resnet-18-64", torchvision.models.resnet18, 64, (3, 224, 224), 1000, momentum, True),
]


def allow_tf32(allow):
    torch.backends.cuda.matmul.allow_tf32 = allow
    torch.backends.cudnn.allow_tf32 = allow


def median(run, times):
    """Milliseconds of a call that ends with its work done."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1e3


def step(network, batch, image, classes, optimizer):
    model = network().to(DEVICE)
    optimizer = optimizer(model.parameters())
    images, labels = torch.rand(batch, *image), torch.arange(batch) % min(classes, 256)
    if ON_GPU:
        images, labels = images.pin_memory(), labels.pin_memory()

    def run():
        x, target = images.to(DEVICE, non_blocking=True), labels.to(DEVICE, non_blocking=True)
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(5):
        run()
    return median(run, 30 if ON_GPU else 10)


def kernel(run, flops):
    """Milliseconds on the device, and GFLOP/s."""
    def done():
        run()
        if ON_GPU:
            torch.cuda.synchronize()

    for _ in range(3):
        done()
    if not ON_GPU:
        taken = median(done, 10)
    else:
        spans = []
        for _ in range(10):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            run()
            end.record()
            torch.cuda.synchronize()
            spans.append(begin.elapsed_time(end))
        taken = statistics.median(spans)
    return f"{taken:.3f} ms, {flops / taken / 1e6:.0f} GFLOP/s"


def kernels(large):
    for size in (256, 512, 1024) + ((4096,) if large else ()):
        a, b = (torch.rand(size, size, device=DEVICE) for _ in range(2))
        print(f"kernel/matmul-{size}: {kernel(lambda: a @ b, 2 * size**3)}")
    for name, (n, c, side) in [("", (16, 64, 32))] + ([("-large", (256, 128, 56))] if large else []):
        x = torch.rand(n, c, side, side, device=DEVICE)
        weight, gradient = torch.rand(c, c, 3, 3, device=DEVICE), torch.rand_like(x)
        passes = {
            "forward": lambda: F.conv2d(x, weight, padding=1),
            "backward_input": lambda: torch.nn.grad.conv2d_input(x.shape, weight, gradient, padding=1),
            "backward_weight": lambda: torch.nn.grad.conv2d_weight(x, weight.shape, gradient, padding=1),
        }
        for kind, run in passes.items():
            print(f"kernel/conv2d_{kind}{name}: {kernel(run, 2 * n * c * c * 9 * side**2)}")


def zoo(names):
    """Steps of torchvision's networks, 8 images of 64x64 (Inception v3 takes no less than 75x75) in 10 classes,
    auxiliary outputs left out."""
    for name in names:
        side = 75 if name == "inception_v3" else 64
        segments = name.startswith(("fcn", "deeplab", "lraspp"))
        module = torchvision.models.segmentation if segments else torchvision.models
        options = {"weights_backbone": None} if segments else {}
        if name in ("googlenet", "inception_v3"):
            options = {"init_weights": False, "aux_logits": False}
        model = getattr(module, name)(weights=None, num_classes=10, **options).to(DEVICE)
        optimizer = torch.optim.SGD(model.parameters(), 1e-4)
        images = torch.rand(8, 3, side, side)
        labels = torch.arange(8 * side * side) % 10
        labels = labels.view(8, side, side) if segments else labels[:8]

        def run():
            optimizer.zero_grad(set_to_none=True)
            output = model(images.to(DEVICE))
            loss = F.cross_entropy(output["out"] if segments else output, labels.to(DEVICE))
            loss.backward()
            optimizer.step()
            return loss.item()

        run()
        taken = []
        for _ in range(3):
            begin = time.perf_counter()
            run()
            taken.append(time.perf_counter() - begin)
        print(f"zoo/{name}: {min(taken) * 1e3:.1f} ms", flush=True)


def loader(folder):
    """Images a second of a folder, as `benches/loader.rs` reads it: the best of three epochs."""
    from torchvision import datasets, transforms

    images = datasets.ImageFolder(folder, transforms.Compose([
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]))
    torch.set_num_threads(1)
    for workers in (0, 1, 2):
        batches = torch.utils.data.DataLoader(
            images, batch_size=32, shuffle=True, num_workers=workers,
            persistent_workers=workers > 0)
        best = 0
        for _ in range(3):
            begin = time.perf_counter()
            for _ in batches:
                pass
            best = max(best, len(images) / (time.perf_counter() - begin))
        print(f"{workers} workers: {best:.0f} images a second", flush=True)


def main():
    where = torch.cuda.get_device_name() if ON_GPU else f"{torch.get_num_threads()} threads"
    print(f"PyTorch {torch.__version__}, {where}")
    if sys.argv[3:4] == ["zoo"]:
        return zoo(sys.argv[4:])
    if sys.argv[3:4] == ["loader"]:
        return loader(sys.argv[4])
    for tf32 in (False, True) if ON_GPU else (False,):
        allow_tf32(tf32)
        for name, network, batch, image, classes, optimizer, large in STEPS:
            if ON_GPU or not large:
                taken = step(network, batch, image, classes, optimizer)
                print(f"step/{name}{' with TF32' if tf32 else ''}: {taken:.2f} ms")
    allow_tf32(False)
    kernels(ON_GPU)


if __name__ == "__main__":
    main()
