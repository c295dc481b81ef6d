"""Rebuild shc/datasets/data/emoji_styles.npz: one hundred emoji in ten styles, rasterized to 64 × 64 RGBA.

The drawings come from npm packages (PACKAGES); resvg draws the SVG ones. In an empty folder outside the repository:

    npm pack $(python REPOSITORY/tools/build_emoji.py --packages)
    python -m venv venv && venv/bin/pip install numpy==2.4.6 pillow==13.0.0 resvg-py==0.5.0
    venv/bin/python REPOSITORY/tools/build_emoji.py .            # compare with the embedded file
    venv/bin/python REPOSITORY/tools/build_emoji.py . --write    # replace it

Changing the file changes the fingerprint of the data set, so runs made with the old one no longer fit.
"""

import argparse
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).parent.parent / "shc" / "datasets" / "data" / "emoji_styles.npz"
SIZE = 64
# Style → npm package and version, in the order of the file's second axis.
PACKAGES = {
    "noto": "@iconify-json/noto@1.2.9",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "emojione": "@iconify-json/emojione@1.2.3",
    "emojione-v1": "@iconify-json/emojione-v1@1.2.3",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "fluent-emoji-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "noto-v1": "@iconify-json/noto-v1@1.2.5",
    "openmoji": "@iconify-json/openmoji@1.2.29",
    "fluent-emoji": "@iconify-json/fluent-emoji@1.2.7",
    "fluent-3d": "@lobehub/fluent-emoji-3d@1.1.0",
}
# Super-class → its five classes, each a Unicode name and code point.
CLASSES = {
    "farm animals": "horse face 1f434, cow face 1f42e, pig face 1f437, ewe 1f411, goat 1f410",
    "wild mammals": "tiger face 1f42f, bear 1f43b, panda 1f43c, koala 1f428, elephant 1f418",
    "pets and rodents": "dog face 1f436, cat face 1f431, rabbit face 1f430, mouse face 1f42d, hamster 1f439",
    "birds": "rooster 1f413, baby chick 1f424, penguin 1f427, bird 1f426, dove 1f54a",
    "bugs": "snail 1f40c, ant 1f41c, honeybee 1f41d, lady beetle 1f41e, bug 1f41b",
    "sea animals": "whale 1f40b, dolphin 1f42c, tropical fish 1f420, octopus 1f419, blowfish 1f421",
    "flowers": "cherry blossom 1f338, rose 1f339, hibiscus 1f33a, sunflower 1f33b, tulip 1f337",
    "trees and plants": "evergreen tree 1f332, deciduous tree 1f333, palm tree 1f334, cactus 1f335, herb 1f33f",
    "fruit": "tangerine 1f34a, red apple 1f34e, peach 1f351, strawberry 1f353, grapes 1f347",
    "prepared food": "bread 1f35e, hamburger 1f354, french fries 1f35f, pizza 1f355, poultry leg 1f357",
    "sweets": "soft ice cream 1f366, doughnut 1f369, birthday cake 1f382, shortcake 1f370, lollipop 1f36d",
    "drinks": "hot beverage 2615, wine glass 1f377, cocktail glass 1f378, beer mug 1f37a, tropical drink 1f379",
    "sport balls": "soccer ball 26bd, baseball 26be, basketball 1f3c0, american football 1f3c8, tennis 1f3be",
    "musical instruments": "saxophone 1f3b7, trumpet 1f3ba, guitar 1f3b8, musical keyboard 1f3b9, violin 1f3bb",
    "clothing": "t-shirt 1f455, jeans 1f456, dress 1f457, kimono 1f458, necktie 1f454",
    "shoes and bags": "running shoe 1f45f, high-heeled shoe 1f460, woman’s boot 1f462, handbag 1f45c, backpack 1f392",
    "road vehicles": "automobile 1f697, taxi 1f695, police car 1f693, bus 1f68c, delivery truck 1f69a",
    "trains": "locomotive 1f682, train 1f686, metro 1f687, tram 1f68a, light rail 1f688",
    "buildings": "house 1f3e0, hospital 1f3e5, school 1f3eb, factory 1f3ed, castle 1f3f0",
    "faces": "grinning face 1f600, crying face 1f622, angry face 1f620, sleeping face 1f634, "
    "smiling face with sunglasses 1f60e",
}
# Icons whose name in a package is not the class name; None where the style has no such drawing.
_FACES = {"bear": "bear-face", "panda": "panda-face", "hamster": "hamster-face"}
OTHER_NAMES: dict[str, dict[str, str | None]] = {
    "emojione": dict(_FACES),
    "emojione-v1": dict(_FACES),
    "fluent-3d": {"dove": "1f54a-fe0f"},
    "fxemoji": {
        "pig face": "pig",
        "ewe": "sheep",
        "tiger face": "tiger",
        "panda": "pandaface",
        "dog face": "dog",
        "cat face": "cat",
        "rabbit face": None,
        "mouse face": "mouse",
        "hamster": None,
        "dove": "doveofpeace",
        "evergreen tree": None,
        "pizza": "sliceofpizza",
        "basketball": "basketballandhoop",
        "tennis": "tennisball",
        "t-shirt": "mansshirt",
        "necktie": "tie",
        "running shoe": "mensshoe",
        "high-heeled shoe": "heels",
        "woman’s boot": "boot",
        "backpack": "schoolsatchel",
        "locomotive": "steamlocomotive",
        "house": "housebuilding",
        "castle": "europeancastle",
        "grinning face": "grin",
        "crying face": "crying",
        "angry face": "angry",
        "sleeping face": "sleeping",
        "smiling face with sunglasses": "sunglasses",
    },
}


