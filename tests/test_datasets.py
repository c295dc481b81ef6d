"""Data sets: splits that keep drawings apart, images that repeat exactly, a cache that can never break a load."""

import errno
import hashlib
import importlib.util
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from shc import datasets
from shc.datasets import cache, emoji, rendering, shapes

SCALE = 0.02  # 2 images per class and split, 9 in the database
NAMES = ("emoji", "shapes")


def load(name="emoji", **options):
    return datasets.load(name, **({"scale": SCALE} | options))


def digest(images):
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A cache folder of the test's own; the once-only warning may come again."""
    monkeypatch.setenv("SHC_CACHE", str(tmp_path / "cache"))
    cache._warn_once.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def no_pixels(monkeypatch):
    """Records without rendering: what the splits hold does not depend on it."""
    monkeypatch.setattr(rendering, "cached_images", lambda _, shape, render: torch.empty(shape, dtype=torch.uint8))


# ------------------------------------------------------------------------------------------------ records


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", datasets.PROTOCOLS)
def test_every_image_stands_in_exactly_one_split(name, protocol, no_pixels):
    images = load(name, protocol=protocol)
    rows = torch.cat(list(images.splits.values()))
    assert torch.equal(rows.sort().values, torch.arange(len(images.images)))
    assert images.images.shape[1:] == (3, 32, 32) and images.images.dtype == torch.uint8
    assert images.labels.dtype == torch.int64 and len(images.labels) == len(images.images)
    for group, values in images.groups.items():
        assert values.dtype == torch.int64 and len(values) == len(images.images)
        assert int(values.max()) < len(images.group_names[group])


@pytest.mark.parametrize("name", NAMES)
def test_full_sizes_are_those_of_the_protocol(name, no_pixels):
    sizes = {split: len(rows) for split, rows in datasets.load(name).splits.items()}
    expected = {"train": 10_000, "val": 2_000, "query": 5_000, "query_seen": 5_000, "database": 45_000}
    if name == "shapes":
        del expected["query_seen"]
    assert sizes == expected


@given(scale=st.floats(1e-6, 1))
def test_scale_shrinks_every_split_to_no_less_than_two_images_per_class(scale):
    for split, full in rendering.PER_CLASS.items():
        assert rendering.per_class(split, scale) == max(2, round(full * scale))


def test_split_gives_the_images_at_its_positions():
    images = load()
    for name, rows in images.splits.items():
        x, y = images.split(name)
        assert torch.equal(x, images.images[rows]) and torch.equal(y, images.labels[rows])
    with pytest.raises(ValueError, match=r"no split 'test'.*train, val, query, query_seen, database"):
        images.split("test")


def test_split_of_scattered_positions():
    images = load()
    scattered = datasets.ImageSet(**(vars(images) | {"splits": {"odd": torch.tensor([5, 1, 3])}}))
    assert torch.equal(scattered.split("odd")[1], images.labels[[5, 1, 3]])


@pytest.mark.parametrize("name", NAMES)
def test_hierarchy_has_twenty_superclasses_of_five(name, no_pixels):
    tree = load(name).hierarchy
    assert tree.height == 2
    assert np.bincount(tree.group_ids()).tolist() == [5] * 20
    assert np.unique(tree.shared_levels()).tolist() == [0, 1, 2]


# ------------------------------------------------------------------------------------------------ protocols


@pytest.mark.parametrize("fold", range(len(emoji.FAMILIES)))
def test_no_drawing_stands_on_both_sides(fold, no_pixels):
    images = load(fold=fold)
    drawn = {split: set(images.groups["drawing"][rows].tolist()) for split, rows in images.splits.items()}
    family_of = {style: family for family, styles in emoji.FAMILIES.items() for style in styles}
    families = {
        split: {family_of[images.group_names["style"][s]] for s in images.groups["style"][rows].unique().tolist()}
        for split, rows in images.splits.items()
    }
    order = list(emoji.FAMILIES)
    assert families["query"] == {order[fold]} and families["val"] == {order[fold - 1]}
    assert families["train"] <= set(order) - families["query"] - families["val"]
    assert families["database"] == set(order) - families["query"] - families["val"]
    assert not drawn["query"] & (drawn["train"] | drawn["val"] | drawn["database"])
    assert not drawn["val"] & (drawn["train"] | drawn["database"])
    assert drawn["query_seen"] <= drawn["train"]


