from urllib.error import URLError

import pytest
import torch

from shc.models import Classifier, Hasher, ResNet, SmallCNN, backbone, codes_from


@pytest.mark.parametrize(("name", "size", "features"), [("cnn", 32, 256), ("cnn", 64, 256), ("resnet18", 32, 512)])
def test_features_have_the_told_width(name, size, features):
    net = backbone(name, size=size).eval()
    assert net.dim == features
    assert net(torch.zeros(2, 3, size, size)).shape == (2, features)


def test_heads_give_logits_and_outputs():
    x = torch.randn(3, 3, 16, 16)
    assert Classifier(SmallCNN(8), 5)(x).shape == (3, 5)
    hasher = Hasher(SmallCNN(8), 12)
    assert hasher(x).shape == (3, 12)
    assert {name.split(".")[0] for name, _ in hasher.named_parameters()} == {"backbone", "head"}


def test_the_small_net_has_half_a_million_weights():
    weights = sum(p.numel() for p in backbone("cnn").parameters())
    assert 0.5e6 < weights < 0.6e6


def test_an_image_does_not_depend_on_its_neighbors_in_evaluation():
    net = Classifier(backbone("cnn"), 4).eval()
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(x)[2:3], net(x[2:3]), rtol=1e-4, atol=1e-5)


def test_small_images_keep_their_resolution_in_a_resnet():
    assert ResNet("resnet18", "none", 32).net.conv1.stride == (1, 1)
    assert ResNet("resnet18", "none", 224).net.conv1.stride == (2, 2)


def test_imagenet_weights_see_imagenets_statistics(monkeypatch):
    import torchvision

    plain = torchvision.models.resnet18
    monkeypatch.setattr(torchvision.models, "resnet18", lambda weights=None: plain(weights=None))
    net = ResNet("resnet18", "imagenet", 32)
    assert net.net.conv1.stride == (2, 2) and not {"mean", "std"} & net.state_dict().keys()
    seen = []
    net.net = torch.nn.Module()
    net.net.forward = lambda x: seen.append(x) or x
    net(torch.full((1, 3, 32, 32), 0.485 * 2 - 1))
    assert seen[0].shape == (1, 3, 224, 224)
    assert seen[0][0, 0].abs().max() < 1e-5  # red, 0.485, is ImageNet's mean


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": "resnet"}, "net='resnet' is unknown; choose one of cnn, resnet18, resnet34, resnet50"),
        ({"weights": "random"}, "weights='random' is unknown; choose 'none' or 'imagenet'"),
        ({"weights": "imagenet"}, "net='cnn' has no ImageNet weights; set weights='none' or choose a resnet"),
    ],
)
def test_a_bad_name_is_told(arguments, told):
    with pytest.raises(ValueError, match=told):
        backbone(**arguments)


def test_weights_that_cannot_be_downloaded_are_told(monkeypatch):
    import torchvision

    def offline(weights=None):
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.models, "resnet34", offline)
    with pytest.raises(ValueError, match=r"could not be downloaded .*no route to host.* set weights='none'"):
        backbone("resnet34", weights="imagenet")


def test_codes_are_never_zero():
    u = torch.tensor([[-1e-30, -0.0, 0.0, 1e-30], [float("inf"), -float("inf"), 5, -5]])
    codes = codes_from(u)
    assert codes.dtype == torch.int8
    assert codes.tolist() == [[-1, 1, 1, 1], [1, -1, 1, -1]]
