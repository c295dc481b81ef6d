"""What `shc datasets` prints: every set with its facts, one set in detail, and the check of its files and splits."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from shc.datasets import About, entries, load
from shc.datasets.duplicates import report
from shc.datasets.sources import SourceFile, check_file, lacking, located

INDENT = " " * 15


def table() -> list[str]:
    """Four lines for every data set: what it is, its facts, its protocols and terms, and where its files are.

    >>> [line.split()[0] for line in table() if not line.startswith(" ")][:3]
    ['cifar10', 'cifar100', 'coco']
    """
    lines = []
    for name, entry in entries().items():
        about = entry.about
        lines.append(f"{name:<14} {entry.description}")
        lines.append(f"{INDENT}{facts(about)}")
        lines.append(f"{INDENT}protocols {', '.join(entry.protocols)}; {about.terms or 'terms not stated'}")
        lines.append(f"{INDENT}{origin(about)}: {state(name, about)}")
    return lines


def details(name: str, root: str = "") -> list[str]:
    """Everything that is known of one data set, one fact a line; `root` is where its files are looked for."""
    entry = entries()[name]
    about = entry.about
    lines = [f"{name}: {entry.description}"]
    known = dict(classes=about.classes, images=about.images, labels=about.labels, terms=about.terms)
    lines += [f"{key:<10} {value or 'not stated'}" for key, value in known.items()]
    lines.append(f"{'protocols':<10} {', '.join(entry.protocols)} (the first is the usual one)")
    if not about.files:
        return [*lines, f"{'files':<10} {state(name, about)}"]
    folder = located(name, about.files, root, about.elsewhere)
    missing = lacking(about.files, folder)
    lines.append(f"{'folder':<10} {folder}: {state(name, about, root)}")
    for source in about.files:
        size = f"{source.size:,} bytes" if source.size else "size not published"
        lines.append(f"{'missing' if source in missing else 'here':<10} {source.name}, {size}")
        lines += [f"{'':<10} {line}" for line in _addresses(source)]
    return lines


def check(name: str, root: str = "", protocol: str = "closed") -> Iterator[str]:
    """Lines about a data set's files and splits as they are found; ValueError if it cannot be loaded."""
    about = entries()[name].about
    folder = located(name, about.files, root, about.elsewhere)
    for source in about.files:
        if (folder / source.name).is_file():
            yield f"{source.name}: {_checksum(folder / source.name, source)}"
    images = load(name, root=root, protocol=protocol)
    yield f"{name}, protocol {images.parameters['protocol']}:"
    yield from report(images)


def facts(about: About) -> str:
    """Classes, images and labels in one line."""
    parts = (
        about.classes and f"classes {about.classes}",
        about.images and f"images {about.images}",
        f"labels {about.labels}",
    )
    return "; ".join(part for part in parts if part)


def origin(about: About) -> str:
    """Where the files come from: the hosts, or who gives them."""
    hosts = dict.fromkeys(urlsplit(source.url).netloc or source.note for source in about.files)
    return f"files from {', '.join(filter(None, hosts))}" if about.files else "files"


def state(name: str, about: About, root: str = "") -> str:
    """Whether the files are on this machine."""
    if not about.files:
        return "yours, in the folder that root names" if about.images == "yours" else "in the package"
    folder = located(name, about.files, root, about.elsewhere)
    missing = lacking(about.files, folder)
    if not missing:
        return "on this machine"
    if other := [place for place in about.layouts if (folder / place).exists()]:
        return f"on this machine, in another layout ({', '.join(other)})"
    return (
        "not on this machine" if len(missing) == len(about.files) else f"{len(missing)} of {len(about.files)} missing"
    )


def _addresses(source: SourceFile) -> list[str]:
    found = [source.url or f"no address: {source.note}"]
    if source.md5:
        found.append(f"md5 {source.md5}")
    if source.instead:
        found.append(f"or {source.instead}")
    return found


def _checksum(file: Path, source: SourceFile) -> str:
    if not source.md5:
        return "its publisher gives no checksum"
    try:
        check_file(file, source)
    except ValueError:
        return "not the publisher's checksum: packed again, another version, or damaged"
    return "as published"