def test_folds_ask_for_every_style_once():
    asked = [style for fold in range(len(emoji.FAMILIES)) for style in emoji.split_styles(fold)["query"]]
    assert sorted(asked) == sorted(emoji.drawings().styles)


@pytest.mark.parametrize("fold", range(len(emoji.FAMILIES)))
def test_missing_drawings_are_never_drawn_and_the_others_take_equal_turns(fold):
    source = emoji.drawings()
    for styles in emoji.split_styles(fold).values():
        labels, drawn = emoji._choose_drawings(np.arange(100), styles, 50, source)
        assert source.present[labels.numpy(), drawn.numpy()].all()
        for label in np.unique(labels):
            turns = np.bincount(drawn[labels == label].numpy(), minlength=10)
            assert turns.sum() == 50 and turns[turns > 0].max() - turns[turns > 0].min() <= 1
    assert not source.present.all()


def test_classes_that_a_held_out_style_lacks_have_no_queries(no_pixels):
    images = load(fold=list(emoji.FAMILIES).index("fxemoji"))
    absent = set(range(100)) - set(images.split("query")[1].tolist())
    assert {images.class_names[label] for label in absent} == {"rabbit face", "hamster", "evergreen tree"}
    assert set(images.split("database")[1].tolist()) == set(range(100))


def test_drawing_and_style_groups_agree():
    images = load()
    drawing, style = images.groups["drawing"], images.groups["style"]
    assert torch.equal(drawing, images.labels * 10 + style)
    first = int(drawing[0])
    assert images.group_names["drawing"][first] == (
        f"{images.class_names[images.labels[0]]}, {images.group_names['style'][style[0]]}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_unseen_classes_are_one_of_each_superclass(name, no_pixels):
    images = load(name, protocol="unseen-classes")
    labels = {split: set(images.split(split)[1].tolist()) for split in images.splits}
    unseen = set(range(100)) - set(images.train_classes.tolist())
    assert labels["train"] == labels["val"] == set(images.train_classes.tolist())
    assert all(labels[split] == unseen for split in labels if split not in ("train", "val"))
    assert sorted(images.hierarchy.group_ids()[sorted(unseen)]) == list(range(20))
    assert load(name).train_classes.tolist() == list(range(100))


def test_seeds_leave_out_every_class_once():
    superclass = np.arange(100) // 5
    left_out = np.concatenate([rendering.unseen_classes(superclass, seed) for seed in range(5)])
    assert sorted(left_out.tolist()) == list(range(100))


# ------------------------------------------------------------------------------------------------ repeatability


@pytest.mark.parametrize("name", NAMES)
def test_same_parameters_give_the_same_images(name, empty_cache):
    threads = torch.get_num_threads()
    first = load(name, size=16)
    for file in empty_cache.iterdir():
        file.unlink()
    second = load(name, size=16)
    assert torch.equal(first.images, second.images) and first.fingerprint == second.fingerprint
    assert torch.get_num_threads() == threads


def test_renders_do_not_depend_on_the_number_of_threads():
    sprites = torch.from_numpy(emoji.drawings().sprites[:, 0])
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(
                digest(emoji.render(sprites, 32, Generator().manual_seed(0)))
                + digest(shapes.render(torch.arange(100), 32, Generator().manual_seed(0)))
            )
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_a_split_does_not_depend_on_the_sizes_of_the_others(empty_cache, monkeypatch):
    small = load(size=16)
    monkeypatch.setitem(rendering.PER_CLASS, "train", 150)
    larger = load(size=16)
    assert len(larger.splits["train"]) > len(small.splits["train"])
    for split in ("val", "query", "query_seen", "database"):
        assert torch.equal(small.split(split)[0], larger.split(split)[0])


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"scale": 0.03}, {"size": 16}, {"fold": 1}, {"protocol": "unseen-classes"}], ids=str
)
def test_every_parameter_changes_the_fingerprint(change, no_pixels):
    assert load(**change).fingerprint != load().fingerprint


