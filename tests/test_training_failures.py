"""What goes wrong in training, and what is chosen, timed or measured while it runs."""

import copy
import os

import pytest
import torch
from torch import nn

from shc import failures, launch, training, training_step
from shc.augmentation import augment, to_float
from shc.config import ClassifierConfig
from shc.devices import deterministic, fastest, memory_used, resolve_device, seeded
from shc.models import Classifier, SmallCNN
from shc.runs import Run, RunError
from shc.schedule import Schedule, batch_factor, one_cycle
from shc.training import fit, predict, time_to
from shc.training_state import new_optimizer

LOSSES = [
    1.5012446641921997,
    1.4207823276519775,
    1.2544022798538208,
    1.3980246782302856,
    1.3918054103851318,
    1.3102566003799438,
]
PLAIN = dict(epochs=3, batch=16, lr=0.01, seed=3, threads=1)


def schedule(**changes):
    return Schedule(**(PLAIN | changes))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Classifier(SmallCNN(4), 4)


def task(count=40):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8), torch.arange(count) % 4


def loss(outputs, labels):
    value = nn.functional.cross_entropy(outputs, labels)
    return value, {"cross_entropy": value.detach()}


def judge(model):
    x, y = task()
    return (predict(model, x, threads=1).argmax(1) == y).float().mean().item()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def small_memory(most, calls=None):
    """A loss that runs out of device memory on batches above `most`; `calls` gets the sizes that were tried."""

    def limited(outputs, labels):
        if calls is not None:
            calls.append(len(outputs))
        if len(outputs) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")
        return loss(outputs, labels)

    return limited


# ------------------------------------------------------------------------------------------ numbers of the loop


def test_the_loop_gives_the_bits_of_the_obvious_loop():
    """As training was written at first: draws step by step, everything looked at in every step."""
    (x, y), plan, plain = task(), schedule(), network()
    groups = [dict(params=list(plain.backbone.parameters())), dict(params=list(plain.head.parameters()))]
    optimizer = torch.optim.AdamW(groups, lr=plan.lr, weight_decay=plan.weight_decay)
    losses, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    for epoch in range(3):
        generator = torch.Generator().manual_seed(plan.seed * 100_003 + epoch)
        order = torch.randperm(len(x), generator=generator)
        for i in range(2):
            for group in optimizer.param_groups:
                group["lr"] = plan.lr * one_cycle((epoch * 2 + i) / 6, plan.warmup)
            index = order[i * 16 : (i + 1) * 16]
            batch = augment(to_float(x[index]), plan.shift, plan.cutout, generator)
            value, _ = loss(plain.train()(batch), y[index])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item())
    torch.set_num_threads(threads)
    model = network()
    records = list(fit(model, loss, x, y, plan, record_every=1))
    assert [r["loss"] for r in records] == losses and [r["step"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert same(model.state_dict(), plain.state_dict())
    assert losses == pytest.approx(LOSSES, abs=1e-4), "the numbers that the loop gave in November 2026"


def test_random_layers_draw_from_the_seed_and_leave_the_users_random_state(tmp_path):
    def net():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 4))

    found = []
    for seed in (3, 3, 4):
        model, state = net(), torch.get_rng_state()
        list(fit(model, loss, *task(), schedule(seed=seed)))
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(5)
        found.append(model.state_dict())
    assert same(found[0], found[1]) and not same(found[0], found[2])
    first = fit(net(), loss, *task(), schedule(), checkpoint=Run(tmp_path).checkpoint("c", "k"))
    next(first), next(first), next(first)
    first.close()
    resumed = net()
    list(fit(resumed, loss, *task(), schedule(), checkpoint=Run(tmp_path).checkpoint("c", "k")))
    assert same(resumed.state_dict(), found[0])


def test_colors_vary_only_if_asked_for():
    x = to_float(task(6)[0])
    plain = augment(x, 0, 0.0, torch.Generator().manual_seed(0))
    colored = augment(x, 0, 0.0, torch.Generator().manual_seed(0), color=0.3)
    assert colored.shape == x.shape and not torch.equal(colored, plain)
    assert colored.min() >= -1 and colored.max() <= 1
    grey = torch.full((2, 3, 4, 4), 0.2)
    bright = augment(grey, 0, 0.0, torch.Generator().manual_seed(0), color=0.5)
    assert torch.allclose(bright, bright[:, :1, :1, :1].expand_as(bright)), (
        "grey stays grey, only its brightness changes"
    )
    assert not torch.allclose(bright[0], bright[1])


