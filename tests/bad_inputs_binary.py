"""Archives and binary files of data sets: missing, cut short, of another format, and contradicting each other."""

import gzip
import io
import struct
import tarfile

import test_cifar
import test_fashion_mnist
from bad_inputs import both, emptied, half, load, nothing, of_files, replaced, rewritten, without, written


def packed(place):
    test_cifar.pack(place / "files", "cifar10", test_cifar.files10())


def unpacked(name):
    def make(place):
        archive, files, _ = test_cifar.SETS[name]
        for file, content in files().items():
            written(f"files/{archive.instead}/{file}", content)(place)

    return make


def linked(_):
    """A tar in which a file of images is a link to something else."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in test_cifar.files10().items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            if name == "test_batch.bin":
                member.size, member.type, member.linkname = 0, tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def inside(change):
    """A function of a place that changes the bytes of the archive's tar."""
    return rewritten(TAR, lambda content: gzip.compress(change(gzip.decompress(content)), compresslevel=1))


def byte(at, value):
    """A function of bytes that sets one of them."""
    return lambda content: content[:at] + bytes([value]) + content[at + 1 :]


def of_one_class(_):
    return (b"\1" + bytes(3072)) * 10


TAR = "files/cifar-10-binary.tar.gz"
TEN, HUNDRED = "files/cifar-10-batches-bin", "files/cifar-100-binary"
BATCHES = [f"{TEN}/{name}.bin" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")]
NAMES = f"{TEN}/batches.meta.txt"
CIFAR = [
    *of_files(
        "the archive of CIFAR-10", packed, load("cifar10"),
        ("missing", without(TAR), "missing cifar-10-binary.tar.gz"),
        ("empty", emptied(TAR), f"{TAR} was cut short"),
        ("half of it", rewritten(TAR, half), f"{TAR} was cut short"),
        ("all but its last byte", rewritten(TAR, lambda c: c[:-1]), f"{TAR} was cut short"),
        ("no gzip", rewritten(TAR, gzip.decompress), f"{TAR} was cut short or is damaged"),
        ("a picture", written(TAR, b"\x89PNG\r\n"), f"{TAR} was cut short or is damaged"),
        ("no tar in it", inside(lambda _: b"text" * 1000), f"{TAR} was cut short or is damaged"),
        ("half a tar in it", inside(half), TAR),
        ("a changed header in it", inside(lambda c: c.replace(b"10-batches", b"11-batches")), f"{TAR} was cut short"),
        ("a link in it", inside(linked), "lacks test_batch.bin"),
        ("a folder", both(without(TAR), lambda place: (place / TAR).mkdir()), TAR),
    ),
    *of_files(
        "the files of CIFAR-10", unpacked("cifar10"), load("cifar10"),
        ("images are missing", without(BATCHES[2]), "lacks data_batch_3.bin"),
        ("names are missing", without(NAMES), "lacks batches.meta.txt"),
        ("a file that was cut short", rewritten(BATCHES[0], half), "data_batch_1.bin has 15,365 bytes, not 30,730"),
        ("an empty file", emptied(BATCHES[5]), "test_batch.bin has 0 bytes"),
        ("a file that goes on", rewritten(BATCHES[5], lambda c: c + b"x"), "30,731 bytes & another file"),
        ("a label beyond the classes", rewritten(BATCHES[1], byte(0, 10)), "label 10 of image 10"),
        ("one class only", both(*(rewritten(file, of_one_class) for file in BATCHES)), "9 of 10 classes"),
        ("nine names", rewritten(NAMES, lambda c: c.partition(b"\n")[2]), "9 names, not 10"),
        ("a name twice", rewritten(NAMES, replaced(b"cat", b"dog")), "9 names, not 10"),
        ("a list that is far too long", rewritten(NAMES, lambda c: c * 1000), "batches.meta.txt has"),
    ),
    *of_files(
        "the files of CIFAR-100", unpacked("cifar100"), load("cifar100"),
        ("a super-class beyond all", rewritten(f"{HUNDRED}/train.bin", byte(0, 20)), "coarse & label 20"),
        ("a class beyond all", rewritten(f"{HUNDRED}/test.bin", byte(1, 100)), "fine & label 100"),
        ("a class of two super-classes", rewritten(f"{HUNDRED}/train.bin", lambda c: bytes([(c[0] + 1) % 20]) + c[1:]),
         "lie in the coarse classes"),
        ("the test images are missing", without(f"{HUNDRED}/test.bin"), "lacks test.bin"),
        ("super-classes for classes", rewritten(f"{HUNDRED}/fine_label_names.txt", lambda _: test_cifar.names_file(
            test_cifar.GROUPS)), "20 names, not 100"),
        ("training images for test images", rewritten(f"{HUNDRED}/test.bin", lambda c: c * 5), "test.bin & another"),
    ),
    *of_files("the options of CIFAR-10", packed, load("cifar10", fold=1), ("a fold", nothing, "fold=1")),
]  # fmt: skip

TRAIN, TEST, TESTED = (f"files/{n}" for n in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte",
                                              "t10k-labels-idx1-ubyte"))  # fmt: skip