def test_fingerprint_knows_the_renderer_the_drawings_and_the_splits(monkeypatch, tmp_path, no_pixels):
    found = [load().fingerprint, load().fingerprint]
    assert found[0] == found[1]
    with monkeypatch.context() as patch:
        patch.setattr(emoji, "RENDERER", "emoji renderer 0")
        found.append(load().fingerprint)
    with monkeypatch.context() as patch:
        (tmp_path / emoji.FILE).write_bytes((datasets.DATA_FOLDER / emoji.FILE).read_bytes() + b" ")
        patch.setattr(emoji, "DATA_FOLDER", tmp_path)
        found.append(load().fingerprint)
    with monkeypatch.context() as patch:
        patch.setitem(rendering.PER_CLASS, "val", 400)
        found.append(load().fingerprint)
    assert len(set(found)) == 4


def test_seed_changes_the_images_and_query_seen_is_not_a_copy_of_train():
    images, other = load(size=16), load(size=16, seed=1)
    assert not torch.equal(images.images, other.images)
    train, seen = images.split("train")[0], images.split("query_seen")[0]
    assert not (train[:50].flatten(1) == seen[:50].flatten(1)).all(1).any()


# ------------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("size", [16, 32, 33, 64])
def test_renders_have_the_size_asked_for(size):
    sprites = torch.from_numpy(emoji.drawings().sprites[:3, 0])
    for images in (
        emoji.render(sprites, size, Generator()),
        shapes.render(torch.tensor([0, 50, 99]), size, Generator()),
    ):
        assert images.shape == (3, 3, size, size)
        assert 0 <= float(images.min()) and float(images.max()) <= 1
        assert float(images.std()) > 0.05


def test_without_hardness_a_drawing_keeps_its_outline():
    sprites = torch.from_numpy(emoji.drawings().sprites[:20, 0])
    first, second = (emoji.render(sprites, 64, Generator().manual_seed(seed), hardness=0) for seed in (0, 1))
    alpha = sprites[..., 3].float() / 255
    inside, outside = alpha == 1, alpha == 0
    # both renders show the drawing where it was (or mirrored), with a background drawn anew
    mirrored = torch.stack([inside, inside.flip(2)], 1)
    changes = (first - second).abs().mean(1)
    backgrounds = changes[outside & outside.flip(2)].mean()
    drawing = changes[mirrored.all(1)].mean()
    assert drawing < 0.75 * backgrounds


def test_a_transparent_drawing_shows_only_the_background():
    clear = torch.zeros(4, 64, 64, 4, dtype=torch.uint8)
    white = clear.clone()
    white[..., :3] = 255  # the color of transparent pixels must not matter
    a, b = (emoji.render(x, 32, Generator().manual_seed(0)) for x in (clear, white))
    assert torch.equal(a, b)


def test_noise_and_blur_follow_their_shares():
    images = torch.rand(40, 3, 32, 32, generator=Generator().manual_seed(0))
    assert torch.equal(rendering.blur_some(images, 0.0, Generator()), images)
    blurred = rendering.blur_some(images, 1.0, Generator())
    expected = images[0, 0, 9:12, 4:7].mean()
    assert torch.isclose(blurred[0, 0, 10, 5], expected)
    assert torch.equal(rendering.add_noise(images, 0.0, Generator()), images)


def test_rgb_against_the_standard_library():
    import colorsys

    hsv = torch.rand(3, 50, generator=Generator().manual_seed(0))
    expected = [colorsys.hsv_to_rgb(*column) for column in hsv.T.tolist()]
    assert torch.allclose(shapes.rgb(*hsv)[..., 0, 0], torch.tensor(expected), atol=1e-6)


def test_by_kind_applies_each_function_to_its_own_rows():
    kind, values = torch.tensor([1, 0, 1, 2]), torch.arange(4.0)[:, None, None].expand(4, 2, 2)
    result = shapes.by_kind(kind, (lambda x: x, lambda x: 10 * x, lambda x: -x), values)
    assert result[:, 0, 0].tolist() == [0, 1, 20, -3]


# ------------------------------------------------------------------------------------------------ known similarities


def test_shapes_similarity_is_the_weighted_overlap_of_attributes():
    attributes, names = shapes.attributes(), shapes.class_names()
    weights = np.repeat(shapes.WEIGHTS, (5, 4, 5))
    np.testing.assert_allclose(shapes.class_similarity(), (attributes * weights) @ attributes.T)
    assert attributes.sum(1).tolist() == [3] * 100 and len(set(names)) == 100
    a, b = names.index("striped star with a disc"), names.index("striped star with a ring")
    assert shapes.class_similarity()[a, b] == pytest.approx(0.8)


