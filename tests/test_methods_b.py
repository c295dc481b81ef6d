"""SHPDH, SHREWD, UDMSH, ITQ, LSH and the classifier's code: formulas against plain loops, their state, and a toy."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy_b import toy, toy_map

from shc import methods
from shc.methods import Task
from shc.methods.classifier import PredictedCenter
from shc.methods.itq import rotation_to_cube
from shc.methods.shpdh import ClassMeans
from shc.methods.shrewd import LabelDistances
from shc.methods.udmsh import Quadrant, Similarities, half_gaussians, whitened
from shc.training import predict

PATHS = (("a", "x"), ("a", "x"), ("a", "x"), ("a", "y"), ("b", "x"))  # unequal groups; two groups are named x
DRAWS = dict(max_examples=15, deadline=None)


def draw(seed, n=6, bits=5, classes=5, spread=1.5):
    """u float64 [n, K] and labels [n]."""
    generator = torch.Generator().manual_seed(seed)
    u = spread * torch.randn(n, bits, generator=generator, dtype=torch.float64)
    return u, torch.randint(classes, (n,), generator=generator)


def hasher(dim=7, bits=3, seed=0):
    """A network on features: the backbone is the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential()
        model.backbone, model.head = nn.Identity(), nn.Sequential(nn.Linear(dim, bits), nn.Dropout(0.5))
    return model


def shpdh_state(seed, bits=5):
    state = ClassMeans(torch.arange(5), 5, bits, PATHS)
    state.means.copy_(draw(seed, bits=bits)[0][:5])
    return state


def shrewd_state(seed):
    table = np.random.default_rng(seed).random((5, 5))
    table = (table + table.T) / 2
    np.fill_diagonal(table, 0)
    return LabelDistances(table, seed)


def udmsh_state(seed, rows=6):
    features = nn.functional.normalize(draw(seed, rows, 4)[0], dim=1)
    return Similarities(features, 0.9, 0.3, 0.2, nn.Identity())


STATES = {"shpdh": shpdh_state, "shrewd": shrewd_state, "udmsh": udmsh_state}


def batch(name, seed):
    """u, labels and state of a method; UDMSH's labels are row numbers."""
    u, labels = draw(seed)
    return u, torch.randperm(6) if name == "udmsh" else labels, STATES[name](seed)


# ------------------------------------------------------------------------------------------ formulas


def plain_shpdh(u, labels, means, coarser, cube, vertex, edge):
    levels = [list(range(5)), [0, 0, 0, 1, 2], [0, 0, 0, 0, 1]]
    groups = [means, [means[:3].mean(0), means[3], means[4]]]
    groups.append([(groups[1][0] + groups[1][1]) / 2, means[4]])  # the mean of two children, not of four classes
    terms = dict.fromkeys(("level_0", "level_1", "level_2", "cube", "vertex"), 0.0)
    for row, y in zip(u, labels, strict=True):
        for k in range(3):
            p = [math.exp(-0.5 * coarser**k * sum((row - m) ** 2)) for m in groups[k]]
            terms[f"level_{k}"] -= math.log(p[levels[k][y]] / sum(p)) / len(u)
        terms["cube"] += sum(max(abs(x) - edge, 0) for x in row) / len(u)
        terms["vertex"] += sum((math.copysign(1, x) - x) ** 2 for x in row) / len(u)
    total = sum(terms[f"level_{k}"] for k in range(3)) + (cube * terms["cube"] + vertex * terms["vertex"]) / u.shape[1]
    return total, terms


@given(seed=st.integers(0, 2**31), coarser=st.floats(0, 1), cube=st.floats(0, 10), edge=st.floats(0.5, 2))
@settings(**DRAWS)
def test_shpdh_is_its_formula(seed, coarser, cube, edge):
    u, labels = draw(seed)
    state = shpdh_state(seed)
    options = dict(coarser=coarser, cube=cube, vertex=0.3, edge=edge)
    total, terms = methods.get("shpdh")(**options).loss(u, labels, state)
    whole, parts = plain_shpdh(u.numpy(), labels.tolist(), state.means.double().numpy(), **options)
    assert total.item() == pytest.approx(whole, abs=1e-6, rel=1e-6)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(parts, abs=1e-6, rel=1e-6)


