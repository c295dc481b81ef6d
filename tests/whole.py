"""The three stages and an evaluation on a data set of a few pictures: what every loader's images must get through."""

from shc import datasets, stages
from shc.config import CentersConfig, ClassifierConfig, Data, HasherConfig
from shc.runs import Run


def run_through(folder, name, root, **data):
    """mAP@ALL of the whole sequence in a new run folder, and its images."""
    datasets.check_files(name, str(root))  # says nothing before a run that works
    run, short = Run(folder), dict(batch=4, device="cpu", threads=1)
    found = stages.run_all(
        run, Data(data=name, root=str(root), size=16, **data), ClassifierConfig(epochs=6, **short),
        CentersConfig(bits=8), HasherConfig(epochs=6, **short), kinds=("semantic",),
    )  # fmt: skip
    images = stages.images_of(run)
    assert {split: len(codes) for split, codes in stages.load_codes(run, images).items()} == {
        split: len(rows) for split, rows in images.splits.items()
    }
    return found["semantic"], images


def chance(images):
    """The share of the database that is relevant to a query: about the mAP of a random order."""
    query, database = (images.split(split)[1] for split in ("query", "database"))
    if query.ndim == 2:
        return (query.float() @ database.float().T > 0).float().mean().item()
    return (query[:, None] == database).float().mean().item()