def test_shapes_similarity_agrees_with_the_tree():
    images = load("shapes")
    shared, similarity = images.hierarchy.shared_levels(), images.class_similarity
    assert similarity[shared == 2].min() == 1
    assert similarity[shared == 1].min() > similarity[shared == 0].max()
    assert np.array_equal(similarity, similarity.T)


def test_fineness_tells_no_emblem():
    fineness = np.array(shapes.FINENESS)
    assert all(sorted(row) == [0, 1, 2, 3, 4] for row in fineness.tolist())
    assert all(len(set(column)) >= 3 for column in fineness.T.tolist())


@pytest.mark.parametrize("name", ["emoji", "cifar100"])
def test_class_name_embeddings_are_unit_vectors(name):
    vectors = datasets.class_name_embeddings(name)
    assert vectors.shape == (100, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_class_name_embeddings_follow_the_class_names():
    archive = datasets.read_archive("class_name_embeddings.npz")
    assert archive["emoji_names"].tolist() == load().class_names
    vectors = datasets.class_name_embeddings("emoji")
    names = load().class_names
    near = {a: names[int(np.argsort(-vectors @ vectors[names.index(a)])[1])] for a in ("red apple", "taxi")}
    assert near["taxi"] in ("police car", "automobile", "bus")
    assert near["red apple"] in ("peach", "tangerine", "strawberry", "grapes")
    with pytest.raises(ValueError, match=r"no class-name embeddings for 'shapes', only for cifar100 and emoji"):
        datasets.class_name_embeddings("shapes")


# ------------------------------------------------------------------------------------------------ cache


PIXELS = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).view(4, 3, 2, 2)


def keep(name="a", render=lambda: PIXELS.clone()):
    return cache.cached_images(name * 64, tuple(PIXELS.shape), render)


def test_second_load_reads_the_cache(empty_cache, monkeypatch):
    first = load(size=16)
    assert [file.suffix for file in empty_cache.iterdir()] == [".npy"]
    monkeypatch.setattr(emoji, "render", lambda *_: pytest.fail("rendered again"))
    assert torch.equal(load(size=16).images, first.images)


@pytest.mark.parametrize("damage", ["truncate", "empty", "text", "pickle", "shape"])
def test_damaged_cache_is_rendered_anew(damage, empty_cache):
    keep()
    (file,) = empty_cache.iterdir()
    content = file.read_bytes()
    replacement = {"truncate": content[:-7], "empty": b"", "text": b"not an array"}
    if damage in replacement:
        file.write_bytes(replacement[damage])
    else:
        np.save(file, np.array([{}]) if damage == "pickle" else np.zeros((3, 3), np.uint8), allow_pickle=True)
    assert torch.equal(keep(), PIXELS)
    assert file.read_bytes() == content


def test_writing_to_cached_images_does_not_reach_the_file(empty_cache):
    keep()
    keep(render=lambda: pytest.fail("rendered again")).zero_()
    assert torch.equal(keep(), PIXELS)