# ------------------------------------------------------------------------------------------ no numbers any more


def test_a_loss_that_breaks_between_records_stops_at_its_step(tmp_path):
    steps = []

    def breaks(outputs, labels):
        steps.append(1)
        value, terms = loss(outputs, labels)
        return value * (float("nan") if len(steps) == 8 else 1.0), terms

    model, run = network(), Run(tmp_path)
    options = dict(evaluate=judge, checkpoint=run.checkpoint("c", "k"), record_every=1000)
    with pytest.raises(FloatingPointError) as raised:
        list(fit(model, breaks, *task(80), schedule(), **options))
    told = str(raised.value)
    assert (
        "the loss became nan at step 8 (epoch 2); the checkpoint of epoch 1 is kept, and the weights of epoch 1" in told
    )
    assert "Lower lr (now 0.01)" in told and len(steps) == 8, "no step more"
    tensors, meta = run.checkpoint("c", "k").load()
    assert meta["epoch"] == 1
    assert all(torch.equal(model.state_dict()[name], tensors[f"best.{name}"]) for name in model.state_dict())


def test_a_gpu_is_asked_at_records_only_and_still_tells_the_first_bad_step(monkeypatch):
    asked = []
    monkeypatch.setattr(
        failures.LossWatch, "found", lambda self, plain=failures.LossWatch.found: asked.append(1) or plain(self)
    )
    list(fit(network(), loss, *task(160), schedule(epochs=1), record_every=5))
    assert len(asked) == 10 + 3  # the CPU looks in each of 10 steps; records are made of steps 1, 6 and 10
    watch = failures.LossWatch("cpu", 40)
    for value in (1.0, 2.0, float("-inf"), float("nan"), 1.0):
        watch.see(torch.tensor(value))
    assert watch.found() == (43, float("-inf"))
    watch = failures.LossWatch("cpu")
    watch.see(torch.tensor(3.0))
    assert watch.found() is None


def test_broken_weights_are_not_taken_for_a_finished_epoch(tmp_path):
    """The gradient of √0 is infinite while the loss is 0: weights break after a loss that was a number."""

    def breaks(outputs, labels):
        return loss(outputs, labels)[0] + (outputs[:, 0] * 0).sum().abs().sqrt(), {}

    checkpoint = Run(tmp_path).checkpoint("c", "k")
    with pytest.raises(
        FloatingPointError, match=r"weights became infinite or no numbers at step 1 \(epoch 1\); no epoch"
    ):
        list(fit(network(), breaks, *task(16), schedule(), evaluate=judge, checkpoint=checkpoint))
    assert checkpoint.load() is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((0, True, 0), "no epoch was finished, so nothing is kept"),
        ((2, False, 0), "no checkpoint was asked for, so nothing is kept"),
        ((2, True, 0), "the checkpoint of epoch 2 is kept"),
        ((3, False, 2), "the weights of epoch 2, the best one, are kept"),
    ],
)
def test_what_is_kept_is_told(given, told):
    assert failures.kept(*given) == told


# ------------------------------------------------------------------------------------------ devices