def plain_shrewd(u, labels, table, random, weight, near, decay, shape, floor):
    z, n, bits = (np.tanh(u) + 1) / 2, *u.shape
    samples = random.beta(shape, shape, (n, bits))
    far = lambda a, b: sum(abs(x - y) for x, y in zip(a, b, strict=True)) / bits
    pairs = [(i, j) for i in range(n) for j in range(i)]
    d, t = [far(z[i], z[j]) for i, j in pairs], [table[labels[i]][labels[j]] for i, j in pairs]
    w = [(near / (near + x)) ** decay for x in t]
    mean_d, mean_t = sum(d) / len(d), sum(t) / len(t)
    similarity = sum(a * abs(x / mean_d - y / mean_t) for a, x, y in zip(w, d, t, strict=True)) / sum(w)
    divergence = 0.0
    for i in range(n):
        outside = min(far(z[i], sample) for sample in samples)
        inside = min(far(z[i], z[j]) for j in range(n) if j != i)
        divergence += math.log((outside + floor) / (inside + floor)) / n
    return similarity + weight * divergence, {"similarity": similarity, "divergence": divergence}


@given(seed=st.integers(0, 2**31), weight=st.floats(0, 5), near=st.floats(0.01, 2), decay=st.floats(0, 3))
@settings(**DRAWS)
def test_shrewd_is_its_formula_and_draws_anew_each_step(seed, weight, near, decay):
    u, labels = draw(seed)
    labels[:2] = torch.tensor([0, 1])  # two classes at least, so that there is a distance to divide by
    state = shrewd_state(seed)
    options = dict(weight=weight, near=near, decay=decay, shape=0.4, floor=0.05)
    for step in range(2):
        total, terms = methods.get("shrewd")(**options).loss(u, labels, state)
        table, random = state.distances.double().numpy(), np.random.default_rng([seed, step])
        whole, parts = plain_shrewd(u.numpy(), labels.tolist(), table, random, **options)
        assert total.item() == pytest.approx(whole, rel=1e-6, abs=1e-6)
        assert {name: term.item() for name, term in terms.items()} == pytest.approx(parts, rel=1e-6, abs=1e-6)


def plain_udmsh(u, rows, features, threshold, levels, quantization):
    pairwise = weights = 0.0
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            gap = 0.9 - (1 - features[a] @ features[b])
            t = gap / (0.3 if gap > 0 else 0.2) / threshold
            s = math.copysign(min(math.floor(abs(t) * levels) / levels, 1), t)
            cosine = u[i] @ u[j] / math.sqrt((u[i] @ u[i]) * (u[j] @ u[j]))
            pairwise += (i != j) * min(abs(t), 1) * (cosine - s) ** 2
            weights += (i != j) * min(abs(t), 1)
    pairwise /= weights
    corner = ((abs(u) - 1) ** 2).mean()
    return pairwise + quantization * corner, {"pairwise": pairwise, "quantization": corner}


@given(seed=st.integers(0, 2**31), threshold=st.floats(0.5, 4), levels=st.integers(1, 4), weight=st.floats(0, 3))
@settings(**DRAWS)
def test_udmsh_is_its_formula(seed, threshold, levels, weight):
    u, rows, state = batch("udmsh", seed)
    state.distribution = state.distribution.double().round(decimals=6)  # exactly the loop's constants
    total, terms = methods.get("udmsh")(threshold, levels, weight).loss(u, rows, state)
    features = state.features.double().numpy()
    whole, parts = plain_udmsh(u.numpy(), rows.tolist(), features, threshold, levels, weight)
    assert total.item() == pytest.approx(whole, rel=1e-6, abs=1e-6)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(parts, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", STATES)
def test_gradients_are_those_of_finite_differences(name):
    u, labels, state = batch(name, 3)
    loss = lambda u: methods.get(name)().loss(u, labels, copy.deepcopy(state))[0]  # a copy: the same random samples
    assert torch.autograd.gradcheck(loss, u.requires_grad_(True))


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("rows", ["alike", "all different"])
def test_large_outputs_stay_finite(name, rows):
    u, labels, state = batch(name, 0)
    u = 60 * (torch.ones(6, 5) if rows == "alike" else u.sign().float()).requires_grad_(True)
    u.retain_grad()
    total, _ = methods.get(name)().loss(u, labels, state)
    total.backward()
    assert total.dtype == torch.float32 and torch.isfinite(total) and torch.isfinite(u.grad).all()
    assert total > 0


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("shpdh", "cube=-1", "cube=-1.0 must be a finite number"),
        ("shrewd", "floor=0", "floor=0.0 must be above 0"),
        ("shrewd", "near=0", "near=0.0 must be above 0"),
        ("shrewd", "shape=0", "shape=0.0 must be above 0"),
        ("udmsh", "threshold=0", "threshold=0.0 must be at least 0.001"),
        ("udmsh", "levels=0", "levels=0 must be at least 1"),
        ("udmsh", "axes=0", "axes=0 must be at least 1"),
        ("itq", "rounds=2.5", "rounds must be of type int, not '2.5'"),
    ],
)
def test_a_wrong_hyper_parameter_is_named(name, options, told):
    with pytest.raises(ValueError, match=told):
        methods.build(name, options)