def test_unusable_cache_folder_warns_once_and_loads(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHC_CACHE", str(tmp_path / "file" / "cache"))
    cache._warn_once.cache_clear()
    with pytest.warns(UserWarning, match="will be rendered again at the next load; set SHC_CACHE to a writable folder"):
        assert torch.equal(keep(), PIXELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(keep(), PIXELS)


def test_full_disk_warns_and_leaves_nothing_behind(empty_cache, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_save", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert torch.equal(keep(), PIXELS)
    assert list(empty_cache.iterdir()) == []


def test_cache_drops_what_was_used_longest_ago(empty_cache, monkeypatch):
    for age, name in enumerate("cba", start=1):  # a is the oldest
        keep(name)
        file = next(empty_cache.glob(f"images-{name}*"))
        os.utime(file, (file.stat().st_mtime - 100 * age,) * 2)
    keep("a")  # used again, so b is the oldest
    monkeypatch.setattr(cache, "MAX_BYTES", 3 * file.stat().st_size)
    keep("d")
    assert sorted(file.name[7] for file in empty_cache.iterdir()) == ["a", "c", "d"]


def test_cache_folder_is_the_users_own_without_the_variable(monkeypatch):
    import platformdirs

    monkeypatch.delenv("SHC_CACHE")
    assert cache.cache_folder() == platformdirs.user_cache_path("shc")
    monkeypatch.setenv("SHC_CACHE", "~/images")
    assert cache.cache_folder() == Path.home() / "images"


# ------------------------------------------------------------------------------------------------ registry and errors


def test_available_describes_every_data_set():
    known = datasets.available()
    assert set(NAMES) <= set(known)
    assert known["emoji"].startswith("EmojiStyles-100") and known["shapes"].startswith("SynthShapes-100")


def test_a_new_file_is_a_new_data_set(tmp_path, monkeypatch):
    (tmp_path / "dice.py").write_text(
        "from shc.datasets import dataset\n"
        "@dataset('dice')\n"
        "def dice(options):\n"
        "    '''Six faces.'''\n"
        "    return options\n"
    )
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(tmp_path)])
    monkeypatch.setattr(datasets, "_REGISTRY", dict(datasets._REGISTRY))
    assert datasets.load("dice", seed=3).seed == 3
    assert datasets.available()["dice"] == "Six faces."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "emojis"}, r"'emojis' is unknown; did you mean 'emoji'\? Known data sets: emoji, "),
        ({"name": "cifar"}, r"'cifar' is unknown\. Known data sets: emoji, "),
        ({"scale": 0}, r"scale=0\.0 must be above 0 and at most 1"),
        ({"scale": 1.5}, r"scale=1\.5 must be above 0 and at most 1"),
        ({"scale": float("nan")}, r"scale=nan must be above 0"),
        ({"scale": "half"}, r"scale='half' must be a number"),
        ({"size": 8}, r"size=8 must lie between 16 and 256 pixels"),
        ({"size": 32.0}, r"size=32\.0 must be a whole number, not float"),
        ({"seed": True}, r"seed=True must be a whole number, not bool"),
        ({"fold": 6}, r"fold=6 does not exist: emoji has 0 to 5 .*noto, emojione, fluent, twemoji, fxemoji, openmoji"),
        ({"fold": -1}, r"fold=-1 does not exist"),
        ({"name": "shapes", "fold": 1}, r"fold=1 does not exist: shapes has only fold 0"),
        ({"protocol": "open"}, r"protocol='open' is unknown to emoji; choose closed or unseen-classes"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        load(**options)


@pytest.mark.parametrize("state", ["missing", "damaged"])
def test_missing_or_damaged_drawings_say_what_to_do(state, tmp_path, monkeypatch):
    if state == "damaged":
        content = (datasets.DATA_FOLDER / emoji.FILE).read_bytes()
        (tmp_path / emoji.FILE).write_bytes(content[:1000] + bytes(1000) + content[2000:])
    monkeypatch.setattr(datasets, "DATA_FOLDER", tmp_path)
    with pytest.raises(ValueError, match=rf"emoji_styles\.npz is {state}.*install the package again"):
        load()


@settings(max_examples=30)
@given(seed=st.integers(-(2**70), 2**70), split=st.sampled_from(list(rendering.PER_CLASS)))
def test_every_whole_number_is_a_seed(seed, split):
    draws = [torch.rand(4, generator=rendering.stream(s, split)) for s in (seed, seed, seed + 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


# ------------------------------------------------------------------------------------------------ sources


def test_build_script_knows_every_drawing_of_the_file():
    file = Path(__file__).parent.parent / "tools" / "build_emoji.py"
    spec = importlib.util.spec_from_file_location("build_emoji", file)
    build_emoji = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build_emoji)
    source, classes = emoji.drawings(), build_emoji.class_list()
    assert [name for name, _, _ in classes] == source.class_names
    assert [codepoint for _, codepoint, _ in classes] == source.codepoints
    assert [group for _, _, group in classes] == source.superclass.tolist()
    assert list(build_emoji.PACKAGES) == source.styles and list(build_emoji.CLASSES) == source.superclass_names
    icons = [[build_emoji.icon_name(style, name, code) for style in source.styles] for name, code, _ in classes]
    assert np.array_equal(np.not_equal(icons, None), source.present)
    assert (source.sprites[source.present][..., 3].max((1, 2)) > 0).all()


def test_every_style_has_its_license_notice():
    notices = (datasets.DATA_FOLDER / "EMOJI_LICENSES.md").read_text(encoding="utf-8")
    assert all(f"| `{style}` |" in notices for style in emoji.drawings().styles)
    assert (datasets.DATA_FOLDER / "APACHE-2.0.txt").exists() and "Copyright (c) Microsoft Corporation" in notices
