from urllib.error import URLError

import pytest
import torch

from shc.models import TORCHVISION, Classifier, Hasher, SmallCNN, TorchvisionNet, backbone, center_crop, codes_from


@pytest.mark.parametrize(("name", "size", "features"), [("cnn", 32, 256), ("cnn", 64, 256), ("resnet18", 32, 512)])
def test_features_have_the_told_width(name, size, features):
    net = backbone(name, size=size).eval()
    assert net.dim == features
    assert net(torch.zeros(2, 3, size, size)).shape == (2, features)


@pytest.mark.parametrize(
    ("name", "features"),
    [("convnext_tiny", 768), ("efficientnet_b0", 1280), ("mobilenet_v3_large", 1280), ("vit_b_16", 768)],
)
def test_a_torchvision_net_loses_its_last_layer_only(name, features):
    import torchvision

    assert name in TORCHVISION
    net = backbone(name).eval()
    whole = getattr(torchvision.models, name)().state_dict()
    kept = {key.removeprefix("net."): tensor.shape for key, tensor in net.state_dict().items()}
    lost = {key: tensor.shape for key, tensor in whole.items() if key not in kept}
    assert net.dim == features and set(lost.values()) == {(1000, features), (1000,)}
    assert kept == {key: tensor.shape for key, tensor in whole.items() if key in kept}
    seen = []
    net.net = torch.nn.Module()
    net.net.forward = lambda x: seen.append(x) or x
    net(torch.zeros(2, 3, 48, 48))
    assert seen[0].shape == (2, 3, 224, 224)  # they have no form for small images


def test_only_the_center_of_a_larger_image_is_looked_at():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 25, 25)
    net, plain = backbone("cnn", size=25, crop=16).eval(), backbone("cnn", size=16).eval()
    plain.load_state_dict(net.state_dict())
    assert torch.equal(net(x), plain(x[..., 4:20, 4:20]))
    assert torch.equal(net(x[..., 3:19, 5:21]), plain(x[..., 3:19, 5:21]))  # a crop made in training stays
    assert torch.equal(center_crop(x, 0), x) and torch.equal(center_crop(x, 99), x)


def test_the_form_of_imagenet_weights_needs_no_network(monkeypatch):
    import torchvision

    def offline(weights, plain=torchvision.models.resnet18):
        assert weights is None
        return plain()

    monkeypatch.setattr(torchvision.models, "resnet18", offline)
    form = backbone("resnet18", weights="imagenet", size=32, fetch=False)
    assert form.imagenet and form.side == 224 and form.net.conv1.kernel_size == (7, 7)


def test_heads_give_logits_and_outputs():
    x = torch.randn(3, 3, 16, 16)
    assert Classifier(SmallCNN(8), 5)(x).shape == (3, 5)
    hasher = Hasher(SmallCNN(8), 12)
    assert hasher(x).shape == (3, 12)
    assert {name.split(".")[0] for name, _ in hasher.named_parameters()} == {"backbone", "head"}


@pytest.mark.parametrize(("name", "millions"), [("cnn_small", 0.3), ("cnn", 0.54), ("cnn_wide", 2.15)])
def test_the_plain_nets_have_the_told_number_of_weights(name, millions):
    weights = sum(p.numel() for p in backbone(name).parameters())
    assert weights / 1e6 == pytest.approx(millions, rel=0.02)
    with pytest.raises(ValueError, match=f"net='{name}' has no ImageNet weights"):
        backbone(name, weights="imagenet")


def test_an_image_does_not_depend_on_its_neighbors_in_evaluation():
    net = Classifier(backbone("cnn"), 4).eval()
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(x)[2:3], net(x[2:3]), rtol=1e-4, atol=1e-5)


def test_small_images_keep_their_resolution_in_a_resnet():
    assert TorchvisionNet("resnet18", "none", 32).net.conv1.stride == (1, 1)
    assert TorchvisionNet("resnet18", "none", 224).net.conv1.stride == (2, 2)


def test_imagenet_weights_see_imagenets_statistics(monkeypatch):
    import torchvision

    plain = torchvision.models.resnet18
    monkeypatch.setattr(torchvision.models, "resnet18", lambda weights=None: plain(weights=None))
    net = TorchvisionNet("resnet18", "imagenet", 32)
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
        ({"crop": 33}, "crop=33 is more than the images' 32 pixels; set size higher, or crop=0"),
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