def class_list() -> list[tuple[str, str, int]]:
    """Name, code point and super-class of every class."""
    return [
        (*entry.rsplit(" ", 1), group)  # type: ignore[misc]
        for group, line in enumerate(CLASSES.values())
        for entry in line.split(", ")
    ]


def icon_name(style: str, name: str, codepoint: str) -> str | None:
    """How the style's package calls a class; None if it has no such drawing."""
    if name in OTHER_NAMES.get(style, {}):
        return OTHER_NAMES[style][name]
    if style == "fluent-3d":
        return codepoint
    return name.replace("’", "").replace(" ", "" if style == "fxemoji" else "-")


def draw_style(style: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """All drawings of a style from its package: uint8 [classes, 64, 64, 4] and bool [classes], whether it exists."""
    package, _, version = PACKAGES[style].rpartition("@")
    file = folder / f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if not file.exists():
        sys.exit(f"{file} is missing; fetch it with: npm pack {PACKAGES[style]}")
    classes = class_list()
    sprites = np.zeros((len(classes), SIZE, SIZE, 4), np.uint8)
    present = np.zeros(len(classes), bool)
    with tarfile.open(file) as archive:
        raster = style == "fluent-3d"
        icons = {} if raster else json.loads(_member(archive, "package/icons.json"))
        for row, (name, codepoint, _) in enumerate(classes):
            icon = icon_name(style, name, codepoint)
            if icon is None:
                continue
            if raster:
                sprites[row] = _shrink(_member(archive, f"package/assets/{icon}.webp"))
            else:
                sprites[row] = _rasterize(_svg(icons, icon))
            present[row] = True
    return sprites, present


def build(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of the npz file from the packages in `folder`."""
    drawn = [draw_style(style, folder) for style in PACKAGES]
    names, codepoints, groups = zip(*class_list(), strict=True)
    return {
        "sprites": np.stack([sprites for sprites, _ in drawn], axis=1),  # [100, 10, 64, 64, 4]
        "present": np.stack([present for _, present in drawn], axis=1),
        "class_names": np.array(names),
        "superclass": np.array(groups, np.uint8),
        "superclass_names": np.array(list(CLASSES)),
        "styles": np.array(list(PACKAGES)),
        "codepoints": np.array(codepoints),
    }


def differences(arrays: dict[str, np.ndarray]) -> list[str]:
    """What the arrays have other than the embedded file, one line each."""
    found = []
    with np.load(OUTPUT, allow_pickle=False) as embedded:
        for name, array in arrays.items():
            old = embedded[name]
            if array.shape != old.shape:
                found.append(f"{name}: shape {array.shape} instead of {old.shape}")
            elif not np.array_equal(array, old):
                found.append(f"{name}: {np.sum(array != old):,} of {array.size:,} values differ")
    return found


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    if name not in archive.getnames() or (stream := archive.extractfile(name)) is None:
        sys.exit(f"a package holds no file {name}; is it another version than the one named in PACKAGES?")
    return stream.read()


def _svg(icons: dict, name: str) -> str:
    """An icon as a whole SVG document."""
    icon = icons["icons"][name]
    defaults = {"left": 0, "top": 0, "width": 16, "height": 16}
    left, top, width, height = (icon.get(key, icons.get(key, default)) for key, default in defaults.items())
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
    )


def _rasterize(svg: str) -> np.ndarray:
    """SVG → uint8 [64, 64, 4]; a drawing that is not square is centered."""
    import resvg_py
    from PIL import Image

    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    image.thumbnail((SIZE, SIZE))
    canvas = Image.new("RGBA", (SIZE, SIZE))
    canvas.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return np.asarray(canvas)


def _shrink(data: bytes) -> np.ndarray:
    """A larger raster image → uint8 [64, 64, 4]."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA").resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="where npm pack put the packages (.tgz)")
    parser.add_argument("--packages", action="store_true", help="print the npm packages and stop")
    parser.add_argument("--write", action="store_true", help="replace the embedded file")
    options = parser.parse_args()
    if options.packages:
        print(*PACKAGES.values())
        return
    if options.folder is None:
        parser.error("name the folder that holds the packages, see the usage above")
    arrays = build(options.folder)
    found = differences(arrays)
    print("\n".join(found) or f"the {arrays['present'].sum()} drawings equal those of {OUTPUT.name}")
    if options.write:
        np.savez_compressed(OUTPUT, **arrays)  # type: ignore[arg-type]
        print(f"wrote {OUTPUT} ({OUTPUT.stat().st_size / 1e6:.1f} MB)")
    elif found:
        sys.exit(1)


if __name__ == "__main__":
    main()
