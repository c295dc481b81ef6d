"""The index of codes: what it is opened with, what is added, asked and deleted, and what its files can hold."""

import numpy as np
from bad_inputs import Case, half, of_files, of_function, rewritten

from shc.files import read_arrays, write_arrays
from shc.hamming import pack
from shc.search import HammingIndex

CODES = 2 * np.random.default_rng(0).integers(0, 2, (60, 16)) - 1
WORDS = pack(CODES)
FILE = "index/index.safetensors"


def opened(uri="memory:", **options):
    return HammingIndex.open(uri, **options)


def filled(**options):
    index = HammingIndex.open("memory:", **options)
    index.add(CODES, labels=np.arange(60) % 3)
    return index


def add(codes=CODES, bits=None, **rest):
    HammingIndex.open("memory:", bits=bits).add(codes, **rest)


def add_again(codes=CODES, **rest):
    filled().add(codes, **rest)


def search(codes=CODES[:2], kind="flat", **asked):
    filled(kind=kind).search(codes, **asked)


def search_words(words=WORDS[:2]):
    filled().search(words, k=1)


def delete(ids=(3, 4)):
    filled().delete(ids)


def build(count=60, **options):
    HammingIndex.open("memory:", **options).add(CODES[:count])


def save(place):
    index = HammingIndex.open(f"memory:{place}/index", fingerprint="hasher1")
    index.add(CODES)
    index.save()


def save_lance(place):
    HammingIndex.open(f"lance:{place}/lance", fingerprint="hasher1").add(CODES, ids=np.arange(60))


def load(uri="memory:{}/index", **options):
    return lambda place: HammingIndex.open(uri.format(place), **options)


def lance(call, **options):
    return lambda place: call(HammingIndex.open(f"lance:{place}/lance", **options))


def forged(**changes):
    """A function of a place that changes arrays or facts of a saved index, with a checksum that fits."""

    def forge(place):
        arrays, meta = read_arrays(place / FILE)
        arrays |= {name: value for name, value in changes.items() if name in arrays}
        meta |= {name: value for name, value in changes.items() if name in meta}
        write_arrays(place / FILE, arrays, meta)

    return forge


def other_file(content):
    return rewritten(FILE, lambda _: content)


def header_only(content):
    return content[: 8 + int.from_bytes(content[:8], "little")]


