"""Centers and what is measured of them, trainings in several processes, and what stages hand to each other."""

import numpy as np
import torch
from bad_inputs import Case, of_function, put, tiny_run

from shc import (
    bch,
    bounds,
    centers,
    constructions,
    embedding,
    exact,
    frontier,
    hamming,
    launch,
    limits,
    promises,
    stages,
    structure,
)  # fmt: skip
from shc.config import CentersConfig, HasherConfig, SimilarityConfig
from shc.control_centers import control_centers
from shc.runs import Run

S = np.array([[1, 0.5, -0.5], [0.5, 1, -1], [-0.5, -1, 1.0]])
CODES = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [-1, -1, 1, -1]])
APART = hamming.distance(CODES, CODES).astype(float)
TURNED = np.where(np.arange(3)[:, None] < np.arange(3), -S, S)
SOLVE = dict(S=S, bits=8, sweeps=1, restarts=1)


def steered(distance=2, heat=1.0, **options):
    steps = centers.optimize_centers(**SOLVE | options)
    next(steps)
    steps.keep(distance)
    steps.heat = heat


def stage(function, *arguments, **changes):
    """A call of a stage on the run `tiny`, whose images it has."""

    def call(place):
        run = Run(place / "runs" / "tiny")
        images = stages.images_of(run)
        found = function(run, images, *arguments, **changes)
        list(found if hasattr(found, "__next__") else [])

    return call


SHORT = dict(epochs=1, device="cpu", threads=1)
STAGES = (
    ("shc.stages.class_similarity", "names of a set without embeddings",
     stage(stages.class_similarity, SimilarityConfig(source="names")), "'shapes' & emoji"),
    ("shc.stages.optimize_centers", "centers of no classes' S",
     stage(stages.optimize_centers, CentersConfig(bits=16, kind="permuted", min_distance="max")), "min_distance="),
    ("shc.stages.optimize_centers", "a distance that no search finds",
     stage(stages.optimize_centers, CentersConfig(bits=16, min_distance="7")), "min_distance=7 & at most 6"),
    ("shc.stages.optimize_centers", "too few bits",
     stage(stages.optimize_centers, CentersConfig(bits=6)), "6 bits & at least 7"),
    ("shc.stages.optimize_centers", "balanced codes of too few bits",
     stage(stages.optimize_centers, CentersConfig(bits=7, kind="csq")), "100 classes & 7 bits"),
    ("shc.stages.load_centers", "centers that were not made", stage(stages.load_centers, "random"), "centers-random"),
    ("shc.stages.load_centers", "centers of a strange name", stage(stages.load_centers, "../x"), "'../x'"),
    ("shc.stages.train_hasher", "another length than the centers'",
     stage(stages.train_hasher, HasherConfig(bits=24, **SHORT)), "bits=24 & 16"),
    ("shc.stages.train_hasher", "centers that were not made",
     stage(stages.train_hasher, HasherConfig(**SHORT), "csq"), "centers-csq"),
    ("shc.stages.evaluate", "a split that is not there", stage(stages.evaluate, queries="test"), "'test' & query"),
    ("shc.stages.evaluate", "codes that were not made", stage(stages.evaluate, "random"), "codes-random"),
    ("shc.stages.load_hasher", "a hasher that was not trained", stage(stages.load_hasher, "random"), "hasher-random"),
)  # fmt: skip

FACTS = dict(name="centers", arrays=dict(codes=CODES.astype(np.int8)), extra=dict(min_distance=2, loss=0.5))


def promise(**changes):
    promises.check(**FACTS | changes)


