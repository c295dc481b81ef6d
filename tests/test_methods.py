import math
import pkgutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shc import methods
from shc.methods.csq import csq_centers

TOWARDS_CENTERS = ("csq", "shc")  # methods whose loss is a cross-entropy of every bit with the center's


def draw(seed, n=6, bits=8, classes=3, spread=2.0):
    """u [n, K], labels [n], centers ±1 [C, K], all float64."""
    generator = torch.Generator().manual_seed(seed)
    u = spread * torch.randn(n, bits, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (n,), generator=generator)
    centers = torch.randint(2, (classes, bits), generator=generator).double() * 2 - 1
    return u, labels, centers


def plain_shc(u, labels, centers, gamma):
    """The two terms of SHC's loss, entry by entry and in the tanh form of the paper."""
    center = quantization = 0.0
    for row, label in zip(u.tolist(), labels.tolist(), strict=True):
        for value, target in zip(row, centers[label].tolist(), strict=True):
            p, h = (math.tanh(value) + 1) / 2, (target + 1) / 2
            center -= h * math.log(p) + (1 - h) * math.log(1 - p)
            quantization += (abs(math.tanh(value)) - 1) ** 2
    count = u.numel()
    return center / count, quantization / count, (center + gamma * quantization) / count


def plain_csq(u, labels, centers, weight):
    center, _, _ = plain_shc(u, labels, centers, 0.0)
    quantization = np.log(np.cosh(np.abs(np.tanh(u.numpy())) - 1)).mean()
    return center, quantization, center + weight * quantization


@pytest.mark.parametrize(("name", "plain", "option"), [("shc", plain_shc, "gamma"), ("csq", plain_csq, "weight")])
@given(seed=st.integers(0, 2**31), weight=st.floats(0, 10))
@settings(max_examples=30, deadline=None)
def test_loss_is_the_papers_formula(name, plain, option, seed, weight):
    u, labels, centers = draw(seed)
    total, terms = methods.get(name)(**{option: weight}).loss(u, labels, centers)
    center, quantization, whole = plain(u, labels, centers, weight)
    assert terms.keys() == {"center", "quantization"}
    assert terms["center"].item() == pytest.approx(center, rel=1e-9)
    assert terms["quantization"].item() == pytest.approx(quantization, rel=1e-9, abs=1e-12)
    assert total.item() == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("name", TOWARDS_CENTERS)
def test_gradients_are_those_of_finite_differences(name):
    u, labels, centers = draw(3)
    method = methods.get(name)()
    assert torch.autograd.gradcheck(lambda u: method.loss(u, labels, centers)[0], u.requires_grad_(True))


@pytest.mark.parametrize("name", TOWARDS_CENTERS)
def test_large_outputs_neither_overflow_nor_stop_learning(name):
    u = torch.tensor([[60.0, -60.0]], requires_grad=True)  # tanh is exactly ±1 here in float32
    total, _ = methods.get(name)().loss(u, torch.tensor([0]), torch.tensor([[-1.0, -1.0]]))
    total.backward()
    assert total.item() == pytest.approx(60.0, rel=1e-4)
    assert u.grad[0, 0] == pytest.approx(1.0) and u.grad[0, 1] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", TOWARDS_CENTERS)
def test_the_loss_falls_towards_the_center_and_does_not_depend_on_order(name):
    method = methods.get(name)()
    u, labels, centers = draw(0)
    near, far = (method.loss(scale * centers[labels], labels, centers)[0] for scale in (3.0, -3.0))
    assert near < 0.01 < far
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    whole, shuffled = method.loss(u, labels, centers)[0], method.loss(u[order], labels[order], centers)[0]
    assert whole.item() == pytest.approx(shuffled.item())
    flipped = method.loss(-u, labels, -centers)[0]
    assert whole.item() == pytest.approx(flipped.item())


def test_every_file_of_the_folder_registers_a_method():
    files = {module.name for module in pkgutil.iter_modules(methods.__path__)}
    assert set(methods.available()) == files
    for name, entry in methods.available().items():
        assert entry.name == name and entry.needs and entry.source
        assert methods.get(name) is entry.build
        assert entry.build() == entry.build()  # a dataclass whose fields all have defaults


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("csqq", "method 'csqq' is unknown; did you mean 'csq'? Known methods: "),
        ("zzzzzz", "method 'zzzzzz' is unknown; Known methods: "),
    ],
)
def test_an_unknown_method_is_told_with_the_nearest(asked, told):
    with pytest.raises(ValueError) as raised:
        methods.get(asked)
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(("bits", "classes"), [(16, 10), (16, 32), (64, 100)])
def test_csq_takes_hadamard_codes_where_they_last(bits, classes):
    inner = csq_centers(bits, classes).astype(int) @ csq_centers(bits, classes).T.astype(int)
    assert set(np.unique(inner[~np.eye(classes, dtype=bool)])) <= {0, -bits}


@pytest.mark.parametrize(("bits", "classes"), [(16, 33), (32, 100), (48, 20), (15, 4)])
def test_csq_takes_balanced_random_codes_elsewhere(bits, classes):
    codes = csq_centers(bits, classes, seed=1)
    assert codes.shape == (classes, bits) and codes.dtype == np.int8
    assert (codes.sum(axis=1) == -(bits % 2)).all()
    np.testing.assert_array_equal(codes, csq_centers(bits, classes, seed=1))
    assert (codes != csq_centers(bits, classes, seed=2)).any()


def test_no_two_classes_share_a_csq_center():
    for seed in range(40):  # at 16 bits, drawn once, every fourth seed gives two of 100 classes one code
        assert len(np.unique(csq_centers(16, 100, seed), axis=0)) == 100
    with pytest.raises(ValueError, match="9 classes cannot have different balanced codes of 4 bits; use more bits"):
        csq_centers(4, 9)