ONE = np.array([[1, -1]])
CASES = [
    *of_function(
        "HammingIndex.open", opened, {},
        ("no scheme", dict(uri="codes"), "uri='codes' & memory:"),
        ("an empty URI", dict(uri=""), "uri=''"),
        ("an unknown scheme", dict(uri="redis://host"), "uri='redis://host'"),
        ("nothing", dict(uri=None), "uri=None"),
        ("a host for memory", dict(uri="memory://host"), "uri='memory://host'"),
        ("no folder for lance", dict(uri="lance:"), "uri='lance:'"),
        ("a host for lance", dict(uri="lance://host/x"), "uri='lance://host/x'"),
        ("a bucket without name", dict(uri="lance+s3://"), "uri='lance+s3://'"),
        ("no bits", dict(bits=0), "bits=0"),
        ("too many bits", dict(bits=1025), "bits=1025 & 1024"),
        ("bits in words", dict(bits="16"), "bits='16'"),
        ("bits of True", dict(bits=True), "bits=True"),
        ("a fingerprint that is a number", dict(fingerprint=7), "fingerprint=7"),
        ("an unknown kind", dict(kind="tree"), "kind='tree' & hnsw"),
        ("an option of another kind", dict(kind="ivf", ef_search=3), "ef_search & nprobe"),
        ("an option for flat", dict(nlist=3), "nlist & 'flat'"),
        ("too small a graph", dict(kind="hnsw", m=1), "m=1"),
        ("a negative number of clusters", dict(kind="ivf", nlist=-1), "nlist=-1"),
        ("half a flip", dict(kind="multihash", nflip=0.5), "nflip=0.5"),
        ("pieces wider than faiss takes", dict(kind="multihash", width=33), "width=33"),
    ),
    *of_function(
        "HammingIndex.add", add, {},
        ("one code without its row", dict(codes=CODES[0]), "codes have shape [16]"),
        ("no bits", dict(codes=CODES[:, :0]), "codes have shape [60, 0]"),
        ("no codes", dict(codes=CODES[:0]), "codes have shape [0, 16]"),
        ("bits of 0 and 1", dict(codes=(CODES + 1) // 2), "value 0"),
        ("a network's outputs", dict(codes=CODES * 0.5), "0.5"),
        ("codes that are no numbers", dict(codes=CODES.astype(str)), "codes"),
        ("codes of None", dict(codes=None), "codes have shape []"),
        ("rows of other lengths", dict(codes=[[1, -1], [1]]), "[[1, -1], [1]] has rows of different lengths"),
        ("too many bits", dict(codes=np.ones((1, 1025))), "bits=1025"),
        ("words of unknown length", dict(codes=WORDS), "packed uint64 words"),
        ("words of another length", dict(codes=WORDS, bits=80), "80 bits & 2 words"),
        ("words with bits beyond", dict(codes=WORDS | np.uint64(1 << 20), bits=16), "16 bits"),
        ("other bits than announced", dict(bits=32), "16 bits & 32"),
        ("too few ids", dict(ids=np.arange(59)), "ids [59]"),
        ("negative ids", dict(ids=np.arange(60) - 1), "from -1"),
        ("ids of half numbers", dict(ids=np.arange(60) / 2), "float64"),
        ("the same id twice", dict(ids=np.arange(60) // 2), "0, 1, 2 & more than once"),
        ("ids beyond 63 bits", dict(ids=np.arange(60, dtype=np.uint64) + np.uint64(2**63)), "2^63"),
        ("too few labels", dict(labels=[1]), "labels [1]"),
        ("labels in words", dict(labels=["cat"] * 60), "labels"),
        ("a label below unknown", dict(labels=np.full(60, -2)), "-2"),
        ("one path for all", dict(paths="a.png"), "5 paths for 60 codes"),
        ("too few paths", dict(paths=["a.png"]), "1 paths for 60 codes"),
        ("NUL in a path", dict(paths=["a\0b"] * 60), "NUL"),
        ("a path that is no text", dict(paths=["a\udc80"] * 60), "no valid text"),
    ),
    *of_function(
        "HammingIndex.add again", add_again, {},
        ("codes of other bits", dict(codes=CODES[:, :8]), "8 bits & 16"),
        ("an id with another code", dict(codes=-CODES[:1], ids=[5]), "id 5 already, with another code"),
        ("an id with another label", dict(codes=CODES[5:6], ids=[5], labels=[0]), "id 5 already, with another label"),
        ("an id with another path", dict(codes=CODES[6:7], ids=[6], labels=[0], paths=["x"]), "another path"),
    ),
    *of_function(
        "HammingIndex.search", search, dict(k=3),
        ("neither k nor radius", dict(k=None), "k=None, radius=None"),
        ("k and radius", dict(radius=2), "k=3, radius=2"),
        ("no neighbors", dict(k=0), "k=0"),
        ("half a neighbor", dict(k=1.5), "k=1.5"),
        ("True neighbors", dict(k=True), "k=True"),
        ("a negative radius", dict(k=None, radius=-1), "radius=-1"),
        ("a radius in words", dict(k=None, radius="near"), "radius='near'"),
        ("no query", dict(codes=CODES[:0]), "query codes have shape [0, 16]"),
        ("a query of other bits", dict(codes=ONE), "query codes have 2 bits & 16"),
        ("a query of zeros", dict(codes=np.zeros((1, 16))), "query codes & value 0.0"),
        ("a query of nan", dict(codes=np.full((1, 16), np.nan)), "value nan"),
        ("a radius in a graph", dict(k=None, radius=1, kind="hnsw"), "'hnsw'"),
    ),
    *of_function(
        "HammingIndex.search of words", search_words, {},
        ("words too many", dict(words=np.zeros((1, 2), np.uint64)), "[1, 2] & expected 1 words"),
        ("bits beyond the code", dict(words=WORDS | np.uint64(2**40)), "16 bits"),
    ),
    *of_function(
        "HammingIndex.delete", delete, {},
        ("ids that are not there", dict(ids=[3, 99, 77]), "no id 77, 99"),
        ("a negative id", dict(ids=[-1]), "from -1"),
        ("the same id twice", dict(ids=[3, 3]), "3 more than once"),
        ("a text", dict(ids="3"), "ids"),
        ("a table of ids", dict(ids=[[3, 4]]), "ids [1, 2]"),
    ),
    *of_function(
        "HammingIndex kinds", build, {},
        ("more clusters than codes", dict(kind="ivf", nlist=61), "nlist=61 & 60 items"),
        ("more pieces than bits", dict(kind="multihash", nhash=5, width=4), "nhash=5 & 20 bits & 16"),
    ),
    Case("HammingIndex.search", "an empty index", lambda place: opened().search(CODES, k=1), "memory: is empty"),
    Case("HammingIndex.save", "a place in memory", lambda place: filled().save(), "memory: has no folder"),
    Case("HammingIndex.save", "nothing", lambda place: opened(f"memory:{place}/index").save(), "is empty"),
    *of_files(
        "a saved index", save, load(),
        ("half of it", rewritten(FILE, half), f"{FILE} is damaged"),
        ("an empty file", other_file(b""), f"{FILE} is damaged"),
        ("its header only", rewritten(FILE, header_only), f"{FILE} is damaged"),
        ("another file", other_file(b"\x89PNG\r\n\x1a\n" * 20), f"{FILE} is damaged"),
        ("fewer ids than codes", forged(ids=np.arange(59)), f"{FILE} is damaged"),
        ("ids that are texts", forged(ids=np.arange(60).astype("S4").view(np.uint8)), f"{FILE} is damaged"),
        ("an index that faiss does not know", forged(index=np.zeros(100, np.uint8)), f"{FILE} is damaged"),
        ("an unknown kind", forged(kind="tree"), f"{FILE} is damaged"),
        ("an unknown option", forged(options={"speed": 3}), f"{FILE} is damaged"),
        ("bits that are none", forged(bits="many"), f"{FILE} is damaged"),
        ("bits that are others", forged(bits=24), f"{FILE} is damaged"),
        ("paths that are no text", forged(paths=np.full(100, 255, np.uint8)), f"{FILE} is damaged"),
    ),
    *(
        Case("a saved index", what, load(**options), words, save)
        for what, options, words in (
            ("opened with other bits", dict(bits=32), "16 bits, not 32"),
            ("opened by another hasher", dict(fingerprint="hasher2"), "hasher1 & hasher2"),
            ("opened as another kind", dict(kind="hnsw"), "'flat', not 'hnsw'"),
        )
    ),
    Case("a saved index", "a file as the folder", load("memory:{}/file"), "file is a file",
         lambda place: (place / "file").write_text("")),
    Case("a lance index", "an option", load("lance:{}/lance", kind="ivf"), "kind", save_lance),
    Case("a lance index", "a file as the folder", load("lance:{}/file"), "file",
         lambda place: (place / "file").write_text("")),
    *(
        Case("a lance index", what, lance(call, **options), words, save_lance)
        for what, options, call, words in (
            ("opened with other bits", dict(bits=32), lambda index: index.count(), "16 bits, not 32"),
            ("opened by another hasher", dict(fingerprint="x"), lambda index: index.count(), "hasher1 & x"),
            ("codes of other bits", {}, lambda index: index.add(CODES[:, :8]), "8 bits & 16"),
            ("an id with another code", {}, lambda index: index.add(-CODES[:1], ids=[5]), "id 5 already"),
            ("an id that is not there", {}, lambda index: index.delete([99]), "no id 99"),
            ("no neighbors", {}, lambda index: index.search(CODES[:1], k=0), "k=0"),
            ("a query of 0 and 1", {}, lambda index: index.search((CODES[:1] + 1) // 2, k=1), "value 0"),
            ("ids as SQL", {}, lambda index: index.delete(["1 OR 1=1"]), "ids"),
        )
    ),
]  # fmt: skip