@pytest.mark.parametrize("name", ["cuda:7", "gpu", "meta", "", "cpu:x"])
def test_a_device_that_does_not_exist_is_told_wherever_it_is_named(name):
    told = rf"device='{name}' is not usable here \(.*\); use 'cpu', 'cuda' or 'auto'"
    for call in (
        lambda: resolve_device(name),
        lambda: ClassifierConfig(device=name),
        lambda: predict(network(), task()[0], device=name),
        lambda: next(fit(network(), loss, *task(), schedule(device=name))),
    ):
        with pytest.raises(ValueError, match=told):
            call()


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: unspecified launch failure\nmore"),
        RuntimeError("cuDNN error: EXECUTION_FAILED"),
    ],
)
def test_a_device_that_disappears_says_how_to_go_on(tmp_path, error):
    steps = []

    def breaks(outputs, labels):
        steps.append(1)
        if len(steps) == 4:
            raise error
        return loss(outputs, labels)

    run = Run(tmp_path)
    with pytest.raises(failures.DeviceLost) as raised:
        list(fit(network(), breaks, *task(), schedule(), checkpoint=run.checkpoint("c", "k")))
    told = str(raised.value)
    assert told.startswith(
        f"cpu stopped working at step 4 ({str(error).splitlines()[0]}); the checkpoint of epoch 1 is kept"
    )
    assert "repeat the same command: it goes on" in told and "\n" not in told
    whole, resumed = network(), network()
    list(fit(whole, loss, *task(), schedule()))
    list(fit(resumed, loss, *task(), schedule(), checkpoint=run.checkpoint("c", "k")))
    assert same(whole.state_dict(), resumed.state_dict())


@pytest.mark.parametrize(
    "error, kind",
    [
        (torch.AcceleratorError("CUDA error: gone"), failures.DeviceLost),
        (torch.OutOfMemoryError("full"), failures.OutOfMemory),
    ],
)
def test_a_pass_over_images_tells_what_happened_to_the_device(error, kind):
    class Broken(torch.nn.Module):
        def forward(self, x):
            raise error

    told = rf"^cpu .* while 6 images passed through the network, 4 at a time \({error}\); their outputs are lost"
    with pytest.raises(kind, match=told):
        predict(Broken(), task()[0][:6], batch=4)


def test_other_errors_are_left_as_they_are():
    def breaks(outputs, labels):
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match=r"^size mismatch$"):
        list(fit(network(), breaks, *task(), schedule()))


# ------------------------------------------------------------------------------------------ memory


def test_too_little_memory_names_batch_size_net_and_what_fits():
    model, calls = network(), []
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(failures.OutOfMemory) as raised:
        list(fit(model, small_memory(5, calls), *task(), schedule()))
    told = str(raised.value)
    assert told.startswith("batch=16 images of 8 pixels do not fit into the memory of cpu with SmallCNN (0.0 million")
    assert "batch=4 fits; set that, or auto_batch=True" in told and "no epoch was finished" in told
    assert calls == [16, 8, 4]
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name, _ in model.named_parameters())
    with pytest.raises(failures.OutOfMemory, match="not even two images fit;"):
        list(fit(network(), small_memory(0), *task(), schedule(auto_batch=True)))


def test_training_goes_on_at_half_the_batch_if_asked(tmp_path):
    plan, run = schedule(auto_batch=True), Run(tmp_path)
    model = network()
    records = list(fit(model, small_memory(9), *task(), plan, checkpoint=run.checkpoint("c", "k"), record_every=1))
    assert [r["step"] for r in records] == list(range(1, 13)), "32 images an epoch, now 8 in a step"
    assert {r["batch"] for r in records} == {8} and {r["batch_wanted"] for r in records} == {16}
    assert {r["steps"] for r in records} == {12} and records[-1]["left"] == 0
    peak = max(r["lr"] for r in records)
    assert peak <= 0.01 * batch_factor(8, 16) and peak > 0.8 * 0.01 * batch_factor(8, 16)
    assert "batch 8, since 16 did not fit" in progress(records)

    calls, resumed = [], network()
    first = fit(network(), small_memory(9), *task(), plan, checkpoint=Run(tmp_path / "b").checkpoint("c", "k"))
    next(r for r in first if r["epoch"] == 2)
    first.close()
    again = Run(tmp_path / "b").checkpoint("c", "k")
    list(fit(resumed, small_memory(9, calls), *task(), plan, checkpoint=again))
    assert set(calls) == {8}, "the batch that fits is remembered"
    assert same(resumed.state_dict(), model.state_dict())