# --------------------------------------------------------------------------------------------- state


def test_shpdh_means_start_from_the_network_and_follow_its_outputs():
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1, 0])
    features, other = draw(1, 8, 7)[0].float(), draw(2, 8, 3)[0]
    model = hasher().train()
    method = methods.get("shpdh")()
    state = method.targets(Task(3, 5, labels, paths=PATHS, features=lambda: features), model)
    assert model.head.training  # as it was found, though the means were made without dropout

    def class_means(u):
        return torch.stack([torch.stack([u[i] for i in range(8) if labels[i] == c]).mean(0) for c in range(5)])

    torch.testing.assert_close(state.means, class_means(model.head[0](features)).detach())
    method.end_of_epoch(state, 1, lambda: other)
    torch.testing.assert_close(state.means, class_means(other).float())
    assert state.state_dict().keys() == {"means"}  # all else follows from the task


def test_shpdh_without_a_hierarchy_has_one_level_and_wants_every_class():
    features = draw(1, 3, 7)[0].float()
    method, model = methods.get("shpdh")(), hasher()
    for paths in (None, ((), (), ())):
        state = method.targets(Task(3, 3, torch.arange(3), paths=paths, features=lambda: features), model)
        _, terms = method.loss(draw(0, 3, 3)[0], torch.arange(3), state)
        assert terms.keys() == {"level_0", "cube", "vertex"}
    with pytest.raises(ValueError, match="class 2 has no training image"):
        method.targets(Task(3, 3, torch.tensor([0, 1, 1]), features=lambda: features), model)


def test_shrewd_goes_on_from_a_checkpoint_with_the_same_samples():
    u, labels = draw(0)
    method, state = methods.get("shrewd")(), shrewd_state(7)
    first, second, third = (method.loss(u, labels, state)[1]["divergence"].item() for _ in range(3))
    assert len({first, second, third}) == 3
    resumed, other = shrewd_state(7), LabelDistances(shrewd_state(7).distances.numpy(), 8)
    resumed.load_state_dict({"step": torch.tensor(2)})
    assert method.loss(u, labels, resumed)[1]["divergence"].item() == third
    assert method.loss(u, labels, other)[1]["divergence"].item() != first


def test_shrewds_divergence_is_lowest_for_binary_and_uniform_outputs():
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(2, (200, 6), generator=generator).float() * 2 - 1
    noise = 0.3 * torch.randn(200, 6, generator=generator)
    kinds = {"good": 3 * corners + noise, "not binary": noise, "not uniform": 3 * corners[:1] + noise}
    method, labels = methods.get("shrewd")(), torch.zeros(200, dtype=torch.int64)
    values = {kind: method.loss(u, labels, shrewd_state(0))[1]["divergence"].item() for kind, u in kinds.items()}
    assert values["good"] < values["not uniform"] - 0.2 and values["good"] < values["not binary"] - 0.2


def test_shrewd_takes_one_class_but_not_one_image():
    u, labels = draw(0)
    method = methods.get("shrewd")()
    assert torch.isfinite(method.loss(u, torch.zeros_like(labels), shrewd_state(0))[0])
    with pytest.raises(ValueError, match="a batch of 1 image has no pairs"):
        method.loss(u[:1], labels[:1], shrewd_state(0))
    with pytest.raises(ValueError, match="needs label distances"):
        method.targets(Task(4, 5, labels), hasher())


def test_half_gaussians_are_found_again():
    random = np.random.default_rng(0)
    left, right = np.abs(random.normal(0, 0.1, 20_000)), np.abs(random.normal(0, 0.3, 60_000))
    distances = torch.from_numpy(np.concatenate([1 - left, 1 + right]))
    mode, below, above = half_gaussians(distances)
    assert mode == pytest.approx(1, abs=0.06)
    assert below == pytest.approx(math.sqrt(((distances[distances <= mode] - mode) ** 2).mean()))
    assert below == pytest.approx(0.1, rel=0.3) and above == pytest.approx(0.3, rel=0.2)
    assert half_gaussians(torch.ones(5))[1:] == (1e-6, 1e-6)  # images that are all alike