CASES = [
    *of_function(
        "shc.centers.solve", centers.solve, SOLVE,
        ("no square", dict(S=S[:2]), "S has shape [2, 3]"),
        ("no classes", dict(S=np.zeros((0, 0))), "S has shape [0, 0]"),
        ("no similarity", dict(S=None), "S hold object"),
        ("a similarity in words", dict(S="classes"), "S hold <U7"),
        ("nan", dict(S=S * np.nan), "S[0, 0] is nan"),
        ("not symmetric", dict(S=TURNED), "S[1, 2] = 1"),
        ("unlike itself", dict(S=S * 0.5), "S[0, 0] = 0.5"),
        ("no bits", dict(bits=0), "bits=0"),
        ("half a bit", dict(bits=8.0), "bits=8.0"),
        ("too few bits", dict(bits=1), "3 classes & 1 bits"),
        ("an impossible distance", dict(min_distance=6), "min_distance=6 & at most 5"),
        ("a negative distance", dict(min_distance=-1), "min_distance=-1"),
        ("half a distance", dict(min_distance=2.5), "min_distance=2.5"),
        ("an unknown distance", dict(min_distance="most"), "min_distance='most'"),
        ("a distance of True", dict(min_distance=True), "min_distance=True"),
        ("an unknown solver", dict(solver="tabu"), "solver='tabu'"),
        ("a negative seed", dict(seed=-1), "seed=-1"),
        ("half a seed", dict(seed=0.5), "seed=0.5"),
        ("no sweeps", dict(sweeps=0), "sweeps=0"),
        ("no restarts", dict(restarts=0), "restarts=0"),
        ("no workers", dict(workers=0), "workers=0"),
        ("no records", dict(records=0), "records=0"),
        ("negative balance", dict(balance=-1.0), "balance=-1.0"),
        ("infinite balance", dict(balance=np.inf), "balance=inf"),
        ("weights of other classes", dict(weights=np.ones((2, 2))), "weights have shape [2, 2]"),
        ("negative weights", dict(weights=-np.ones((3, 3))), "weights go from -1.0"),
        ("weights that are not symmetric", dict(weights=TURNED + 1), "weights are not symmetric"),
        ("a start of other classes", dict(start=CODES[:2]), "start has shape [2, 4]"),
        ("a start of zeros", dict(start=np.zeros((3, 8))), "value 0.0"),
        ("a start for the paper's solver", dict(solver="paper", start=np.ones((3, 8))), "does not take start"),
        ("a fixed class that is not there", dict(fixed=([3], np.ones((1, 8)))), "[3] & 0 to 2"),
        ("a class fixed twice", dict(fixed=([1, 1], np.ones((2, 8)))), "[1, 1]"),
        ("fixed codes of other bits", dict(fixed=([1], CODES[:1])), "[1, 4] & [F, 8]"),
        ("fixed codes too close", dict(fixed=([0, 1], np.ones((2, 8))), min_distance=3), "min_distance=3 & 0 apart"),
    ),
    *of_function(
        "CenterOptimizer", steered, {},
        ("an impossible distance", dict(distance=7), "min_distance=7"),
        ("no heat", dict(heat=0), "heat=0"),
        ("heat of nan", dict(heat=np.nan), "heat=nan"),
        ("changes of the paper's solver", dict(solver="paper", restarts=None, sweeps=None), 'solver="shc"'),
    ),
    Case("shc.centers.collect", "no steps", lambda place: centers.collect([]), "no steps"),
    *of_function(
        "shc.centers.loss", centers.loss, dict(S=S, codes=CODES),
        ("too few codes", dict(codes=CODES[:2]), "S has shape [3, 3] & 2 codes"),
        ("codes of 0 and 1", dict(codes=CODES > 0), "only -1 and +1"),
    ),
    *of_function(
        "shc.constructions.random_centers", constructions.random_centers, dict(bits=20, classes=3),
        ("no classes", dict(classes=0), "classes=0"),
        ("bits in words", dict(bits="20"), "bits='20'"),
        ("a negative seed", dict(seed=-5), "seed=-5"),
    ),
    *of_function(
        "shc.constructions.hadamard_centers", constructions.hadamard_centers, dict(bits=8, classes=16),
        ("no power of two", dict(bits=12), "bits=12"),
        ("too many classes", dict(classes=17), "17 classes & 16 Hadamard"),
    ),
    *of_function(
        "shc.constructions.lexicode", constructions.lexicode, dict(bits=8, classes=4, min_distance=4),
        ("too many bits", dict(bits=21), "bits=21"),
    ),
    *of_function(
        "shc.constructions.distance_only_centers", constructions.distance_only_centers, dict(bits=8, classes=4),
        ("an impossible distance", dict(min_distance=7), "min_distance=7"),
        ("too many classes", dict(bits=4, classes=17), "17 classes & 4 bits"),
    ),
    *of_function(
        "shc.bch.bch_centers", bch.bch_centers, dict(bits=16, classes=10, min_distance=6),
        ("too many classes", dict(classes=129), "128 & 129 classes"),
        ("too many bits", dict(bits=5000), "bits=5000"),
        ("no bits", dict(bits=0), "bits=0"),
        ("a negative distance", dict(min_distance=-2), "min_distance=-2"),
    ),
    *of_function(
        "shc.limits.max_distance_limits", limits.max_distance_limits, dict(bits=16, classes=100),
        ("too many classes", dict(bits=6), "100 classes & 6 bits"),
        ("no bits", dict(bits=-1), "bits=-1"),
    ),
    *of_function(
        "shc.bounds.lower_bound", bounds.lower_bound, dict(S=S, bits=8, min_distance=2),
        ("a distance beyond the bits", dict(min_distance=9), "min_distance=9"),
        ("no symmetric S", dict(S=TURNED), "not symmetric"),
    ),
    *of_function(
        "shc.exact.best_centers", exact.best_centers, dict(S=S, bits=4),
        ("too many to try", dict(S=np.eye(9)), "9 classes and 4 bits"),
    ),
    *of_function(
        "shc.control_centers.control_centers", control_centers, dict(config=CentersConfig(kind="random"), classes=10),
        ("nothing to permute", dict(config=CentersConfig(kind="permuted")), "kind='permuted'"),
        ("balanced codes too few", dict(config=CentersConfig(kind="csq", bits=6), classes=21), "21 classes & 6 bits"),
    ),
    *of_function(
        "shc.structure.rank_agreement", structure.rank_agreement, dict(S=S, codes=CODES),
        ("too few codes", dict(codes=CODES[:2]), "2 codes & 3 classes"),
        ("one class", dict(S=[[1.0]], codes=CODES[:1]), "S has 1 class"),
    ),
    *of_function(
        "shc.structure.forced_stress", structure.forced_stress, dict(S=S, bits=8, min_distance=2),
        ("a distance beyond the bits", dict(min_distance=9), "min_distance=9"),
        ("no bits", dict(bits=0, min_distance=0), "bits=0"),
    ),
    *of_function(
        "shc.structure.average_linkage", structure.average_linkage, dict(distances=APART),
        ("one class", dict(distances=[[0.0]]), "distances has 1 rows"),
        ("infinite", dict(distances=np.full((3, 3), np.inf)), "distances[0, 0] is inf"),
        ("not symmetric", dict(distances=np.triu(APART)), "distances is not symmetric"),
        ("no square", dict(distances=APART[0]), "distances has shape [3]"),
    ),
    *of_function(
        "shc.structure.telling_bits", structure.telling_bits, dict(codes=CODES, groups=[0, 0, 1]),
        ("one super-class", dict(groups=[0, 0, 0]), "one super-class"),
        ("groups of fewer classes", dict(groups=[0, 1]), "groups have shape [2] & 3 classes"),
        ("negative groups", dict(groups=[-1, 0, 1]), "groups"),
        ("an agreement of half", dict(agreement=0.5), "agreement=0.5"),
    ),
    *of_function(
        "shc.structure.cophenetic_correlation", structure.cophenetic_correlation, dict(first=APART, second=APART),
        ("other classes", dict(second=APART[:2, :2]), "3 and 2 classes"),
    ),
    Case("shc.structure.taxonomy_heights", "no hierarchy", lambda place: structure.taxonomy_heights(None),
         "no class hierarchy"),
    *of_function(
        "shc.embedding.classical_scaling", embedding.classical_scaling, dict(distances=APART),
        ("no dimensions", dict(dimensions=0), "dimensions=0"),
        ("too many dimensions", dict(dimensions=4), "dimensions=4"),
    ),
    *of_function(
        "shc.embedding.kept_neighbors", embedding.kept_neighbors, dict(distances=APART, points=APART, count=1),
        ("too many neighbors", dict(count=3), "count=3"),
        ("too few points", dict(points=APART[:2]), "points have shape [2, 3]"),
    ),
    *of_function(
        "shc.frontier.frontier", frontier.frontier, dict(S=S, bits=8, distances=[2]),
        ("one class", dict(S=[[1.0]]), "S has 1 class"),
        ("no distances", dict(distances=[]), "no distances"),
        ("an impossible distance", dict(distances=[8]), "min_distance=8"),
    ),
    *of_function(
        "shc.frontier.all_distances", frontier.all_distances, dict(bits=8, classes=3),
        ("no step", dict(step=0), "step=0"),
    ),
    *of_function(
        "shc.frontier.linear_hasher", frontier.linear_hasher,
        dict(features=torch.eye(3), labels=torch.arange(3), codes=CODES),
        ("features that are infinite", dict(features=torch.eye(3) / 0), "finite"),
        ("labels beyond the centers", dict(labels=torch.arange(3) + 1), "from 1 to 3 for 3 centers"),
        ("too few labels", dict(labels=torch.arange(2)), "[3, 3] & [2]"),
        ("an unknown method", dict(method="shcc"), "'shcc'"),
    ),
    *(
        Case("shc.launch.launch", what, lambda place, given=given: launch.launch(*given), words)
        for what, given, words in (
            ("no processes", (max, 0, 1, 2), "nproc=0"),
            ("half a process", (max, 1.5, 1, 2), "nproc=1.5"),
            ("a function without a name", (lambda: 1, 2), "<lambda>"),
        )
    ),
    Case("shc.launch.Ranks.part", "a batch that cannot be shared", lambda place: launch.Ranks(0, 3).part(128),
         "128 images & 3 processes"),
    *of_function(
        "shc.promises.check", promise, {},
        ("centers closer than told", dict(extra=dict(min_distance=4, loss=0.5)), "2 bits, not 4"),
        ("centers of zeros", dict(arrays=dict(codes=CODES.astype(np.int8) * 0)), "±1 codes"),
        ("centers without a distance", dict(extra=dict(loss=0.5)), "'min_distance' is missing"),
        ("centers of other bits", dict(parameters=dict(bits=5)), "4 bits, not the 5"),
        ("weights of nan", dict(name="hasher", arrays=dict(w=np.array([np.nan]))), "w holds nan"),
        ("no weights", dict(name="classifier", arrays={}), "no weights"),
        ("an unknown artifact", dict(name="weights"), "'weights'"),
        ("codes of bytes too few", dict(name="codes", arrays=dict(query=np.zeros((3, 1), np.uint8)),
                                        parameters=dict(bits=16)), "[3, 1] & 16 bits"),
        ("an S that is not symmetric", dict(name="similarity", arrays=dict(S=TURNED)), "not symmetric"),
        ("a split that names an image twice", dict(name="splits", arrays=dict(train=np.array([3, 3]))), "train"),
    ),
    *(
        Case(surface, what, call, words, put(tiny_run, "runs/tiny"))
        for surface, what, call, words in STAGES
    ),
]  # fmt: skip
