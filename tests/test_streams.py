"""Images in files, or held small: as good as one tensor of them, in what an index gives and what networks learn."""

import gc
import resource
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from shc.datasets import ImageSet, reading, streams
from shc.datasets.streams import FileImages, LazyImages, ahead, images_of_files, packed
from shc.methods import Task
from shc.runs import RunError
from shc.schedule import Schedule
from shc.training import fit, predict

SIZE, COUNT = 16, 150


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """150 pictures of 20 × 15 noisy pixels, in four colors that take turns."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    colors = np.array([[230, 30, 30], [30, 230, 30], [30, 30, 230], [200, 200, 30]])
    made = []
    for i in range(COUNT):
        made.append(folder / f"{i:03d} ü.png")
        pixels = colors[i % 4] + rng.integers(-25, 25, (15, 20, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(made[-1])
    return made


@pytest.fixture(params=["files", "colors", "grey"])
def pair(request, files, monkeypatch):
    """The same images twice: as a tensor, and in their files, or held at 12 pixels in three channels or one."""

    def images():
        if request.param == "files":
            return images_of_files(files, SIZE, "pair")
        held = images_of_files(files, 12, "held").numpy()
        return reading.resized(held if request.param == "colors" else held[:, :1], SIZE, "pair")

    tensor = images()
    monkeypatch.setattr(streams, "LIMIT", tensor.numel() - 1)
    lazy = images()
    assert isinstance(tensor, torch.Tensor) and isinstance(lazy, LazyImages)
    return tensor, lazy


@pytest.fixture
def decoded(files, monkeypatch):
    """The images in their files."""
    monkeypatch.setattr(streams, "LIMIT", 0)
    return images_of_files(files, SIZE, "pair")


def test_what_fits_is_one_tensor_and_kept(files, monkeypatch):
    first = images_of_files(files, SIZE, "kept")
    assert first.shape == (COUNT, 3, SIZE, SIZE) and first.dtype == torch.uint8
    monkeypatch.setattr(streams, "read_image", None)  # nothing is decoded again
    assert torch.equal(images_of_files(files, SIZE, "kept"), first)
    with pytest.raises(TypeError):
        images_of_files(files, SIZE, "another source")


def test_what_was_shown_is_not_decoded_again(decoded, monkeypatch):
    monkeypatch.setattr(streams, "LIMIT", 2**20)
    first = decoded[[4, 9]]
    assert sorted(decoded.kept) == [4, 9]
    with monkeypatch.context() as patch:
        patch.setattr(streams, "read_image", None)
        assert torch.equal(decoded.only([9, 4])[[1, 0, 1]], first[[0, 1, 0]])  # by another choice of the same images
        with pytest.raises(TypeError):
            decoded[[4, 5]]
    monkeypatch.setattr(streams, "KEPT", 3 * first[0].numel())
    for row in (20, 21, 22, 23):
        assert torch.equal(decoded[row], decoded.only([row])[0])
    assert len(decoded.kept) <= 4 and 4 not in decoded.kept  # the oldest go
    monkeypatch.setattr(streams, "SHOWN", 5)
    before = dict(decoded.kept)
    decoded[:6]
    assert decoded.kept.keys() == before.keys()  # so many are not for the eye


INDICES = [
    0,
    -1,
    np.int64(7),
    slice(3, 90),
    slice(None, None, 40),
    slice(5, 5),
    [4, 2, 2],
    [],
    np.array([[1, 9], [149, -150], [9, 9]]),
    torch.tensor([5, 3]),
    torch.tensor(6),
    torch.arange(12).reshape(2, 3, 2),
    torch.arange(COUNT) % 50 == 3,
    np.arange(COUNT) % 50 == 3,
    torch.zeros(COUNT, dtype=torch.bool),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_an_index_gives_what_a_tensor_gives(pair, index):
    tensor, streamed = pair
    wanted = tensor[torch.as_tensor(index, dtype=torch.int64) if isinstance(index, list) else index]
    assert torch.equal(streamed[index], wanted)
    if wanted.ndim == 4:
        assert torch.equal(streamed.only(index)[:], wanted)


def test_it_passes_for_a_tensor(pair):
    tensor, streamed = pair
    assert (len(streamed), streamed.shape, streamed.ndim, streamed.dtype) == (
        COUNT, tensor.shape, tensor.ndim, tensor.dtype,
    )  # fmt: skip
    assert torch.equal(streamed.to("cpu")[:5], tensor[:5])
    assert "150, 3, 16, 16" in repr(streamed)
    assert torch.equal(torch.stack(list(streamed.only([3, 1]))), tensor[[3, 1]])
    assert torch.equal(streamed.only(slice(10, 60)).only([4, 0])[:], tensor[[14, 10]])


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda x: x[150], IndexError, "out of bounds"),
        (lambda x: x[:, 0], IndexError, "along their first axis only"),
        (lambda x: x[None], IndexError, "along their first axis only"),
        (lambda x: x[torch.ones(4, dtype=torch.bool)], IndexError, "boolean index"),
        (lambda x: x[1.5], IndexError, "must be of integer"),
        (np.asarray, TypeError, r"no array; index the images that are needed, e\.g\. x\[:10\]"),
        (lambda x: x[:], ValueError, r"150 images of 16 pixels would take .* GB at once; .*\.only\(rows\)"),
    ],
)
def test_what_would_decode_too_much_or_differently_is_refused(pair, use, error, message):
    with pytest.raises(error, match=message):
        use(pair[1])


def test_a_split_of_them_is_not_made(pair, monkeypatch):
    splits = {"train": torch.arange(40, 100), "query": torch.tensor([7, 3, 140])}
    about = dict(name="x", labels=torch.arange(COUNT), class_names=[], hierarchy=None, splits=splits, fingerprint="")
    whole, lying = (ImageSet(images=x, train_classes=torch.arange(4), **about) for x in pair)
    monkeypatch.setattr(type(pair[1]), "_pieces", None)
    views = {name: lying.split(name) for name in splits}
    assert all(isinstance(x, LazyImages) and len(x) == len(splits[name]) for name, (x, _) in views.items())
    monkeypatch.undo()
    for name, (x, y) in views.items():
        assert torch.equal(x[:], whole.split(name)[0]) and torch.equal(y, whole.split(name)[1])


# ------------------------------------------------------------------------------------------ ahead


@pytest.mark.parametrize("count", [0, 1, 2])
def test_batches_come_in_the_given_order(pair, monkeypatch, count):
    tensor, streamed = pair
    monkeypatch.setattr(streams, "workers", lambda: count)
    parts = [torch.tensor([9, 4]), torch.arange(100), torch.empty(0, dtype=torch.int64), torch.arange(60, 20, -1)]
    for found, part in zip(streamed.batches(parts), parts, strict=True):
        assert torch.equal(found, tensor[part])


def test_workers_draw_no_random_numbers(decoded):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert len(list(decoded.batches(torch.arange(COUNT).split(20)))) == 8
    assert torch.equal(torch.get_rng_state(), before)


def _third_fails(number):
    if number == 3:
        raise RunError("the third is broken")
    return np.full(2, number)


def test_results_before_an_error_come_and_the_error_keeps_its_message():
    results = ahead(_third_fails, range(10))
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RunError, match=r"^the third is broken$"):
        next(results)


def test_a_process_that_may_not_start_others_decodes_itself(monkeypatch):
    monkeypatch.setattr(streams.multiprocessing, "current_process", lambda: type("P", (), {"daemon": True}))
    assert streams.workers() == 0
    assert list(ahead(abs, range(-5, 0))) == [5, 4, 3, 2, 1]


def test_a_file_that_is_gone_is_named(tmp_path):
    names = [tmp_path / f"{i}.png" for i in range(100)]
    for name in names:
        Image.new("RGB", (4, 4)).save(name)
    images = FileImages(packed(names), SIZE)
    names[70].unlink()
    with pytest.raises(RunError, match=r"70\.png cannot be read \(No such file or directory\); put it back"):
        predict(nn.Flatten(), images)


# ------------------------------------------------------------------------------------------ networks


def network():
    """Convolution, batch norm and dropout: everything in it would show another order or other draws."""
    torch.manual_seed(1)
    layers = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2)
    return nn.Sequential(*layers, nn.Linear(8 * 7 * 7, 4))


def loss(outputs, labels):
    return nn.functional.cross_entropy(outputs, labels), {}


def numbers(records):
    return [
        {k: v for k, v in r.items() if k not in ("seconds", "images_per_second", "left", "memory")} for r in records
    ]


def test_training_and_prediction_give_the_same_numbers(pair):
    labels, found = torch.arange(COUNT) % 4, []
    for images in pair:
        net = network()
        judge = lambda model, x=images: (predict(model, x, threads=1).argmax(1) == labels).float().mean().item()
        records = numbers(fit(net, loss, images, labels, Schedule(epochs=2, batch=40, threads=1), evaluate=judge))
        found.append((records, predict(net, images, threads=1, batch=70), net.state_dict()))
    (records, outputs, weights), (again, same_outputs, same_weights) = found
    assert records == again and len(records) == 3
    assert torch.equal(outputs, same_outputs)
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)


def test_each_process_of_a_group_makes_its_part_of_the_batches(pair, monkeypatch):
    from shc import launch

    class Second(launch.Ranks):
        """The second of two processes; it sees its own outputs only."""

        def wrap(self, model):
            return model

        def gather(self, outputs):
            return outputs.repeat(2, 1)

        def agree(self, value, device):
            return value

        def share_buffers(self, model):
            pass

    monkeypatch.setattr(launch, "ranks", lambda: Second(1, 2))
    asked, batches = [], LazyImages.batches

    def noted(self, parts):
        asked.extend(map(len, parts))
        return batches(self, parts)

    monkeypatch.setattr(LazyImages, "batches", noted)
    schedule = Schedule(epochs=1, batch=40, threads=1)
    first, second = (numbers(fit(network(), loss, x, torch.arange(COUNT) % 4, schedule)) for x in pair)
    assert first == second and asked == [20, 20, 20]


def test_stopping_in_an_epoch_leaves_no_processes(decoded):
    import multiprocessing

    records = fit(network(), loss, decoded, torch.arange(COUNT) % 4, Schedule(epochs=3, batch=20), record_every=1)
    next(records)
    assert multiprocessing.active_children()
    records.close()
    gc.collect()
    assert not multiprocessing.active_children()


def test_methods_that_look_at_images_take_lazy_ones(pair):
    from shc.methods import udmsh
    from shc.models import Hasher, SmallCNN

    found = []
    for images in pair:
        torch.manual_seed(0)
        method = udmsh.UDMSH(axes=4)
        model = Hasher(SmallCNN(8), 8, method.head(SmallCNN(8).dim, 8, 4))
        features = lambda net=model.backbone, x=images: predict(net, x)
        task = Task(bits=8, classes=4, labels=torch.arange(COUNT), seed=0, images=images, features=features)
        found.append(method.targets(task, model).state_dict())
    assert found[0] and all(torch.equal(found[0][name], found[1][name]) for name in found[0])


# ------------------------------------------------------------------------------------------ memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch):
    """8,000 images of 64 pixels are 98 MB as a tensor; streaming them may add a fraction of that."""
    content = tmp_path / "one.jpg"
    Image.new("RGB", (64, 64), (200, 30, 90)).save(content)
    names = [tmp_path / f"{i}.jpg" for i in range(8_000)]
    for name in names:
        name.hardlink_to(content)
    monkeypatch.setattr(streams, "LIMIT", 2**20)
    images, held = images_of_files(names, 64, "many"), []
    net = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(192, 10))
    net.register_forward_hook(lambda *_: held.append(resident()))
    predict(net, images, batch=128)
    assert len(held) == 63 and held[-1] - held[3] < 48 * 2**20  # what the allocator keeps is a matter of luck
    held.clear()
    assert list(fit(net, loss, images, torch.arange(8_000) % 4, Schedule(epochs=1, batch=128)))
    assert len(held) == 62 and held[-1] - held[3] < 48 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_that_grow_are_held_small(monkeypatch, tmp_path, channels):
    """60,000 images of 256 pixels would be 11.8 GB: none of it is kept, in memory or in the cache folder."""
    monkeypatch.setenv("SHC_CACHE", str(tmp_path))
    small = np.random.default_rng(0).integers(0, 256, (60_000, channels, 4, 4), dtype=np.uint8)
    before = resident()
    images = reading.resized(small, 256, "many")
    assert images.nbytes == 60_000 * 3 * 256**2 and np.shares_memory(images.held.numpy(), small)
    net = nn.Sequential(nn.AvgPool2d(64), nn.Flatten())
    assert predict(net, images.only(slice(0, 600)), batch=100).shape == (600, 48)
    assert images[[59_999, 7]].shape == (2, 3, 256, 256)
    assert resident() - before < 300 * 2**20 and not list(tmp_path.iterdir())


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
