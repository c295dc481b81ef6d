import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shc.augmentation import augment, to_float
from shc.devices import cpu_threads, resolve_device
from shc.models import Classifier, SmallCNN
from shc.runs import Run
from shc.schedule import Schedule, one_cycle
from shc.training import fit, predict

MEASURED = ("seconds", "images_per_second", "left", "memory")  # another in every run
SCHEDULE = Schedule(epochs=4, batch=16, lr=0.01, seed=3, threads=1, eval_every=1)


@pytest.fixture(scope="module")
def task():
    """40 images [40, 3, 16, 16] of 4 classes that differ in color."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 4
    colors = torch.tensor([[230, 30, 30], [30, 230, 30], [30, 30, 230], [200, 200, 30]])
    noise = torch.randint(-30, 30, (40, 3, 16, 16), generator=generator)
    return (colors[labels][:, :, None, None] + noise).clamp(0, 255).to(torch.uint8), labels


def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Classifier(SmallCNN(8), 4)


def cross_entropy(outputs, labels):
    value = nn.functional.cross_entropy(outputs, labels)
    return value, {"cross_entropy": value.detach()}


def accuracy_on(images, labels):
    return lambda model: (predict(model, images, threads=1).argmax(1) == labels).float().mean().item()


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def without_time(records):
    return [{k: v for k, v in record.items() if k not in MEASURED} for record in records]


# ------------------------------------------------------------------------------------------ the loop


def test_training_learns_and_tells_what_it_does(task):
    model = network()
    records = list(fit(model, cross_entropy, *task, SCHEDULE, evaluate=accuracy_on(*task), record_every=1))
    assert [r["step"] for r in records] == list(range(1, 9))  # 40 images, batches of 16: two full ones an epoch
    assert [r["epoch"] for r in records] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [r["val"] is None for r in records] == [True, False] * 4
    assert records[-1]["loss"] < records[0]["loss"] and all(r["terms"]["cross_entropy"] == r["loss"] for r in records)
    assert all(r["steps"] == 8 and r["images_per_second"] > 0 for r in records)
    assert accuracy_on(*task)(model) == max(r["val"] for r in records if r["val"] is not None)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(task):
    found = []
    for seed in (3, 3, 4):
        model = network()
        torch.manual_seed(seed + len(found))  # the global generator must not matter
        records = list(fit(model, cross_entropy, *task, Schedule(epochs=2, batch=16, seed=seed, threads=1)))
        found.append((weights_of(model), without_time(records)))
    assert same(found[0][0], found[1][0]) and found[0][1] == found[1][1]
    assert not same(found[0][0], found[2][0])


def test_the_global_random_state_and_thread_count_are_left_alone(task):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    list(fit(network(), cross_entropy, *task, Schedule(epochs=1, batch=16, threads=threads + 1)))
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    with pytest.raises(ZeroDivisionError), cpu_threads(threads + 1):
        _ = 1 / 0
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("stop_after", [1, 3, 4, 6, 7])
def test_an_interrupted_training_goes_on_to_the_same_bits(task, tmp_path, stop_after):
    options = dict(evaluate=accuracy_on(*task), record_every=1)
    whole = network()
    expected = list(fit(whole, cross_entropy, *task, SCHEDULE, **options))

    run = Run(tmp_path)
    first = fit(network(), cross_entropy, *task, SCHEDULE, checkpoint=run.checkpoint("c", "key"), **options)
    for _ in range(stop_after):
        next(first)
    first.close()
    resumed = network()
    nn.init.zeros_(resumed.head.weight)  # whatever the new model holds is replaced
    if stop_after == 1:
        resumed = network()  # no epoch was finished: training begins anew
    records = list(fit(resumed, cross_entropy, *task, SCHEDULE, checkpoint=run.checkpoint("c", "key"), **options))
    assert same(weights_of(resumed), weights_of(whole))
    assert without_time(records) == without_time(expected)
    assert [r["seconds"] for r in records] == sorted(r["seconds"] for r in records)


def test_a_finished_training_is_not_repeated(task, tmp_path):
    run, steps = Run(tmp_path), []

    def counted(outputs, labels):
        steps.append(1)
        return cross_entropy(outputs, labels)

    found = []
    for _ in range(2):
        model = network()
        checkpoint = run.checkpoint("c", "key")
        records = list(fit(model, counted, *task, SCHEDULE, evaluate=accuracy_on(*task), checkpoint=checkpoint))
        found.append((weights_of(model), records))
    assert len(steps) == 8
    assert same(found[0][0], found[1][0]) and found[0][1] == found[1][1]


def test_the_best_epoch_is_kept(task):
    values = iter([0.1, 0.9, 0.3, 0.2])
    kept = []

    def evaluate(model):
        kept.append(weights_of(model))
        return next(values)

    model = network()
    list(fit(model, cross_entropy, *task, SCHEDULE, evaluate=evaluate))
    assert same(weights_of(model), kept[1]) and not same(kept[1], kept[3])


@pytest.mark.parametrize(("every", "epochs"), [(2, [2, 4]), (3, [3, 4]), (9, [4])])
def test_the_last_epoch_is_always_validated(task, every, epochs):
    schedule = Schedule(epochs=4, batch=16, eval_every=every, threads=1)
    records = fit(network(), cross_entropy, *task, schedule, evaluate=lambda model: 0.5)
    assert [r["epoch"] for r in records if r["val"] is not None] == epochs


def test_rmsprop_with_a_plain_cosine_trains_and_goes_on(task, tmp_path):
    schedule = Schedule(epochs=4, batch=16, lr=0.003, optimizer="rmsprop", warmup=0.0, weight_decay=1e-5, threads=1)
    options = dict(evaluate=accuracy_on(*task), record_every=1)
    model = network()
    records = list(fit(model, cross_entropy, *task, schedule, **options))
    assert records[-1]["loss"] < records[0]["loss"] and accuracy_on(*task)(model) > 0.5
    rates = [r["lr"] for r in records]
    assert rates[0] == 0.003 and rates == sorted(rates, reverse=True)
    adam = network()
    list(fit(adam, cross_entropy, *task, Schedule(**{**vars(schedule), "optimizer": "adamw"}), **options))
    assert not same(weights_of(adam), weights_of(model))

    first = fit(network(), cross_entropy, *task, schedule, checkpoint=Run(tmp_path).checkpoint("c", "key"), **options)
    for _ in range(5):
        next(first)
    first.close()
    resumed = network()
    list(fit(resumed, cross_entropy, *task, schedule, checkpoint=Run(tmp_path).checkpoint("c", "key"), **options))
    assert same(weights_of(resumed), weights_of(model))


def test_training_sees_crops_and_prediction_their_center(task):
    model = network()
    model.backbone.crop, seen = 12, []
    model.backbone.layers.register_forward_pre_hook(lambda net, x: seen.append((net.training, x[0].shape[-1])))
    schedule = Schedule(epochs=1, batch=16, crop=12, threads=1)
    list(fit(model, cross_entropy, *task, schedule, evaluate=accuracy_on(*task)))
    assert set(seen) == {(True, 12), (False, 12)}
    whole = predict(model, task[0], threads=1)
    torch.testing.assert_close(whole, predict(model, task[0][..., 2:14, 2:14], threads=1))
    with pytest.raises(ValueError, match="crop=17 is more than the images' 16 pixels; set size higher"):
        next(fit(model, cross_entropy, *task, Schedule(epochs=1, crop=17)))


def test_a_backbone_can_learn_more_slowly(task):
    start = weights_of(network())
    model = network()
    list(fit(model, cross_entropy, *task, Schedule(epochs=1, batch=16, backbone_lr=0.0, threads=1)))
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, start[name])}
    assert moved == {"head.weight", "head.bias"}


def test_bfloat16_trains_and_leaves_float32_weights(task):
    model = network()
    records = list(fit(model, cross_entropy, *task, Schedule(epochs=1, batch=16, dtype="bfloat16", threads=1)))
    assert math.isfinite(records[-1]["loss"])
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_an_empty_training_set_is_told(task):
    with pytest.raises(ValueError, match="training split is empty; check the data set's scale"):
        next(fit(network(), cross_entropy, task[0][:0], task[1][:0], SCHEDULE))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_epoch(task, tmp_path, value):
    calls = []

    def breaks(outputs, labels):
        calls.append(1)
        total, terms = cross_entropy(outputs, labels)
        return total * (value if len(calls) > 3 else 1.0), terms

    checkpoint = Run(tmp_path).checkpoint("c", "key")
    training = fit(network(), breaks, *task, SCHEDULE, checkpoint=checkpoint)
    with pytest.raises(FloatingPointError) as raised:
        list(training)
    message = str(raised.value)
    assert f"became {value} at step 4 (epoch 2)" in message and "Lower lr (now 0.01)" in message
    tensors, state = checkpoint.load()
    assert state["epoch"] == 1 and all(torch.isfinite(tensor).all() for tensor in tensors.values())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"epochs": 0}, "epochs=0 must be at least 1"),
        ({"batch": -1}, "batch=-1 must be at least 1"),
        ({"lr": float("nan")}, "lr=nan must lie between 0 and 10; 0.003 is the default"),
        ({"dtype": "half"}, "dtype='half' is unknown"),
        ({"warmup": 1.0}, "warmup=1.0 must be a share of all steps"),
        ({"crop": -1}, "crop=-1 must be a number of pixels, or 0"),
        ({"optimizer": "sgd"}, "optimizer='sgd' is unknown; choose adamw or rmsprop"),
    ],
)
def test_bad_settings_are_told(values, told):
    with pytest.raises(ValueError, match=told):
        Schedule(**values)


def test_devices():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match=r"device='tpu9' is not usable here \(.*\); use 'cpu', 'cuda' or 'auto'"):
        resolve_device("tpu9")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_to_the_same_accuracy(task):
    model = network()
    schedule = Schedule(**{**vars(SCHEDULE), "device": "cuda"})
    list(fit(model, cross_entropy, *task, schedule, evaluate=lambda m: accuracy_on(*task)(copy.deepcopy(m).cpu())))
    assert next(model.parameters()).is_cuda


# ------------------------------------------------------------------------------------------ images


def test_images_become_floats_between_minus_one_and_one():
    x = to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 4, 4))
    assert x.dtype == torch.float32 and x.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([-1.0, -0.6, 1.0]))


def indexed_images(n, size):
    """[n, 3, S, S] whose three channels tell the image, the row and the column."""
    image, row, column = torch.meshgrid(torch.arange(n), torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([image, row, column], 1).float() + 1  # 0 is left for what is erased


@given(st.integers(1, 9), st.sampled_from([8, 16, 32]), st.integers(0, 4), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_augmentation_only_flips_and_shifts(n, size, shift, seed):
    x = indexed_images(n, size)
    y = augment(x, shift, 0.0, torch.Generator().manual_seed(seed))
    assert y.shape == x.shape
    reach = round(shift * size / 32)
    for i in range(n):
        assert (y[i, 0] == i + 1).all(), "every pixel comes from the same image"
        rows, columns = y[i, 1], y[i, 2]
        assert (rows == rows[:, :1]).all() and (columns == columns[:1]).all()
        row, column = rows[:, 0] - 1, columns[0] - 1
        pixels = torch.arange(size).float()
        column = column if column[-1] >= column[0] else size - 1 - column  # undo the flip
        for moved in (row, column):
            steps = {d for d in range(-reach, reach + 1) if torch.equal(moved, (pixels + d).clamp(0, size - 1))}
            assert steps, "a translation by at most `shift` pixels, borders repeated"


def test_half_of_the_images_are_flipped_and_half_lose_a_square():
    x = indexed_images(600, 16)
    y = augment(x, 0, 0.25, torch.Generator().manual_seed(0))
    flipped = (y[:, 2, 0, -1] < y[:, 2, 0, 0]).float().mean()
    erased = (y == 0).flatten(1).sum(1)
    assert 0.4 < flipped < 0.6
    assert 0.4 < (erased > 0).float().mean() < 0.6
    assert erased.max() <= 3 * 4 * 4  # a square of 16 · 0.25 pixels, three channels
    assert ((y == 0).sum(1) % 3 == 0).all(), "all channels of a pixel go together"


def test_augmentation_without_settings_is_the_identity_or_its_mirror():
    x = indexed_images(20, 8)
    y = augment(x, 0, 0.0, torch.Generator().manual_seed(0))
    assert all(torch.equal(b, a) or torch.equal(b, a.flip(-1)) for a, b in zip(x, y, strict=True))
    again = augment(x, 0, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(y, again)
    assert torch.equal(x, indexed_images(20, 8)), "the input is not written to"


def test_random_crops_reach_every_place_and_keep_their_order():
    size, crop = 8, 5
    y = augment(indexed_images(300, size), 2, 0.25, torch.Generator().manual_seed(0), crop=crop)
    assert y.shape == (300, 3, crop, crop) and (y > 0).all()  # nothing is erased or repeated
    assert (y[:, 0] == torch.arange(1, 301)[:, None, None]).all()
    assert (y[:, 1].diff(dim=1) == 1).all() and (y[:, 2].diff(dim=2).abs() == 1).all()
    tops, lefts = y[:, 1, 0, 0] - 1, y[:, 2].amin((1, 2)) - 1
    assert set(tops.tolist()) == set(lefts.tolist()) == {0.0, 1.0, 2.0, 3.0}
    x = indexed_images(20, size)
    whole = augment(x, 2, 0.25, torch.Generator().manual_seed(0), crop=size)
    assert all(torch.equal(b, a) or torch.equal(b, a.flip(-1)) for a, b in zip(x, whole, strict=True))


def test_prediction_does_not_depend_on_batches_and_keeps_the_mode(task):
    model = network().train()
    whole = predict(model, task[0], batch=40, threads=1)
    parts = predict(model, task[0], batch=7, threads=1)
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)
    assert model.training and not whole.requires_grad and whole.dtype == torch.float32


# ------------------------------------------------------------------------------------------ learning rate


@given(st.floats(0, 1), st.floats(0.01, 0.9))
def test_the_learning_rate_stays_between_zero_and_its_peak(progress, warmup):
    assert 0 <= one_cycle(progress, warmup) <= 1


def test_the_learning_rate_rises_then_falls_to_zero():
    values = [one_cycle(i / 100, 0.2) for i in range(101)]
    assert values[:21] == sorted(values[:21]) and values[20:] == sorted(values[20:], reverse=True)
    assert values[0] == 0.02 and values[20] == 1.0 and values[100] == pytest.approx(0.0, abs=1e-12)
    assert values[10] == pytest.approx(0.5)
