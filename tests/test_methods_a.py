import math
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_map

from shc import methods
from shc.methods import Task
from shc.methods.mds import Bank, softmax_cross_entropies

PART = ("dpsh", "hashnet", "mds", "orthohash")
DRAWS = dict(max_examples=15, deadline=None)


def draw(seed, n=7, bits=6, classes=3, many=False):
    """u [n, K], labels [n] or multi-hot [n, C] with at least one each, centers ±1 [C, K], all float64."""
    generator = torch.Generator().manual_seed(seed)
    u = 1.5 * torch.randn(n, bits, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (n,), generator=generator)
    centers = torch.randint(2, (classes, bits), generator=generator).double() * 2 - 1
    if many:
        hot = torch.randint(2, (n, classes), generator=generator).double()
        labels = torch.maximum(hot, torch.nn.functional.one_hot(labels, classes).double())
    return u, labels, centers


def state_of(name, method, centers, rows=7, epoch=0):
    """What a method's loss takes as targets, for a run with these centers."""
    labels = torch.zeros(rows, dtype=torch.int64)
    task = Task(centers.shape[1], len(centers), labels, centers=centers)
    targets = method.targets(task, torch.nn.Identity())
    method.end_of_epoch(targets, epoch, None)
    return targets


def cosine(a, b):
    return float(np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)))


def alike(a, b):
    """Whether two labels, or two multi-hot rows, have one in common."""
    return bool(np.any((np.asarray(a) > 0) & (np.asarray(b) > 0))) if np.ndim(a) else a == b


# ---- oracles: the published formulas, entry by entry ----


def plain_mds(u, labels, centers, earlier, earlier_labels):
    h, bits, classes = np.tanh(u.numpy()), u.shape[1], len(centers)
    center = []
    for row, label in zip(h, labels.tolist(), strict=True):
        z = [math.sqrt(bits) * cosine(row, c) for c in centers.numpy()]
        p = np.exp(z) / np.exp(z).sum()
        center += [-math.log(p[c] if c == label else 1 - p[c]) for c in range(classes)]
    pair = [
        math.log(1 + math.exp((1 - cosine(row, other)) / 2))
        for row, label in zip(h, labels.tolist(), strict=True)
        for other, other_label in zip(earlier, earlier_labels, strict=True)
        if label == other_label
    ]
    quantization = [(abs(x) - 1) ** 2 for row in h for x in row]
    return {"center": np.mean(center), "pair": np.mean(pair) if pair else 0.0, "quantization": np.mean(quantization)}


@given(seed=st.integers(0, 2**31), beta=st.floats(0, 5), weight=st.floats(0, 5))
@settings(**DRAWS)
def test_mds_is_the_papers_formula_with_and_without_a_bank(seed, beta, weight):
    method = methods.get("mds")(beta=beta, weight=weight, pair_after=3, bank=5)
    u, labels, centers = draw(seed)
    earlier, earlier_labels, _ = draw(seed + 1, n=4)
    targets = state_of("mds", method, centers, epoch=3)
    seen = []
    for _ in range(2):  # first with an empty bank, then with four rows of five
        total, terms = method.loss(u, labels, targets)
        plain = plain_mds(
            u, labels, centers, np.tanh(earlier.numpy()) if seen else [], earlier_labels.tolist() * len(seen)
        )
        assert {k: v.item() for k, v in terms.items()} == pytest.approx(plain, rel=1e-6)
        expected = plain["center"] + beta * plain["pair"] + weight * plain["quantization"]
        assert total.item() == pytest.approx(expected, rel=1e-6)
        method.loss(earlier.clone().requires_grad_(True), earlier_labels, targets)
        seen = [1]