def test_memory_that_shrinks_in_the_middle_of_an_epoch_loses_no_image():
    seen, most = [], [16]

    def limited(outputs, labels):
        if len(seen) == 1:
            most[0] = 5
        if len(outputs) > most[0]:
            raise torch.OutOfMemoryError("out of memory")
        seen.append(labels.tolist())
        return loss(outputs, labels % 4)

    images, _ = task(48)
    records = list(
        fit(network(), limited, images, torch.arange(48), schedule(epochs=1, auto_batch=True), record_every=1)
    )
    assert [len(part) for part in seen] == [16] + [4] * 8
    assert sorted(label for part in seen for label in part) == list(range(48)), "every image once"
    assert [r["batch"] for r in records] == [16] + [4] * 8 and records[0]["steps"] == 3


# ------------------------------------------------------------------------------------------ chosen once


def test_the_faster_number_format_is_timed_once_and_kept(tmp_path, monkeypatch):
    timed = []
    monkeypatch.setattr(training_step, "fastest", lambda tries, device: timed.append(list(tries)) or "bfloat16")
    run, plan = Run(tmp_path), schedule(dtype="auto", device="auto")
    first = fit(network(), loss, *task(), plan, checkpoint=run.checkpoint("c", "k"))
    records = [next(first) for _ in range(3)]
    first.close()
    assert timed == [["float32", "bfloat16"]] and {r["dtype"] for r in records} == {"bfloat16"}
    assert {r["device"] for r in records} == {resolve_device("auto")}
    resumed, explicit = network(), network()
    list(fit(resumed, loss, *task(), plan, checkpoint=run.checkpoint("c", "k")))
    assert len(timed) == 1, "going on does not time again"
    list(fit(explicit, loss, *task(), schedule(dtype="bfloat16", device="auto")))
    assert same(resumed.state_dict(), explicit.state_dict()), "timing changes nothing in the network"


def test_timing_leaves_no_trace():
    found = []
    for dtype in ("float32", "auto"):
        model = network()
        records = list(fit(model, loss, *task(), schedule(dtype=dtype)))
        found.append((records[0]["loss"], records[0]["dtype"]))
    assert found[1][1] in ("float32", "bfloat16") and found[0][0] == pytest.approx(found[1][0], abs=0.02)
    assert Schedule().dtype == ClassifierConfig().dtype == "float32"


def test_a_number_format_must_be_clearly_faster_and_possible():
    def impossible():
        raise RuntimeError("no such kernel")

    assert fastest({"float32": lambda: None, "bfloat16": impossible}, "cpu") == "float32"
    with pytest.raises(RuntimeError, match="no such kernel"):
        fastest({"float32": impossible, "bfloat16": lambda: None}, "cpu")


def test_deterministic_algorithms_are_on_inside_only(monkeypatch):
    inside = []

    def looks(outputs, labels):
        inside.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic))
        return loss(outputs, labels)

    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    model, plain = network(), network()
    for _ in fit(model, looks, *task(), schedule(deterministic=True)):
        assert (torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark) == before
    assert set(inside) == {(True, True)}
    list(fit(plain, loss, *task(), schedule()))
    assert same(model.state_dict(), plain.state_dict()), "a CPU computes so anyway"
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with pytest.raises(ValueError, match=r"needs CUBLAS_WORKSPACE_CONFIG=:4096:8 .*set it before Python starts"):
        with deterministic(True, "cuda"):
            pass
    with pytest.raises(ZeroDivisionError), seeded(1), deterministic(True):
        _ = 1 / 0
    assert torch.are_deterministic_algorithms_enabled() == before[0]


def test_training_changes_no_environment():
    before = dict(os.environ)
    list(fit(network(), loss, *task(), schedule(epochs=1, deterministic=True)))
    assert dict(os.environ) == before


# ------------------------------------------------------------------------------------------ compiled, optimizers


def test_a_compiled_network_keeps_the_names_of_its_weights(monkeypatch, tmp_path):
    compiled = []

    def plain_compile(model):
        compiled.append(model)
        return lambda x: model(x)

    monkeypatch.setattr(torch, "compile", plain_compile)
    model, plain, run = network(), network(), Run(tmp_path)
    list(fit(model, loss, *task(), schedule(compile=True), checkpoint=run.checkpoint("c", "k")))
    list(fit(plain, loss, *task(), schedule()))
    assert compiled == [model] and same(model.state_dict(), plain.state_dict())
    assert {f"model.{name}" for name in plain.state_dict()} <= run.checkpoint("c", "k").load()[0].keys()