def clothes(is_packed):
    return lambda place: test_fashion_mnist.write(place / "files", test_fashion_mnist.contents(), is_packed)


def headed(magic, *shape):
    """A function of bytes that puts another header before what follows the old one."""
    return lambda content: struct.pack(f">{1 + len(shape)}i", magic, *shape) + content[4 + 4 * len(shape) :]


def swapped(place):
    first, second = (place / file for file in (TEST, TESTED))
    images = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(images)


CLOTHES = [
    *of_files(
        "the packed files of Fashion-MNIST", clothes(True), load("fashion_mnist"),
        ("images are missing", without(f"{TRAIN}.gz"), "missing train-images-idx3-ubyte.gz"),
        ("labels are missing", without(f"{TESTED}.gz"), "missing t10k-labels-idx1-ubyte.gz"),
        ("a file that was cut short", rewritten(f"{TRAIN}.gz", half), f"{TRAIN}.gz is cut short"),
        ("an empty file", emptied(f"{TEST}.gz"), f"{TEST}.gz"),
        ("no gzip", rewritten(f"{TEST}.gz", gzip.decompress), f"{TEST}.gz is cut short or damaged"),
        ("a folder", both(without(f"{TEST}.gz"), lambda p: (p / f"{TEST}.gz").mkdir()), f"{TEST}.gz"),
    ),
    *of_files(
        "the files of Fashion-MNIST", clothes(False), load("fashion_mnist"),
        ("half a header", rewritten(TRAIN, lambda c: c[:9]), f"{TRAIN} ends inside its header"),
        ("images and labels swapped", swapped, f"{TEST} starts with & swapped"),
        ("signed numbers", rewritten(TRAIN, headed(0x903, 60, 28, 28)), "0x00000903, not 0x00000803"),
        ("other sides", rewritten(TRAIN, headed(0x803, 60, 32, 32)), "60 × 32 × 32"),
        ("fewer labels than images", rewritten(TESTED, headed(0x801, 19)), "announces 19"),
        ("negative sides", rewritten(TRAIN, headed(0x803, 60, -28, -28)), "60 × -28 × -28"),
        ("images that were cut short", rewritten(TRAIN, lambda c: c[:-28]), f"{TRAIN} & was cut short"),
        ("images that go on", rewritten(TRAIN, lambda c: c + bytes(28)), f"{TRAIN} goes on"),
        ("a label beyond the classes", rewritten(TESTED, byte(8, 77)), "label 77 of image 0"),
        ("one class only", rewritten(TESTED, lambda c: c[:8] + bytes(20)), "9 of 10 classes"),
    ),
    *of_files("the options of Fashion-MNIST", clothes(True), load("fashion_mnist", protocol="unseen-classes"),
              ("an unknown protocol", nothing, "protocol='unseen-classes'")),
]  # fmt: skip

CASES = [*CIFAR, *CLOTHES]
