"""Files that somebody else may have made: none makes a reader allocate what it does not hold, or leave its folder."""

import ast
import gzip
import io
import json
import re
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from shc import image_files, pipeline, untrusted
from shc.datasets import cifar
from shc.files import read_arrays, read_json, read_yaml
from shc.name_embeddings import name_embeddings
from shc.runs import Run, RunError, artifact_key
from shc.sweep_file import SweepError, read_sweep

ROOT = Path(__file__).resolve().parent.parent
GIGABYTES = 100 * 2**30
MOST = 64 * 2**20  # bytes that a refusal may take


def header(shape, descr="<f8"):
    """The first bytes of an .npy file."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def npz(file, content, **forged):
    """An npz with one array `S` of this content, whose directory says what `forged` says."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("S.npy", content)
        for name, value in forged.items():
            setattr(archive.filelist[0], name, value)
    return file


def refused(file, told):
    """Reading raises RunError with this reason, and takes little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(RunError, match=told):
            read_arrays(file)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------ sizes


def test_an_array_that_announces_more_than_the_archive_holds_is_refused(tmp_path):
    file = npz(tmp_path / "a.npz", header((GIGABYTES // 8,)))
    assert file.stat().st_size < 1000
    refused(file, r"S.npy announces \[13421772800\] of float64, 107,374,182,400 bytes, and has 0")
    refused(npz(tmp_path / "b.npz", header((GIGABYTES // 8,)), file_size=GIGABYTES + 128), "unpacks to 107,374,182,528")
    refused(npz(tmp_path / "c.npz", header((2, -3))), "announces|ValueError")
    refused(npz(tmp_path / "d.npz", header((1,), "|O") + bytes(8)), "holds Python objects, which are never read")
    refused(npz(tmp_path / "e.npz", header((1,), f"<U{2**28}") + bytes(8)), "announces|ValueError")


def test_an_archive_that_grows_beyond_all_measure_is_refused(tmp_path):
    count = (untrusted.FREE_BYTES + 2**20) // 8
    file = tmp_path / "bomb.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("S.npy", "w") as member:
        member.write(header((count,)))
        for _ in range(count * 8 // 2**20):
            member.write(bytes(2**20))
    assert file.stat().st_size * untrusted.MOST_GROWTH < count * 8
    refused(file, "unpacks to .* bytes; at most 268,435,456 are read")


def test_members_that_overlap_or_are_too_many_are_refused(tmp_path, monkeypatch):
    refused(npz(tmp_path / "a.npz", header((0,)), compress_size=10**6), "members take 1,000,000 bytes, the file only")
    monkeypatch.setattr(untrusted, "MOST_ARRAYS", 2)
    np.savez(tmp_path / "b.npz", a=1, b=2, c=3)
    refused(tmp_path / "b.npz", "it holds 3 arrays; 2 are read")


@pytest.mark.parametrize(
    ("told", "length", "head"),
    [
        ("header announces 1,152,921,504,606,846,976 bytes; the file has", 2**60, b"{}"),
        ("announces 107,374,182,400 bytes of tensors; 0 follow", None, GIGABYTES),
        ("does not say where a tensor ends", None, "x"),
        ("RecursionError|JSONDecodeError|TooLarge|header", None, b"[" * 100_000),
    ],
)
def test_safetensors_whose_header_lies_are_refused(tmp_path, told, length, head):
    if not isinstance(head, bytes):
        head = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, head]}}).encode()
    file = tmp_path / "w.safetensors"
    file.write_bytes(struct.pack("<Q", len(head) if length is None else length) + head)
    refused(file, told)


def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path):
    file = tmp_path / "w.safetensors"
    with file.open("wb") as stream:
        stream.truncate(untrusted.MOST_BYTES + 1)  # a hole: it takes no space
    refused(file, "unpacks to 17,179,869,185 bytes")


def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.npz")
    refused(tmp_path / "a.npz", "it is not a plain file")
    os.mkfifo(tmp_path / "results.json")
    with pytest.raises(RunError, match="not a plain file"):
        read_json(tmp_path / "results.json")


def test_embeddings_are_checked_in_the_same_way(tmp_path):
    file = tmp_path / "names.npy"
    file.write_bytes(header((3, GIGABYTES // 8)))
    images = type("Images", (), {"class_names": ["a", "b", "c"], "name": "x"})()
    with pytest.raises(RunError, match=r"names.npy cannot be read as .npy \(it announces \[3, 13421772800\]"):
        name_embeddings(images, str(file))


def test_deep_json_and_references_in_yaml_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"a":' * 100_000)
    with pytest.raises(RunError, match="not readable JSON"):
        read_json(tmp_path / "a.json")
    for text in ("a: &a [1]\nb: [*a, *a]\n", "[" * 20_000, "- " * 20_000, "a: " + "9" * 10_000, "a: 2000-99-99"):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(RunError, match=r"not readable YAML .*run notebook 01 again"):
            read_yaml(tmp_path / "a.yaml")


def test_a_sweep_of_endless_lists_is_refused(tmp_path):
    file = tmp_path / "s.yaml"
    many = list(range(1000))
    file.write_text(f"cells: [{{bits: {many}, seed: {many}, epochs: {many}}}]")
    with pytest.raises(SweepError, match="its lists make more than 100,000 cells with block 1"):
        read_sweep(file)


# ------------------------------------------------------------------------------------------ archives, pictures


def archive(file, *members):
    """A .tar.gz of (name, content or link) pairs."""
    with tarfile.open(file, "w:gz") as packed:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                packed.addfile(member)
            else:
                member.size = len(content)
                packed.addfile(member, io.BytesIO(content))
    return file


def test_members_that_leave_the_archive_and_links_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"12345")
    file = archive(
        tmp_path / "a.tar.gz", ("../secret", b"12345"), ("d/../../secret", b"12345"), ("/d/x.bin", b"12345"),
        ("d/x.bin", "../secret"), ("e/x.bin", b"12345"),
    )  # fmt: skip
    assert cifar.from_tar(file, "d", {"x.bin": 5}) == {}
    assert cifar.from_tar(archive(file, ("d/x.bin", b"12345")), "d", {"x.bin": 5}) == {"x.bin": b"12345"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "secret"], "nothing is unpacked"


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "MOST_ELSE", 10_000)
    with pytest.raises(ValueError, match=r"was cut short or is damaged \(it unpacks to more than .* bytes"):
        cifar.from_tar(archive(tmp_path / "a.tar.gz", ("d/else", bytes(10**6))), "d", {"x.bin": 5})
    with gzip.open(tmp_path / "b.tar.gz", "wb") as stream:  # a long name, which tarfile would hold in memory
        head = tarfile.TarInfo("././@PaxHeader")
        head.type, head.size = tarfile.XHDTYPE, 10**6
        stream.write(head.tobuf(tarfile.USTAR_FORMAT) + bytes(10**6))
    with pytest.raises(ValueError, match="unpacks to more than"):
        cifar.from_tar(tmp_path / "b.tar.gz", "d", {"x.bin": 5})


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    file = tmp_path / "bomb.png"
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    tracemalloc.start()
    try:
        with pytest.raises(
            image_files.BrokenImage, match=r"60,000 × 60,000 pixels are more than 100,000,000|exceeds limit"
        ):
            image_files.read_image(file, 32)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["webp", "png"])
def test_a_transparent_picture_of_many_pixels_is_not_held_six_times(tmp_path, kind, monkeypatch):
    from PIL import Image

    sizes = []
    original = Image.alpha_composite
    monkeypatch.setattr(Image, "alpha_composite", lambda a, b: (sizes.append(b.size), original(a, b))[1])
    random = np.random.default_rng(0).integers(0, 256, (1100, 30, 4), dtype=np.uint8)
    Image.fromarray(random).save(tmp_path / f"a.{kind}", lossless=True)
    found = image_files.read_image(tmp_path / f"a.{kind}", 64)
    assert max(height for _, height in sizes) <= image_files.BAND
    whole = original(Image.new("RGBA", (30, 1100), "white"), Image.fromarray(random)).convert("RGB")
    square = Image.new("RGB", (1100, 1100), "white")
    square.paste(whole, (535, 0))
    expected = np.asarray(square.resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(found.astype(int) - expected).max() == 0


def test_a_jpeg_drawn_in_passes_without_end_is_refused(tmp_path):
    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (64, 64), 128).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    file = tmp_path / "a.jpg"
    file.write_bytes(content[:-2] + last * 50 + content[-2:])
    assert image_files.read_image(file, 32).shape == (3, 32, 32)
    file.write_bytes(content[:-2] + last * 100 + content[-2:])
    with pytest.raises(image_files.BrokenImage, match="drawn in more than 100 passes"):
        image_files.read_image(file, 32)
    assert image_files.fault(file.read_bytes()) == "it is drawn in more than 100 passes"


def test_an_archive_that_is_a_pipe_is_not_waited_for(tmp_path):
    import os

    from shc.datasets import fashion_mnist

    os.mkfifo(tmp_path / "a.gz")
    with pytest.raises(ValueError, match="not a plain file"):
        cifar.from_tar(tmp_path / "a.gz", "d", {"x.bin": 5})
    with pytest.raises(ValueError, match="not a plain file"):
        fashion_mnist.read_idx(tmp_path / "a.gz", (1,))


# ------------------------------------------------------------------------------------------ somebody's run folder


@pytest.mark.parametrize("variant", ["../../x", "a/b", "..", "a\0", "a\\b", "A b"])
def test_no_variant_leaves_the_run_folder(tmp_path, variant):
    run = Run(tmp_path / "one")
    with pytest.raises(RunError, match="is no variant of centers"):
        run.file("centers", variant)
    inputs = {f"centers-{variant}": "0" * 16}
    run.save("hasher", {"w": np.ones(2)}, parameters={}, fingerprint="f", inputs=inputs)
    with pytest.raises(RunError, match="is no variant of centers"):
        run.load("hasher")


def test_an_artifact_whose_key_was_forged_is_refused(tmp_path):
    from shc.files import write_arrays

    run = Run(tmp_path)
    meta = dict(parameters={}, fingerprint="f", inputs={"centers": "k"}, key="k", extra={})
    write_arrays(run.file("centers"), {"codes": np.ones(2)}, meta)  # made from itself: a check would never end
    with pytest.raises(RunError, match="its key is not that of its parameters, data and inputs"):
        run.load("centers")
    for wrong in ({"inputs": []}, {"parameters": 3}, {"extra": None}, {"fingerprint": 1}):
        meta = dict(parameters={}, fingerprint="f", inputs={}, key=artifact_key({}, "f", {}), extra={}) | wrong
        write_arrays(run.file("centers"), {"codes": np.ones(2)}, meta)
        with pytest.raises(RunError, match="no record of how it was made"):
            run.load("centers")


@pytest.mark.parametrize("name", ["notebooks", "figures", "checkpoints"])
def test_folders_that_are_links_are_refused(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=f"{name} is a link, which could lead out of the run folder; delete it"):
        Run(tmp_path / "one")


def test_an_executed_notebook_that_is_a_link_is_replaced_and_not_written_through(tmp_path, monkeypatch):
    import fake_notebooks as fake

    source = fake.write(tmp_path / "book.ipynb", fake.notebook(fake.parameters()))
    precious, run = tmp_path / "precious", Run(tmp_path / "one")
    precious.write_text("content")
    (run.path / "notebooks").mkdir(parents=True)
    (run.path / "notebooks" / "book.ipynb").symlink_to(precious)

    class Papermill:
        class exceptions:
            class PapermillExecutionError(Exception):
                pass

        def execute_notebook(self, source, target, *rest, **options):
            Path(target).write_text("executed")

    monkeypatch.setattr(pipeline, "import_papermill", Papermill)
    assert pipeline.execute_file(source, run, {}).read_text() == "executed"
    assert precious.read_text() == "content"


def test_notebooks_of_a_run_folder_are_not_taken_for_the_sequence(tmp_path, monkeypatch):
    import fake_notebooks as fake

    monkeypatch.chdir(tmp_path)
    fake.write_sequence(tmp_path)
    assert pipeline.notebooks_folder() == (tmp_path / "notebooks").resolve()
    (tmp_path / "params.yaml").write_text("{}")
    assert pipeline.notebooks_folder() == ROOT / "notebooks"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "/etc/x"])
def test_a_figure_stays_among_the_figures(tmp_path, name):
    with pytest.raises(RunError, match="a figure cannot be called"):
        Run(tmp_path).save_figure(None, name)


@pytest.mark.parametrize("name", ["own", "params.yaml", "results.json", "notebooks/00_tour.ipynb"])
def test_links_whose_content_a_report_would_show_are_refused(tmp_path, name):
    from shc.verify import verify

    (tmp_path / "secret").write_text("host: {token: abc}")
    (tmp_path / "one" / "notebooks").mkdir(parents=True)
    (tmp_path / "one" / "a.npz").write_bytes(b"")
    (tmp_path / "one" / name).symlink_to(tmp_path / "secret")
    with pytest.raises(RunError, match=f"{name} is a link, which could lead out of the run folder; delete it"):
        Run(tmp_path / "one")
    assert [(found.file, found.good) for found in verify(tmp_path / "one")] == [(name, False)]


def test_figures_that_are_pipes_are_not_waited_for(tmp_path):
    import os

    from shc import report, verify

    (tmp_path / "figures").mkdir()
    os.mkfifo(tmp_path / "figures" / "a.png")
    with pytest.raises(RunError, match="not a plain file"):
        report.figure(tmp_path / "figures" / "a.png", {})
    with pytest.raises(RunError, match="no whole PNG"):
        verify.of_picture(tmp_path / "figures" / "a.png")


def test_a_figure_of_another_format_or_size_does_not_reach_the_readme(tmp_path, monkeypatch):
    from PIL import Image

    from shc import refresh

    (tmp_path / "figures").mkdir()
    file = tmp_path / "figures" / f"{next(iter(refresh.THUMBNAILS.values()))}.png"
    Image.new("RGB", (8, 8)).save(file, "EPS")  # Pillow would start Ghostscript
    with pytest.raises(Exception, match="cannot identify image file"):
        refresh.write_pictures(Run(tmp_path))
    monkeypatch.setattr(refresh, "MOST_PIXELS", 63)
    Image.new("RGB", (8, 8)).save(file)
    with pytest.raises(RunError, match="larger than any figure"):
        refresh.write_pictures(Run(tmp_path))


REFRESHES = '<meta http-equiv="refresh" content="0;url=https://evil.example">'


@pytest.mark.parametrize(
    "hostile",
    [
        f"<!--> {REFRESHES} -->", f"<!--x--!>{REFRESHES}<!---->", f"<?x >{REFRESHES}", f"<![CDATA[>{REFRESHES}]]>",
        f"<template><p>{REFRESHES}</p></template>",
        f"<svg><style>{REFRESHES}</style></svg>", f"<noscript>{REFRESHES}</noscript>", REFRESHES,
        '<form action="https://evil.example"><button>go</button></form>',
    ],
)  # fmt: skip
def test_no_output_hides_an_element_that_leads_elsewhere(hostile):
    from shc import report_page

    soup = report_page.parsed(f"<p>before</p>{hostile}<style>td > a {{color: red}}</style><p>after</p>")
    report_page.disarm(soup)
    assert str(soup) == "<p>before</p><style>td > a {color: red}</style><p>after</p>" or (
        "<" not in re.sub(r"</?(p|svg|style|noscript)>", "", str(soup)) and "before" in str(soup)
    )


@pytest.mark.parametrize("place", ["cell", "output"])
def test_markdown_that_takes_time_by_the_square_is_refused(tmp_path, place):
    pytest.importorskip("nbconvert")
    from shc import report_page

    text = "![a](<" * 5000
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": text}
    if place == "output":
        output = {"output_type": "display_data", "data": {"text/markdown": text}, "metadata": {}}
        cell |= {"cell_type": "code", "source": "1", "execution_count": 1, "outputs": [output]}
    book = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    with pytest.raises(RunError, match="cell 1 has Markdown of more than 20,000 characters"):
        report_page.exported(book, [])


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "multihash"])
def test_an_index_that_announces_more_than_it_holds_is_refused_before_memory_is_taken(kind):
    faiss = pytest.importorskip("faiss")
    if not hasattr(faiss, "set_deserialization_vector_byte_limit"):
        pytest.skip("this faiss has no limit")
    from shc.search import HammingIndex
    from shc.search_faiss import _deserialized

    before = faiss.get_deserialization_vector_byte_limit()
    index = HammingIndex.open("memory:", kind=kind)
    index.add(np.random.default_rng(0).choice([-1, 1], (200, 64)))
    stored = faiss.serialize_index_binary(index.engine)
    assert _deserialized(stored).ntotal == 200
    announced = 0
    for at in range(len(stored) - 8):
        if 1 < int.from_bytes(stored[at : at + 8].tobytes(), "little") < 3000:
            forged = stored.copy()
            forged[at : at + 8] = np.frombuffer(struct.pack("<Q", 2**31), np.uint8)
            try:
                _deserialized(forged)
            except Exception as error:
                announced += "byte_limit" in str(error)
    assert announced, "a size is refused by the limit"
    assert faiss.get_deserialization_vector_byte_limit() == before


def test_pages_send_no_form():
    from shc import report_page

    assert "form-action 'none'; base-uri 'none'" in report_page.page("a", "b")


def test_tables_that_take_time_by_the_square_are_left_or_refused():
    import time

    from shc import report_page

    started = time.perf_counter()
    many = 5000
    report_page.tidied(report_page.parsed(f"<table><tr><td>{'1' * 10**6}x</td></tr></table>"))
    report_page.tidied(report_page.parsed(f"<table>{'<tr></tr>' * many}<tr>{'<td></td>' * many}</tr></table>"))
    with pytest.raises(RunError, match="inside each other more than 200 times"):
        report_page.parsed("<table><tr><td>" * 1000)
    assert time.perf_counter() - started < 30


def test_a_terminal_is_shown_control_characters_and_does_not_obey_them(tmp_path, capsys):
    from shc import cli

    (tmp_path / "a\x1b]52;c;eA==\x07\x9b2J\u202e.npz").write_bytes(b"")
    assert cli.main(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "a\\x1b]52;c;eA==\\x07\\x9b2J\\u202e.npz" in told and told.isascii() is False
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", told)
    cli.main(["verify", str(tmp_path / "\x1b[2J")])
    assert "\x1b" not in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ code

FORBIDDEN = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "cloudpickle"}
METHODS = {"extractall", "unpack_archive", "popen", "read_pickle", "to_pickle", "unsafe_load", "full_load"}
SHELLS = {"system", "getoutput", "getstatusoutput"}
LOADERS = {"load", "load_all"}
KNOWN = {  # uses that are none
    "shc/launch.py: from pickle import PicklingError", "shc/efficientnet.py: from pickle import UnpicklingError",
}  # fmt: skip


def suspicious(node):
    """What could run foreign bytes at this node of a syntax tree, in words."""
    if isinstance(node, ast.Import) and any(alias.name.split(".")[0] in MODULES for alias in node.names):
        return f"import {node.names[0].name}"
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
        return f"from {node.module} import {', '.join(alias.name for alias in node.names)}"
    if not isinstance(node, ast.Call):
        return ""
    options = {k.arg: k.value for k in node.keywords}
    true = {name for name, value in options.items() if not (isinstance(value, ast.Constant) and value.value is False)}
    if true & {"shell", "allow_pickle"}:
        return f"{(true & {'shell', 'allow_pickle'}).pop()}=…"
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    owner = getattr(getattr(node.func, "value", None), "id", "")
    if isinstance(node.func, ast.Name) and name in FORBIDDEN:
        return f"{name}(…)"
    if name in METHODS or (name in SHELLS and owner in ("os", "subprocess")):
        return f"{owner}.{name}(…)"
    if owner == "yaml" and name in LOADERS:
        return f"yaml.{name}(…)"
    if owner == "torch" and name == "load" and "weights_only" not in true:
        return "torch.load(…) without weights_only"
    return ""


def test_no_code_of_ours_unpickles_evaluates_or_starts_a_shell():
    found = set()
    for folder in ("shc", "tools", "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            found |= {f"{file.relative_to(ROOT)}: {told}" for node in ast.walk(tree) if (told := suspicious(node))}
    assert found == KNOWN


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from pickle import loads", "eval(x)", "exec(x)", "yaml.load(x)",
        "np.load(f, allow_pickle=True)",
        "subprocess.run(x, shell=True)", "subprocess.run(x, shell=y)", "os.system(x)", "torch.load(f)",
        "torch.load(f, weights_only=False)", "archive.extractall(x)", "pandas.read_pickle(x)",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(code):
    assert any(suspicious(node) for node in ast.walk(ast.parse(code)))
    harmless = "np.load(f, allow_pickle=False); torch.load(f, weights_only=True); model.eval(); re.compile(x)"
    assert not any(suspicious(node) for node in ast.walk(ast.parse(harmless)))


def test_jupyter_listens_on_loopback_and_keeps_its_token():
    recipe = re.search(r"^lab:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert "--ServerApp.ip=127.0.0.1" in recipe
    assert not re.search(r"token|password|disable_check_xsrf|allow_origin|0\.0\.0\.0|allow_root", recipe, re.IGNORECASE)


@pytest.mark.parametrize("identity", ["1) OR (1=1", 0.5, -1, True])
def test_only_whole_numbers_reach_a_filter_of_lance(tmp_path, identity):
    pytest.importorskip("lancedb")
    from shc.search import HammingIndex, SearchError

    index = HammingIndex.open(f"lance:{tmp_path}/index")
    hostile = "'); DROP TABLE items; --\"<script>"
    index.add(np.array([[1, -1], [1, 1]]), ids=[0, 1], paths=[hostile, "b"])
    with pytest.raises(SearchError):
        index.delete([identity])
    assert index.count() == 2 and index.search(np.array([[1, -1]]), k=1).paths[0, 0] == hostile