def test_a_compiled_network_that_is_given_keeps_them_too(tmp_path):
    run, given = Run(tmp_path), torch.compile(network(), backend="eager")  # is compiled when it is called first
    list(fit(given, loss, *task(), schedule(epochs=1), checkpoint=run.checkpoint("c", "k")))
    assert {f"model.{name}" for name in network().state_dict()} <= run.checkpoint("c", "k").load()[0].keys()


def test_a_network_that_cannot_be_compiled_is_told(monkeypatch):
    from torch._dynamo.exc import Unsupported

    def fails(model):
        def call(x):
            raise Unsupported("no compiler was found\nand so on")

        return call

    monkeypatch.setattr(torch, "compile", fails)
    told = (
        r"compile=True: torch.compile cannot compile this network here \(no compiler was found\).*leave compile=False"
    )
    with pytest.raises(RunError, match=told):
        list(fit(network(), loss, *task(), schedule(compile=True)))

    def refuses(model):
        raise RuntimeError("Python 3.99 is not supported")

    monkeypatch.setattr(torch, "compile", refuses)
    with pytest.raises(RunError, match=r"cannot compile this network here \(Python 3.99 is not supported\)"):
        list(fit(network(), loss, *task(), schedule(compile=True)))


def test_the_optimizer_is_one_kernel_on_a_gpu_only():
    assert new_optimizer(network(), schedule(), "cuda").defaults["fused"]
    assert not new_optimizer(network(), schedule(), "cpu").defaults["fused"]
    new_optimizer(network(), schedule(optimizer="rmsprop"), "cuda")


# ------------------------------------------------------------------------------------------ records, processes


def progress(records):
    from shc.charts import training_progress

    return training_progress(records)


def test_records_tell_speed_time_left_and_memory():
    records = list(fit(network(), loss, *task(160), schedule(), evaluate=judge))
    assert [r["step"] for r in records] == [1, 10, 11, 20, 21, 30], "every ten steps, and the end of an epoch"
    left = [r["left"] for r in records]
    assert left[-1] == 0 and all(value > 0 for value in left[:-1])
    assert records[1]["left"] == pytest.approx(2 * records[1]["seconds"])
    assert 2**20 < memory_used("cpu") and all(2**20 < r["memory"] < 2**40 for r in records)
    told = progress(records)
    assert f"loss {records[-1]['loss']:.3f}" in told and " MB of main memory" in told and "images/s" in told
    best = max((r for r in records if r["val"] is not None), key=lambda r: r["val"])
    assert f"best val {best['val']:.3f} (epoch {best['epoch']}, " in told
    assert time_to(records, best["val"]) == best["seconds"] and time_to(records, 1.1) is None
    assert training.RECORD_EVERY["cuda"] == 50


def test_predictions_may_stay_on_the_device():
    model, (x, _) = network(), task()
    assert torch.equal(predict(model, x, keep=True, threads=1), predict(model, x, threads=1))
    assert predict(model, x[:0]).shape == (0, 4)


def test_one_process_takes_the_way_of_many(monkeypatch, tmp_path):
    wrapped = []
    real = nn.parallel.DistributedDataParallel
    monkeypatch.setattr(nn.parallel, "DistributedDataParallel", lambda net: wrapped.append(net) or real(net))
    for name, value in dict(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0, LOCAL_WORLD_SIZE=1).items():
        monkeypatch.setenv(name, str(value))
    group = launch._group
    monkeypatch.setattr(launch, "_group", lambda address, rank, size: group((tmp_path / "meet").as_uri(), rank, size))
    model, alone = network(), network()
    assert launch.launch(lambda: [r["loss"] for r in fit(model, loss, *task(), schedule())], 1)
    list(fit(alone, loss, *task(), schedule()))
    assert wrapped == [model] and same(model.state_dict(), alone.state_dict())


def test_gpus_talk_by_nccl(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    assert [launch.backend_for(n) for n in (0, 1, 2, 3)] == ["gloo", "cpu:gloo,cuda:nccl", "cpu:gloo,cuda:nccl", "gloo"]