@pytest.mark.parametrize("size", [8, 9])
def test_a_quadrant_is_a_quarter_of_the_image_enlarged(size):
    half, values = size // 2, torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    image = values.repeat_interleave(half, 0).repeat_interleave(half, 1)
    if size % 2:  # a middle line belongs to both sides
        image = torch.cat([image[:half], image[half - 1 : half], image[half:]])
        image = torch.cat([image[:, :half], image[:, half - 1 : half], image[:, half:]], 1)
    quarter = Quadrant(0, 0)(image[None, None])
    assert quarter.shape == (1, 1, size, size) and ((quarter - 1).abs() < 1e-6).all()
    for row, column in ((0, 1), (1, 0), (1, 1)):
        enlarged = Quadrant(row, column)(image[None, None])[0, 0]
        away = enlarged[half:] if row else enlarged[:half]  # from the middle line
        away = away[:, half:] if column else away[:, :half]
        assert ((away - values[row, column]).abs() < 1e-6).all()


def plain_whitening(x, axes):
    left, values, _ = np.linalg.svd(x - x.mean(0))
    return left[:, : min(axes, (values > 1e-5 * values[0]).sum())]


def test_whitening_takes_the_leading_axes_and_skips_empty_ones():
    x = draw(0, 40, 6)[0] @ torch.diag(torch.tensor([9.0, 7, 5, 3, 1, 1]).double())
    doubled = torch.cat([x, x[:, :2]], 1)
    for axes, kept in ((3, 3), (20, 6)):
        unit = whitened(doubled, axes)
        plain = plain_whitening(doubled.numpy(), axes)
        plain /= np.sqrt((plain**2).sum(1, keepdims=True))
        assert unit.shape == (40, kept) and plain.shape == (40, kept)
        np.testing.assert_allclose(unit @ unit.T, plain @ plain.T, atol=1e-5)
    assert (whitened(torch.ones(4, 3), 3) == 0).all()  # images that are all alike


def test_udmsh_sees_features_of_the_whole_image_and_of_its_quadrants():
    model, state, task, (images, _), _ = toy("udmsh", epochs=0)
    parts = [task.features()]  # of the untouched start network
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        part = images[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].float()
        large = nn.functional.interpolate(part, size=(8, 8), mode="bilinear")
        parts.append(model.backbone(large / 127.5 - 1).detach())
    whole, *quarters = (plain_whitening(part.double().numpy(), 64) for part in parts)
    for i, j in ((0, 1), (3, 200), (17, 18)):
        cosines = [p[i] @ p[j] / math.sqrt((p[i] @ p[i]) * (p[j] @ p[j])) for p in (whole, *quarters)]
        expected = (cosines[0] + sum(cosines[1:]) / 4) / 2
        assert (state.features[i].float() @ state.features[j].float()).item() == pytest.approx(expected, abs=2e-3)
    with pytest.raises(ValueError, match="needs the training images"):
        methods.get("udmsh")().targets(Task(4, 5, torch.arange(3)), model)


def test_udmshs_rotation_nears_the_corners_and_keeps_all_cosines():
    model, state, _, (images, _), _ = toy("udmsh", "rounds=0", epochs=5)
    torch.testing.assert_close(model.head.rotation, torch.eye(16))
    before = predict(model, images, threads=1)
    methods.get("udmsh")().end_of_epoch(state, 6, lambda: before)
    after = predict(model, images, threads=1)
    torch.testing.assert_close(after @ after.T, before @ before.T, rtol=1e-4, atol=1e-4)
    assert (after.abs() - 1).square().mean() < 0.98 * (before.abs() - 1).square().mean()
    turned = model.head.rotation.clone()
    methods.get("udmsh")(rounds=0).end_of_epoch(state, 7, lambda: after)  # no round, no further turn
    torch.testing.assert_close(model.head.rotation, turned)
    assert "head.rotation" in model.state_dict()  # so it travels with the network
    assert state.state_dict().keys() == {"features", "distribution"}


# ----------------------------------------------------------------------------------- closed-form heads


def linear_task(features, bits, **more):
    model = nn.Sequential()
    model.backbone, model.head = nn.Identity(), nn.Linear(features.shape[1], bits)
    return Task(bits, 3, torch.arange(len(features)), features=lambda: features, **more), model