@pytest.mark.parametrize("many", [False, True])
@given(seed=st.integers(0, 2**31), margin=st.floats(0, 1), scale=st.sampled_from([0.0, 1.0, 7.5]))
@settings(**DRAWS)
def test_orthohash_is_the_papers_formula(many, seed, margin, scale):
    u, labels, centers = draw(seed, many=many)
    total, terms = methods.get("orthohash")(margin=margin, scale=scale).loss(u, labels, centers)
    expected = 0.0
    for row, label in zip(u.numpy(), labels.tolist(), strict=True):
        own = [c for c in range(3) if (label[c] if many else label == c)]
        s = scale or math.sqrt(len(row))
        z = [s * (cosine(row, t) - margin * (c in own)) for c, t in enumerate(centers.numpy())]
        expected -= sum(z[c] - math.log(np.exp(z).sum()) for c in own) / len(own) / len(u)
    assert total.item() == terms["cosine"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("many", [False, True])
@given(seed=st.integers(0, 2**31), eta=st.floats(0, 5))
@settings(**DRAWS)
def test_dpsh_is_the_papers_formula(many, seed, eta):
    u, labels, _ = draw(seed, many=many)
    total, terms = methods.get("dpsh")(eta=eta).loss(u, labels, None)
    rows, tags, pair = u.numpy(), labels.tolist(), []
    for i in range(len(u)):
        for j in range(len(u)):
            theta = np.dot(rows[i], rows[j]) / 2
            if i != j:
                pair.append(math.log(1 + math.exp(theta)) - alike(tags[i], tags[j]) * theta)
    quantization = np.mean([(x - (1 if x >= 0 else -1)) ** 2 for x in rows.ravel()])
    assert terms["pair"].item() == pytest.approx(np.mean(pair), rel=1e-6)
    assert terms["quantization"].item() == pytest.approx(quantization, rel=1e-6)
    assert total.item() == pytest.approx(np.mean(pair) + eta * quantization, rel=1e-6)


@pytest.mark.parametrize("many", [False, True])
@given(seed=st.integers(0, 2**31), alpha=st.floats(0, 20), epoch=st.integers(0, 9))
@settings(**DRAWS)
def test_hashnet_is_the_papers_weighted_likelihood(many, seed, alpha, epoch):
    method = methods.get("hashnet")(alpha=alpha, stage=2, growth=0.7, power=0.8)
    u, labels, centers = draw(seed, many=many)
    total, _ = method.loss(u, labels, state_of("hashnet", method, centers, epoch=epoch))
    h, tags = np.tanh((1 + 0.7 * (epoch // 2)) ** 0.8 * u.numpy()), labels.tolist()
    pairs = [(i, j) for i in range(len(h)) for j in range(len(h)) if i != j]
    similar = sum(alike(tags[i], tags[j]) for i, j in pairs)
    expected = 0.0
    for i, j in pairs:
        s, theta = alike(tags[i], tags[j]), alpha / h.shape[1] * np.dot(h[i], h[j])
        weight = len(pairs) / (similar if s else len(pairs) - similar)
        expected += weight * (math.log(1 + math.exp(theta)) - s * theta) / len(pairs)
    assert total.item() == pytest.approx(expected, rel=1e-6)


# ---- numerics ----


@pytest.mark.parametrize("name", PART)
def test_gradients_are_those_of_finite_differences(name):
    method = methods.get(name)()
    for seed in range(3):
        u, labels, centers = draw(seed)
        targets = state_of(name, method, centers, epoch=9)
        if name == "mds":
            targets.push(draw(seed + 9)[0].tanh(), labels)
            targets.eval()
            assert method.loss(u, labels, targets)[1]["pair"] > 0
        assert torch.autograd.gradcheck(lambda u: method.loss(u, labels, targets)[0], u.requires_grad_(True))  # noqa: B023


@pytest.mark.parametrize("name", PART)
@pytest.mark.parametrize("scale", [60.0, 1e-3])
def test_large_and_tiny_outputs_give_finite_losses_and_gradients(name, scale):
    method = methods.get(name)()
    u, labels, centers = draw(5, n=8, bits=256)
    u = (u.sign() * scale).float().requires_grad_(True)
    targets = state_of(name, method, centers.float(), epoch=30)
    for _ in range(2):  # mds: with an empty and with a full bank
        total, _ = method.loss(u, labels, targets)
        (gradient,) = torch.autograd.grad(total, u)
        assert total.isfinite() and gradient.isfinite().all()
        assert total > 0 and (scale > 1 or gradient.abs().max() > 0)


@pytest.mark.parametrize("name", ["dpsh", "hashnet"])
def test_a_batch_without_pairs_of_a_kind_is_no_nan(name):
    method = methods.get(name)()
    u, _, centers = draw(2, n=3)
    targets = state_of(name, method, centers)
    for rows, labels in ((1, [0]), (3, [1, 1, 1]), (3, [0, 1, 2])):
        assert method.loss(u[:rows], torch.tensor(labels), targets)[0].isfinite()


def test_pairs_pull_together_what_shares_a_label_and_push_the_rest_apart():
    corner = torch.tensor([[1.0, -1.0, 1.0, 1.0]])
    same, opposite = torch.cat([corner, corner]), torch.cat([corner, -corner])
    for name in ("dpsh", "hashnet"):
        method = methods.get(name)()
        targets = state_of(name, method, corner)
        for labels, near, far in ((torch.tensor([2, 2]), same, opposite), (torch.tensor([0, 2]), opposite, same)):
            assert method.loss(near, labels, targets)[0] < method.loss(far, labels, targets)[0]


def test_cross_entropies_of_a_certain_softmax_keep_their_digits():
    logits = torch.tensor([[40.0, 0.0, -40.0], [0.0, 0.0, 40.0]], requires_grad=True)  # 1 − p is 0 in float32
    value = softmax_cross_entropies(logits, torch.tensor([1, 2]))
    assert value.item() == pytest.approx((40 + 40) / 6, rel=1e-6)  # −log p_1 and −log(1 − p_0) are both z_0 − z_1
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient[0].tolist() == pytest.approx([2 / 6, -2 / 6, 0], abs=1e-6)


# ---- state ----


def test_the_bank_is_a_ring_of_recent_outputs():
    bank, plain = Bank(torch.ones(2, 3), 5), deque(maxlen=5)
    generator = torch.Generator().manual_seed(0)
    for n in (2, 2, 4, 1, 7, 5, 3):  # wraps around, is exceeded, is filled exactly
        outputs, labels = torch.randn(n, 3, generator=generator), torch.randint(9, (n,), generator=generator)
        bank.push(outputs, labels)
        plain.extend((label, *row) for label, row in zip(labels.tolist(), outputs.tolist(), strict=True))
        rows = zip(bank.labels.tolist(), bank.outputs.tolist(), strict=True)
        assert sorted((label, *row) for label, row in rows if label >= 0) == sorted(plain)
    again = Bank(torch.zeros(2, 3), 5)
    again.load_state_dict(bank.state_dict())
    again.push(outputs[:1], labels[:1]), bank.push(outputs[:1], labels[:1])
    assert all(torch.equal(a, b) for a, b in zip(again.buffers(), bank.buffers(), strict=True))


def test_only_training_fills_the_bank_and_no_gradient_enters_it():
    method = methods.get("mds")(bank=100)
    u, labels, centers = draw(0)
    targets = state_of("mds", method, centers, epoch=9)
    assert len(targets.labels) == 7  # never more rows than training images
    method.loss(u, labels, targets)
    assert (targets.labels == -1).all()
    trained = u.clone().requires_grad_(True)
    method.loss(trained, labels, targets.eval())
    assert (targets.labels == -1).all()
    method.loss(trained, labels, targets.train())
    assert torch.equal(targets.labels, labels) and torch.equal(targets.outputs, u.tanh())
    assert not targets.outputs.requires_grad
    assert len(state_of("mds", methods.get("mds")(bank=2), centers).labels) == 2


def test_the_pair_term_waits():
    method = methods.get("mds")(pair_after=2)
    u, labels, centers = draw(1)
    targets = state_of("mds", method, centers)
    targets.push(-u.tanh(), labels)
    pairs = []
    for epoch in (1, 2, 3):
        pairs.append(method.loss(u, labels, targets)[1]["pair"].item())  # in epoch 1, 2, 3
        method.end_of_epoch(targets, epoch, None)
    assert pairs[:2] == [0, 0] and pairs[2] > math.log(2)


def test_beta_of_hashnet_follows_the_published_schedule():
    method = methods.get("hashnet")()
    targets = state_of("hashnet", method, torch.ones(2, 4))
    betas = []
    for epoch in range(1, 6):
        betas.append(targets.beta.item())  # in this epoch
        method.end_of_epoch(targets, epoch, None)
    assert betas == pytest.approx([math.sqrt(1 + 0.005 * 200 * stage) for stage in range(5)])
    assert targets.state_dict().keys() == {"beta"}


# ---- heads, targets, hyper-parameters ----


def test_heads_balance_the_bits_where_the_source_does():
    x = torch.randn(50, 12, generator=torch.Generator().manual_seed(0)) * 3 + 5
    for method, balanced in (
        (methods.get("orthohash")(), True),
        (methods.get("mds")(), True),
        (methods.get("mds")(batch_norm=False), False),
        (methods.get("dpsh")(), False),
    ):
        u = method.head(12, 4, 3)(x)
        assert u.shape == (50, 4)
        assert bool((u.mean(0).abs() < 1e-4).all()) == balanced


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: methods.build("mds", "bank=0"), r"bank=0 holds nothing .* at least 1 row"),
        (lambda: methods.build("mds", "beta=-1"), r"beta=-1.0 must be a finite number, 0 or above"),
        (lambda: methods.build("hashnet", "stage=0"), r"stage=0 must be at least 1 epoch"),
        (lambda: methods.build("dpsh", "eta=nan"), r"eta=nan must be a finite number"),
        (lambda: methods.get("mds")().targets(Task(8, 3, torch.zeros(1)), None), r"'mds' needs hash centers"),
    ],
)
def test_what_cannot_be_is_told(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_the_registry_says_what_they_need():
    for name in PART:
        entry = methods.info(name)
        assert entry.needs == "class" and entry.start == "classifier"
        assert entry.multi_label == (name != "mds")
        assert entry.default_centers == {"mds": "distance", "orthohash": "random"}.get(name, "")


# ---- end to end ----


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, "") for name in PART), ("mds", "pair_after=0")],
)
def test_ten_classes_are_retrieved(name, options):
    assert toy_map(name, options) > 0.9
