import re

import pytest
import torch

from shc import config
from shc.config import CentersConfig, ClassifierConfig, ConfigError, Data, HasherConfig, SimilarityConfig, Training

PRETRAINED = dict(net="resnet18", weights="imagenet")
STEPS = (Data, Training, ClassifierConfig, SimilarityConfig, CentersConfig, HasherConfig)


@pytest.mark.parametrize("step", STEPS)
def test_defaults_are_valid_and_frozen(step):
    made = step()
    with pytest.raises(AttributeError):
        made.seed = 1
    assert made == step() and made.with_() == made


@pytest.mark.parametrize(
    ("step", "values", "told"),
    [
        (CentersConfig, {"bits": "32"}, "bits='32' must be of type int, not str"),
        (CentersConfig, {"bits": 32.0}, "bits=32.0 must be of type int, not float"),
        (CentersConfig, {"bits": True}, "bits=True must be of type int, not bool"),
        (CentersConfig, {"min_distance": 12}, "min_distance=12 must be of type str, not int"),
        (Data, {"scale": "1"}, "scale='1' must be of type float, not str"),
        (Data, {"scale": True}, "scale=True must be of type float, not bool"),
        (Data, {"scale": float("nan")}, "scale=nan must be a finite number"),
        (Data, {"scale": float("inf")}, "scale=inf must be a finite number"),
        (Data, {"data": None}, "data=None must be of type str, not NoneType"),
        (Data, {"seed": -1}, "seed=-1 must be 0 or above"),
        (CentersConfig, {"bits": 0}, "bits=0 must lie between 1 and 1024; 16, 32 and 64 are usual"),
        (CentersConfig, {"bits": 1025}, "bits=1025 must lie between 1 and 1024"),
        (CentersConfig, {"kind": "semantics"}, "kind='semantics' is unknown; choose one of semantic, permuted"),
        (CentersConfig, {"solver": "paper2"}, "solver='paper2' is unknown; choose one of shc, paper, paper-code"),
        (CentersConfig, {"min_distance": "-1"}, "min_distance='-1' must be 'rule', 'max' or a whole number of bits"),
        (CentersConfig, {"min_distance": "1.5"}, "min_distance='1.5' must be 'rule', 'max' or a whole number"),
        (SimilarityConfig, {"source": "text"}, "source='text' is unknown; choose one of classifier, hierarchy"),
        (SimilarityConfig, {"mask": "argmax"}, "mask='argmax' is unknown; choose one of predicted, true"),
        (SimilarityConfig, {"temperature": 0.0}, "temperature=0.0 must be above 0"),
        (ClassifierConfig, {"net": "resnet"}, "net='resnet' is unknown; choose one of cnn, resnet18"),
        (ClassifierConfig, {"weights": "imagenet"}, "weights='imagenet' is unknown; choose one of none"),
        (ClassifierConfig, {"features": "frozen"}, "untrained cnn; set weights='imagenet' with a net that has them (r"),
        (ClassifierConfig, {"features": "frozen", "net": "resnet18"}, "on an untrained resnet18"),
        (ClassifierConfig, {"features": "fixed"}, "features='fixed' is unknown; choose one of tune, frozen"),
        (ClassifierConfig, {"optimizer": "sgd"}, "optimizer='sgd' is unknown; choose adamw or rmsprop"),
        (ClassifierConfig, {"crop": -1}, "crop=-1 must be a number of pixels"),
        (HasherConfig, {"features": "fixed"}, "features='fixed' is unknown; choose one of default, tune, frozen"),
        (HasherConfig, {"frozen": True, "features": "tune"}, "frozen=True and features='tune' contradict each other"),
        (ClassifierConfig, {"epochs": 0}, "epochs=0 must be at least 1"),
        (ClassifierConfig, {"lr": 0.0}, "lr=0.0 must lie between 0 and 10"),
        (ClassifierConfig, {"dtype": "float16"}, "dtype='float16' is unknown; choose 'float32' or 'bfloat16'"),
        (ClassifierConfig, {"device": "gpu"}, "device='gpu' is not usable here"),
        (HasherConfig, {"method": "csqq"}, "method 'csqq' is unknown; did you mean 'csq'?"),
        (HasherConfig, {"init": "random"}, "init='random' is unknown; choose one of classifier, scratch"),
        (HasherConfig, {"threads": 0}, "threads=0 must be at least 1"),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_with_what_is_expected(step, values, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        step(**values)


def test_whole_numbers_are_taken_for_floats_and_count_as_the_same():
    assert Data(scale=1).scale == 1.0 and type(Data(scale=1).scale) is float
    assert Data(scale=1).identity() == Data(scale=1.0).identity()


def test_with_checks_again():
    with pytest.raises(ConfigError, match="bits=0"):
        CentersConfig().with_(bits=0)


def test_where_it_runs_is_not_part_of_the_identity():
    assert ClassifierConfig(device="cpu").identity() == ClassifierConfig(threads=7).identity()
    assert ClassifierConfig(lr=0.001).identity() != ClassifierConfig().identity()
    assert ClassifierConfig(dtype="bfloat16").identity() != ClassifierConfig().identity()
    for step in STEPS:
        assert step(**step().identity()) == step()  # what an artifact stores makes the same step again


def test_schedule_takes_the_training_fields_and_resolves_the_device():
    schedule = HasherConfig(epochs=3, batch=7, lr=0.01, seed=5, eval_every=4, threads=1).schedule()
    made = (schedule.epochs, schedule.batch, schedule.lr, schedule.seed, schedule.eval_every, schedule.threads)
    assert made == (3, 7, 0.01, 5, 4, 1)
    assert schedule.backbone_lr == HasherConfig().backbone_lr
    assert schedule.device == ("cuda" if torch.cuda.is_available() else "cpu")


def test_fields_that_came_later_change_no_identity_at_their_defaults():
    assert set(ClassifierConfig().identity()) == {
        "epochs", "batch", "lr", "weight_decay", "seed", "dtype", "net", "weights", "eval_every",
    }  # fmt: skip
    assert set(HasherConfig().identity()) == {
        "epochs", "batch", "lr", "weight_decay", "seed", "dtype", "method", "init", "backbone_lr", "eval_every",
    }  # fmt: skip
    assert set(Data().identity()) == {"data", "scale", "size", "seed", "fold", "protocol"}
    later = dict(PRETRAINED, features="frozen", crop=16, optimizer="rmsprop", warmup=0.0)
    assert later.items() <= ClassifierConfig(**later).identity().items()


def test_a_pretrained_backbone_learns_more_slowly_by_default():
    tuned = ClassifierConfig(net="resnet18", weights="imagenet")
    assert tuned.schedule().backbone_lr == 0.1 and ClassifierConfig().schedule().backbone_lr == 1.0
    assert ClassifierConfig(backbone_lr=0.5) == ClassifierConfig()  # from scratch there is one rate
    assert tuned.with_(backbone_lr=0.5).identity()["backbone_lr"] == 0.5
    assert ClassifierConfig(**tuned.identity()) == tuned


def test_a_frozen_classifier_gives_frozen_hashers_unless_told_otherwise():
    tuned, frozen = ClassifierConfig(), ClassifierConfig(**PRETRAINED, features="frozen")
    assert HasherConfig().is_frozen(frozen) and not HasherConfig().is_frozen(tuned)
    assert HasherConfig(features="frozen").is_frozen(tuned) and HasherConfig(frozen=True).is_frozen(tuned)
    assert not HasherConfig(features="tune").is_frozen(frozen)


def test_a_head_is_not_trained_on_an_untrained_backbone_by_mistake():
    asked = HasherConfig(init="scratch", features="frozen")
    with pytest.raises(ConfigError, match=r"init='scratch' would train .* untrained backbone; set init='classifier'"):
        asked.is_frozen(ClassifierConfig())
    assert asked.is_frozen(ClassifierConfig(**PRETRAINED))
    assert HasherConfig(init="scratch", frozen=True).is_frozen(ClassifierConfig())  # said so, as comparisons do


@pytest.mark.parametrize(("given", "taken"), [("rule", "rule"), ("max", "max"), ("12", 12), ("0", 0)])
def test_distance_is_what_the_optimizer_takes(given, taken):
    assert CentersConfig(min_distance=given).distance == taken


def test_resnets_may_start_from_imagenet():
    assert ClassifierConfig(net="resnet18", weights="imagenet").weights == "imagenet"


def test_config_errors_are_value_errors():
    assert issubclass(config.ConfigError, ValueError)