def test_itq_is_pca_and_the_best_of_rotations_found():
    features = (draw(0, 200, 12)[0] @ torch.diag(torch.linspace(3, 0.1, 12).double()) + 5).float()
    task, model = linear_task(features, 6)
    methods.get("itq")().targets(task, model)
    u = model.head(features).detach().double()
    centered = (features.double() - features.double().mean(0)).numpy()
    left, values, _ = np.linalg.svd(centered)
    pca = left[:, :6] * values[:6]
    np.testing.assert_allclose(u @ u.T, pca @ pca.T, atol=1e-3)  # the same points, rotated
    error = lambda v: ((np.sign(v) - v) ** 2).sum()
    assert error(u.numpy()) < 0.99 * error(pca)
    settled = rotation_to_cube(u, 1, torch.eye(6).double())
    torch.testing.assert_close(settled, torch.eye(6).double(), atol=0.05, rtol=0)  # 50 rounds have nearly converged


def test_each_round_of_the_rotation_lowers_the_quantization_error():
    v = draw(1, 100, 6)[0]
    rotations = [rotation_to_cube(v, rounds, torch.eye(6).double()) for rounds in range(8)]
    errors = [((v @ r).sign() - v @ r).square().sum().item() for r in rotations]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 0.99 * errors[0]
    torch.testing.assert_close(rotations[-1] @ rotations[-1].T, torch.eye(6).double())


@pytest.mark.parametrize(("rows", "columns", "rank"), [(50, 4, 4), (5, 12, 4), (50, 8, 8)])
def test_itq_says_when_the_features_have_too_few_dimensions(rows, columns, rank):
    features = draw(0, rows, columns)[0].float()
    features = torch.cat([features, features[:, :2]], 1)  # two features twice: no new dimension
    task, model = linear_task(features, rank + 1)
    with pytest.raises(ValueError, match=f"bits={rank + 1} is above the rank {rank} of the {rows} × {columns + 2}"):
        methods.get("itq")().targets(task, model)
    task, model = linear_task(features, rank)
    methods.get("itq")().targets(task, model)
    assert torch.isfinite(model.head.weight).all()


def test_lsh_differs_in_a_bit_as_often_as_the_angle_over_pi():
    features = draw(0, 20, 6)[0].float() + 4
    task, model = linear_task(features, 20_000)
    methods.get("lsh")().targets(task, model)
    codes = model.head(features).detach() >= 0
    centered = nn.functional.normalize(features - features.mean(0), dim=1)
    angles = (centered @ centered.T).clamp(-1, 1).acos() / math.pi
    differ = (codes[:, None] != codes[None]).float().mean(2)
    torch.testing.assert_close(differ, angles, atol=0.02, rtol=0)
    other_task, other = linear_task(features, 20_000, seed=1)
    methods.get("lsh")().targets(other_task, other)
    assert not torch.equal(other.head.weight, model.head.weight)


def test_the_classifiers_code_is_the_center_of_the_predicted_class():
    model, _, task, (images, _), _ = toy("classifier")
    u = predict(model, images, threads=1)
    weight, bias = task.classifier
    predicted = (predict(model.backbone, images, threads=1) @ weight.T + bias).argmax(1)
    assert torch.equal(u, task.centers[predicted]) and len(predicted.unique()) == 10
    loaded = methods.get("classifier")().head(64, 16, 10)
    loaded.load_state_dict(model.head.state_dict())
    assert torch.equal(loaded(predict(model.backbone, images, threads=1)), u)
    bare = nn.Sequential()
    bare.head = PredictedCenter(4, 3, 2)
    with pytest.raises(ValueError, match="needs centers, got None"):
        methods.get("classifier")().targets(Task(3, 2, torch.arange(2), classifier=task.classifier), bare)
    with pytest.raises(ValueError, match="needs a trained classifier, got None"):
        methods.get("classifier")().targets(Task(3, 2, torch.arange(2), centers=task.centers), bare)


# ----------------------------------------------------------------------------------------------- toy


@pytest.mark.parametrize("name", ["shpdh", "shrewd", "itq", "classifier"])
def test_methods_that_know_the_classes_solve_the_toy(name):
    assert toy_map(name) > 0.9


def test_udmsh_is_clearly_above_random_hyperplanes_on_the_same_start_network():
    assert toy_map("udmsh") > toy_map("lsh") + 0.3


def test_the_registry_tells_what_each_method_uses():
    told = {name: (m.needs, m.start, m.default_centers) for name, m in methods.available().items()}
    assert told["shpdh"] == ("label path", "classifier", "")
    assert told["shrewd"] == ("label distances", "classifier", "")
    assert told["udmsh"] == told["lsh"] == ("none", "scratch", "")
    assert told["itq"] == ("none", "classifier", "")
    assert told["classifier"] == ("class", "classifier", "semantic")
    untrained = {
        name for name in ("shpdh", "shrewd", "udmsh", "itq", "lsh", "classifier") if not methods.get(name).trained
    }
    assert untrained == {"itq", "lsh", "classifier"}
