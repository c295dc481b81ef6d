"""Pictures whose color tells class and part, for tests of data sets: wrong labels or splits show in the pixels."""

import colorsys
import shutil

import numpy as np
from PIL import Image


def color(label, test=False):
    """A hue per class (up to 8), dark for test pictures."""
    return tuple(round(255 * x) for x in colorsys.hsv_to_rgb(label / 8, 1, 0.5 if test else 1.0))


def save_picture(file, label, test=False):
    """Write a plain picture, wider than high as photographs are."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 16), color(label, test)).save(file, quality=95)


def shown(images):
    """(label, test?) that every image [N, 3, S, S] shows at its center."""
    known = [(label, test) for test in (False, True) for label in range(8)]
    colors = np.array([color(*each) for each in known])
    side = images.shape[-1] // 2
    seen = images[:, :, side, side].numpy().astype(int)
    return [known[i] for i in ((seen[:, None] - colors[None]) ** 2).sum(-1).argmin(1)]


def check_pictures(images):
    """Every image shows its label (one class per image); returns which are test pictures, bool [N]."""
    labels, test = zip(*shown(images.images), strict=True)
    assert list(labels) == images.labels.tolist()
    return np.array(test)


def replace_picture(file, label, test=False):
    """Write another picture in the place of one, with as many bytes: what stands behind a JPEG's end is not read."""
    size = max(file.stat().st_size, 2000)
    save_picture(file, label, test)
    file.write_bytes(file.read_bytes().ljust(size, b"\0"))


def check_replaced(load, root, file, row, copy):
    """A picture of the same size is seen, and is no reason for another fingerprint; nor is another place and time."""
    replace_picture(file, 7)
    before = load(root)
    replace_picture(file, 6)
    after, copied = load(root), load(shutil.copytree(root, copy, copy_function=shutil.copyfile))
    assert shown(before.images)[row][0] == 7 and shown(after.images)[row][0] == 6
    assert shown(copied.images) == shown(after.images)
    assert before.fingerprint == after.fingerprint == copied.fingerprint
    assert len({before.state, after.state, copied.state}) == 3  # caches of features go by it
