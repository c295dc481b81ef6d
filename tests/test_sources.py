"""Official files: found, fetched and checked against a server of the test's own; equal images; `shc datasets`."""

import doctest
import hashlib
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
import torch

from shc import cli, datasets
from shc.datasets import About, ImageSet, duplicates, overview, sources, survey
from shc.datasets.sources import MissingData, SourceFile

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Publisher(BaseHTTPRequestHandler):
    """Serves CONTENT; `behavior` says how well."""

    behavior = "ranges"
    asked: ClassVar[list] = []  # one list for all, emptied by the fixture

    def do_GET(self):
        begin, wanted = 0, self.headers.get("Range")
        type(self).asked.append(wanted)
        if self.path != "/set.bin":
            self.send_error(404)
            return
        if wanted and self.behavior != "no ranges":
            begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if begin >= len(CONTENT):
                self.send_response(416)
                if self.behavior != "tells no length":
                    self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        body = CONTENT[begin:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.behavior == "hangs up":
            body = body[:100_000]
        elif self.behavior == "damages":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher(monkeypatch):
    monkeypatch.setattr(Publisher, "behavior", "ranges")
    monkeypatch.setattr(Publisher, "asked", [])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield SourceFile("deep/set.bin", f"http://127.0.0.1:{server.server_port}/set.bin", MD5, len(CONTENT))
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(source, root):
    said = []
    sources.download([source], root, said.append)
    return said


# ------------------------------------------------------------------------------------------------ download


def test_download_puts_the_checked_file_below_the_root(publisher, tmp_path):
    said = fetch(publisher, tmp_path)
    assert (tmp_path / "deep" / "set.bin").read_bytes() == CONTENT
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["set.bin"]
    assert said == [f"fetching {publisher.url}", f"{tmp_path / 'deep' / 'set.bin'}: 300,000 bytes"]
    assert fetch(publisher, tmp_path) == [] and Publisher.asked == [None]  # nothing to do again


@pytest.mark.parametrize("known_size", [True, False])
def test_download_goes_on_from_what_is_there(known_size, publisher, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "set.bin.part").write_bytes(CONTENT[:123_456])
    source = publisher if known_size else replace(publisher, size=0)
    assert fetch(source, tmp_path)[0].startswith("going on with")
    assert Publisher.asked == ["bytes=123456-"] and (tmp_path / "deep" / "set.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("part", "behavior", "asked"),
    [
        (CONTENT, "ranges", ["bytes=300000-"]),
        (CONTENT + b"x", "ranges", ["bytes=300001-", None]),
        (CONTENT, "tells no length", ["bytes=300000-", None]),
    ],
    ids=["whole", "too long", "length unknown"],
)
def test_a_part_that_nothing_is_missing_of(part, behavior, asked, publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(Publisher, "behavior", behavior)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "set.bin.part").write_bytes(part)
    fetch(replace(publisher, size=0, md5=""), tmp_path)
    assert Publisher.asked == asked and (tmp_path / "deep" / "set.bin").read_bytes() == CONTENT


def test_the_part_of_a_file_that_became_shorter_is_given_up(publisher, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "set.bin.part").write_bytes(CONTENT)
    with pytest.raises(ValueError, match=r"ended after 300,000 of 300,005 bytes"):
        fetch(replace(publisher, size=300_005), tmp_path)
    assert Publisher.asked == ["bytes=300000-", None]  # nothing that could have been gone on with


def test_connection_that_breaks_is_taken_up_again(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(Publisher, "behavior", "hangs up")
    part = tmp_path / "deep" / "set.bin.part"
    for arrived in (100_000, 200_000):
        with pytest.raises(ValueError, match=rf"ended after {arrived:,} of 300,000 bytes.*repeat the command to go on"):
            fetch(publisher, tmp_path)
        assert part.read_bytes() == CONTENT[:arrived] and not (tmp_path / "deep" / "set.bin").exists()
    monkeypatch.setattr(Publisher, "behavior", "ranges")
    fetch(publisher, tmp_path)
    assert (tmp_path / "deep" / "set.bin").read_bytes() == CONTENT and not part.exists()
    assert Publisher.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_server_without_ranges_starts_anew(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(Publisher, "behavior", "no ranges")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "set.bin.part").write_bytes(b"something else")
    fetch(publisher, tmp_path)
    assert (tmp_path / "deep" / "set.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("begun", [0, 50_000])
def test_wrong_checksum_leaves_nothing_behind(begun, publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(Publisher, "behavior", "damages")
    (tmp_path / "deep").mkdir()
    if begun:
        (tmp_path / "deep" / "set.bin.part").write_bytes(CONTENT[:begun])
    with pytest.raises(ValueError, match=rf"damaged or another version \(md5 differs from {MD5}\); fetch it again"):
        fetch(publisher, tmp_path)
    assert list((tmp_path / "deep").iterdir()) == []


def test_part_that_is_too_long_is_given_up(publisher, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "set.bin.part").write_bytes(CONTENT + b"x")
    with pytest.raises(ValueError, match=r"300,001 bytes, not 300,000: it is another file"):
        fetch(publisher, tmp_path)
    assert list((tmp_path / "deep").iterdir()) == [] and Publisher.asked == []


def test_failures_say_what_to_do(publisher, tmp_path):
    gone = replace(publisher, url=publisher.url + "x")
    with pytest.raises(ValueError, match=r"could not be fetched \(Not Found\).*repeat the command.*by hand as"):
        fetch(gone, tmp_path)
    form = SourceFile("faces.zip", note="fill in the form at https://example.org")
    with pytest.raises(MissingData, match=r"faces\.zip cannot be downloaded by a program: fill in the form at"):
        fetch(form, tmp_path)


def test_another_form_of_the_file_counts(tmp_path):
    (tmp_path / "unpacked").mkdir()
    source = SourceFile("set.tar", "http://127.0.0.1:1/set.tar", instead="unpacked")
    assert sources.lacking([source], tmp_path) == [] and fetch(source, tmp_path) == []


def test_folder_of_the_data(tmp_path, monkeypatch):
    import platformdirs

    monkeypatch.delenv("SHC_DATA", raising=False)
    assert sources.data_root("zoo", "") == platformdirs.user_data_path("shc") / "zoo"
    monkeypatch.setenv("SHC_DATA", str(tmp_path))
    assert sources.data_root("zoo", "") == tmp_path / "zoo" and sources.data_root("zoo", "here").name == "here"


def test_every_address_is_its_publishers_and_has_a_checksum_of_the_right_form():
    for name in ("cifar10", "cifar100", "fashion_mnist"):
        for source in datasets.entries()[name].about.files:
            assert re.fullmatch(r"[0-9a-f]{32}", source.md5) and source.size > 5000
            assert re.match(r"https://www\.cs\.toronto\.edu/~kriz/|http://fashion-mnist\.s3-website", source.url)
            assert source.url.endswith(source.name)


WITH_FILES = [name for name, entry in datasets.entries().items() if entry.about.files]


@pytest.mark.parametrize("name", WITH_FILES)
def test_missing_files_are_told_without_loading_in_the_same_words(name, tmp_path):
    told = []
    for ask in (datasets.check_files, datasets.load):
        with pytest.raises(MissingData, match=f"^{name} is not in .*: missing .* or give another root$") as error:
            ask(name, root=str(tmp_path))
        told.append(str(error.value))
    assert told[0] == told[1]
    with pytest.raises(MissingData, match=rf"^{name}: .*nowhere is no folder; give --root FOLDER"):
        datasets.check_files(name, root=str(tmp_path / "nowhere"))


def test_another_layout_is_not_called_missing(tmp_path):
    assert overview.details("coco", str(tmp_path))[6].endswith(": not on this machine")
    (tmp_path / "train2014").mkdir()
    assert overview.details("coco", str(tmp_path))[6].endswith(": on this machine, in another layout (train2014)")


# ------------------------------------------------------------------------------------------------ have they changed?


def test_state_of_a_data_sets_files(zoo):
    root, calls = zoo.parent.parent, {survey.files_state("zoo")}
    assert calls == {""}
    zoo.parent.mkdir(parents=True)

    def state():
        return survey.files_state("zoo", str(root) if len(calls) % 2 else "")

    for change in (zoo.touch, (zoo.parent / "more.bin").touch, zoo.touch, zoo.unlink):
        calls.add(before := state())
        assert state() == before
        change()
        assert state() not in calls, change
    last = state()
    (root / "beside.bin").touch()  # none of its files
    (zoo.parent / ".hidden").touch()
    assert state() == last


def test_state_covers_the_layouts_that_the_list_of_files_does_not_name(tmp_path):
    for name, place in (
        ("coco", "val2014/1.jpg"),
        ("stanford_cars", "train/a/1.jpg"),
        ("stanford_cars", "devkit/x.mat"),
    ):
        before = survey.files_state(name, str(tmp_path))
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
        assert survey.files_state(name, str(tmp_path)) not in (before, "")
    assert survey.files_state("shapes", str(tmp_path)) == survey.files_state("emoji") == ""
    assert doctest.testmod(survey).failed == 0


# ------------------------------------------------------------------------------------------------ equal images


def toy(values, splits, labels=None):
    """Images that are equal where their values are."""
    n = len(values)
    images = torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(n, 3, 16, 16).contiguous()
    images[:, 0, 3, 5] = 0  # not flat
    labels = torch.tensor([0] * n if labels is None else labels)
    classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    rows = {name: torch.tensor(found) for name, found in splits.items()}
    return ImageSet("toy", images, labels, [str(c) for c in range(classes)], None, rows, "", torch.arange(classes))


SPLITS = {"train": [0, 1, 2], "query": [3, 4, 5], "database": [6, 7, 8, 9]}


def test_duplicates_are_groups_of_equal_images(monkeypatch):
    monkeypatch.setattr(duplicates, "BATCH", 3)
    images = toy([7, 1, 2, 7, 4, 5, 6, 5, 7, 9, 9], SPLITS)  # row 10, equal to 9, stands in no split
    assert [group.tolist() for group in duplicates.duplicates(images)] == [[0, 3, 8], [5, 7]]


def test_a_single_byte_makes_a_difference():
    images = toy([1, 1], {"query": [0], "database": [1]})
    assert len(duplicates.duplicates(images)) == 1
    images.images[1, 2, 15, 15] += 1
    assert duplicates.duplicates(images) == []


def test_pairs_across_splits():
    images = toy([7, 1, 2, 7, 5, 5, 6, 5, 7, 9], SPLITS)
    groups = duplicates.duplicates(images)
    assert duplicates.across(images, groups, "query", "database").tolist() == [[3, 8], [4, 7], [5, 7]]
    assert duplicates.across(images, groups, "train", "database").tolist() == [[0, 8]]
    assert duplicates.across(images, [], "query", "database").shape == (0, 2)


def test_an_image_that_stands_in_both_splits_is_no_duplicate():
    images = toy([1, 2, 3, 3], {"train": [0, 1, 2], "database": [0, 1, 2, 3]})
    groups = duplicates.duplicates(images)
    assert [group.tolist() for group in groups] == [[2, 3]]
    assert duplicates.across(images, groups, "train", "database").tolist() == [[2, 3]]


def test_report_counts_classes_and_equal_images():
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 2]
    lines = duplicates.report(toy([7, 1, 2, 7, 4, 5, 6, 5, 7, 9], SPLITS, labels))
    assert lines == [
        "train      3 images, 3 of 3 classes, 1 of each",
        "query      3 images, 3 of 3 classes, 1 of each",
        "database   4 images, 3 of 3 classes, 1 to 2 of each",
        "2 pictures occur more than once, as 5 images:",
        "  1 of 3 in query stand in train too, 0 of them with other labels",
        "  2 of 3 in query stand in database too, 2 of them with other labels",
        "  1 of 3 in train stand in database too, 1 of them with other labels",
    ]
    assert duplicates.report(toy(range(10), SPLITS))[-1] == "No two images are equal."
    within = duplicates.report(toy([1, 1, *range(2, 10)], SPLITS))
    assert within[-2:] == ["1 picture occurs more than once, as 2 images:", "  none of them in two splits"]
    contained = duplicates.report(toy([1, 2, 3], {"train": [0], "query": [2], "database": [0, 1]}))
    assert contained[2] == "database   2 images, 1 of 1 classes, 2 of each; contains train"


def test_report_of_label_sets():
    labels = [[True, False], [True, True], [False, True], [True, True]]
    lines = duplicates.report(toy([1, 2, 3, 2], {"query": [0, 1], "database": [2, 3]}, labels))
    assert lines[0] == "query      2 images, 2 of 2 classes, 1 to 2 of each"
    assert lines[-1] == "  1 of 2 in query stand in database too, 0 of them with other labels"


# ------------------------------------------------------------------------------------------------ shc datasets


@pytest.fixture
def zoo(publisher, monkeypatch, tmp_path):
    """A data set that the publisher offers."""
    ours = {name: e for name, e in datasets.entries().items() if e.build.__module__.startswith("shc.")}  # not of tests
    monkeypatch.setattr(datasets, "_REGISTRY", ours)
    monkeypatch.setenv("SHC_DATA", str(tmp_path / "data"))

    @datasets.dataset("zoo", ("cages", "fields"), About("2", "6, 16 px", "one class", "free", (publisher,)))
    def zoo(options):
        """Animals."""
        sources.require("zoo", (publisher,), sources.data_root("zoo", options.root))
        images = toy([1, 2, 3, 3, 5, 6], {"train": [0, 1], "query": [2], "database": [3, 4, 5]})
        return replace(images, parameters={"protocol": options.protocol})

    return tmp_path / "data" / "zoo" / "deep" / "set.bin"


def test_list_tells_the_facts_of_every_set(zoo, capsys):
    assert cli.main(["datasets"]) == 0
    told = capsys.readouterr().out
    for name, entry in datasets.entries().items():
        assert re.search(rf"^{name} +{re.escape(entry.description)}$", told, re.M)
        about = entry.about
        assert about.classes and about.images and about.labels and about.terms
        assert f"classes {about.classes}; images {about.images}; labels {about.labels}" in told
        assert f"protocols {', '.join(entry.protocols)}; {about.terms}" in told
    assert "files from www.cs.toronto.edu: " in told and told.count("files: in the package") == 2
    assert "files from 127.0.0.1:" in told and told.rstrip().endswith(": not on this machine")
    zoo.parent.mkdir(parents=True)
    zoo.write_bytes(CONTENT)
    assert overview.table()[-1].endswith(": on this machine")


def test_details_download_and_check(zoo, capsys):
    assert cli.main(["datasets", "zoo"]) == 0
    told = capsys.readouterr().out
    for fact in ("zoo: Animals.", "cages, fields (the first is", "terms      free", f"md5 {MD5}", "300,000 bytes"):
        assert fact in told
    assert re.search(r"folder .*zoo: not on this machine", told) and "missing    deep/set.bin" in told
    assert cli.main(["datasets", "zoo", "--check"]) == 1
    assert "`shc datasets zoo --download` fetches it" in capsys.readouterr().err
    assert cli.main(["datasets", "zoo", "--download"]) == 0
    assert "300,000 bytes" in capsys.readouterr().out and zoo.read_bytes() == CONTENT
    assert cli.main(["datasets", "zoo", "--download", "--check", "--protocol", "fields"]) == 0
    first, second, third, *rest = capsys.readouterr().out.splitlines()
    assert first == f"nothing to fetch: zoo is in {zoo.parent.parent}"
    assert second == "deep/set.bin: as published" and third == "zoo, protocol fields:"
    assert rest[-1] == "  1 of 1 in query stand in database too, 0 of them with other labels"
    zoo.write_bytes(CONTENT[1:])
    assert "not the publisher's" in next(overview.check("zoo"))


def test_download_into_a_folder_of_ones_own(zoo, tmp_path, capsys):
    assert cli.main(["datasets", "zoo", "--download", "--root", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine" / "deep" / "set.bin").exists() and not zoo.exists()
    assert cli.main(["datasets", "zoo", "--root", str(tmp_path / "mine")]) == 0
    assert "here       deep/set.bin" in capsys.readouterr().out


@pytest.mark.parametrize("option", [["--download"], ["--check"], ["--root", "x"], ["--protocol", "x"]], ids=str)
def test_options_need_a_data_set(option, capsys):
    assert cli.main(["datasets", *option]) == 2
    assert "say which data set" in capsys.readouterr().err


def test_mistakes_in_the_arguments(zoo, capsys):
    assert cli.main(["datasets", "zo"]) == 2
    assert "did you mean 'zoo'?" in capsys.readouterr().err
    assert cli.main(["datasets", "zoo", "--check", "--protocol", "trees"]) == 2
    assert "choose cages or fields" in capsys.readouterr().err


def test_sets_of_the_package_have_nothing_to_fetch(capsys):
    assert cli.main(["datasets", "shapes", "--download"]) == 0
    assert capsys.readouterr().out == "nothing to fetch: shapes is in the package\n"
    assert cli.main(["datasets", "emoji"]) == 0
    assert "files      in the package" in capsys.readouterr().out


def test_a_folder_of_ones_own_needs_no_root_to_be_described(capsys):
    assert cli.main(["datasets", "image_folder"]) == 0
    assert "yours, in the folder that root names" in capsys.readouterr().out
