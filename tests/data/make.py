"""Makes the files of tests/data/images and tests/data/expected.npz: what Pillow and torchvision make of them.

    OMP_NUM_THREADS=1 python tests/data/make.py      (Pillow 13.0, torch 2.15, torchvision 0.29, NumPy 2.4)
"""

import pathlib

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import v2

HERE = pathlib.Path(__file__).parent
IMAGES = HERE / "images"
rng = np.random.default_rng(7)
expected = {}


def picture(height, width):
    """Waves of colour with some noise: neither flat nor all noise."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 5 + y / 9), np.cos(x / 7 - y / 4), np.sin(x * y / 60)]
    noise = rng.normal(0, 8, (height, width, 3))
    return np.clip(127 + 100 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def store(name, image, **options):
    IMAGES.mkdir(exist_ok=True)
    image.save(IMAGES / name, **options)
    read = Image.open(IMAGES / name)
    for mode in ["RGB", "L"]:
        pixels = np.array(read.convert(mode))
        planes = pixels.transpose(2, 0, 1) if mode == "RGB" else pixels[None]
        expected[f"{name}.{mode}"] = np.ascontiguousarray(planes)


rgb = Image.fromarray(picture(23, 37))
alpha = Image.fromarray(rng.integers(0, 256, (23, 37), dtype=np.uint8))
rgba = rgb.copy()
rgba.putalpha(alpha)
store("rgb.png", rgb)
store("rgba.png", rgba)
store("grey.png", rgb.convert("L"))
store("grey_alpha.png", rgba.convert("LA"))
store("bits.png", rgb.convert("1"))
store("palette.png", rgb.quantize(11), transparency=3)
store("rgb.bmp", rgb)
store("palette.bmp", rgb.quantize(11))
store("lossless.webp", rgb, lossless=True)
store("alpha.webp", rgba, lossless=True, exact=True)
store("lossy.webp", rgb, quality=80)
store("rgb.jpg", rgb, quality=90, subsampling=0)
store("half.jpg", rgb, quality=90, subsampling=2)
store("progressive.jpg", rgb, quality=90, progressive=True)
store("grey.jpg", rgb.convert("L"), quality=90)
store("cmyk.jpg", rgb.convert("CMYK"), quality=95)
sixteen = rng.integers(0, 65536, (5, 7), dtype=np.uint16)
Image.fromarray(sixteen).save(IMAGES / "grey16.png")
# Pillow clips values of 16 bits to 255; the upper eight bits are what is meant.
expected["grey16.png.L"] = (sixteen >> 8).astype(np.uint8)[None]
expected["grey16.png.RGB"] = expected["grey16.png.L"].repeat(3, 0)

# Resizing, from the same pixels: of bytes through Pillow, of real numbers through torch.
planes = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)
for height, width in [(11, 18), (46, 74), (23, 5), (3, 37), (1, 1), (64, 3), (22, 36)]:
    name = f"resize.{height}.{width}"
    expected[name] = np.array(rgb.resize((width, height), Image.BILINEAR)).transpose(2, 0, 1)
    floats = v2.functional.resize(planes.double(), [height, width], antialias=True)
    expected[f"{name}.floats"] = floats.float().numpy()
for side in [8, 23, 40]:
    resized = np.array(transforms.Resize(side)(rgb)).transpose(2, 0, 1)
    expected[f"shorter.{side}"] = resized
    expected[f"shorter.{side}.upright"] = np.array(
        transforms.Resize(side)(rgb.transpose(Image.TRANSPOSE))
    ).transpose(2, 0, 1)
for height, width in [(10, 10), (23, 37), (24, 10), (9, 40), (30, 50), (22, 36)]:
    cropped = transforms.CenterCrop((height, width))(rgb)
    expected[f"centre.{height}.{width}"] = np.array(cropped).transpose(2, 0, 1)
usual = transforms.Compose([
    transforms.Resize(20),
    transforms.CenterCrop(16),
    transforms.ToTensor(),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])
expected["usual"] = usual(rgb).numpy()

np.savez_compressed(HERE / "expected.npz", **expected)
