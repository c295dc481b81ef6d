import pytest

from shc import cli, config, efficientnet, parameters, pipeline
from shc.parameters import ParameterError
from shc.presets import PRESETS, preset_values


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_parameters_that_notebooks_have_to_values_that_they_take(name, monkeypatch):
    monkeypatch.setattr(efficientnet, "weights_file", lambda: None)  # whether they are installed is told elsewhere
    known = {p.name: p for found in pipeline.all_parameters().values() for p in found.values()}
    values = preset_values(name)
    assert set(values) <= set(known)
    for key, value in values.items():
        assert type(value).__name__ == known[key].kind, key
    parameters.check_values(values)


def test_the_paper_preset_holds_the_published_settings():
    values = preset_values("paper")
    made = config.ClassifierConfig(
        net=values["net"], weights=values["weights"], crop=values["crop"], epochs=values["epochs"],
        batch=values["batch"], lr=values["lr"], optimizer=values["optimizer"], warmup=values["warmup"],
        weight_decay=values["weight_decay"], backbone_lr=values["backbone_lr"],
    ).schedule()  # fmt: skip
    assert (made.optimizer, made.lr, made.weight_decay, made.warmup) == ("rmsprop", 1e-4, 1e-5, 0.0)
    assert (made.epochs, made.batch, made.crop, values["size"], made.backbone_lr) == (300, 64, 224, 256, 1.0)
    assert preset_values("paper", "emoji") == values
    assert preset_values("paper", "cifar100") == values | {"lr": 7e-5, "hasher_lr": 7e-5}


def test_an_unknown_preset_is_told():
    with pytest.raises(ParameterError, match=r"'papers' is unknown; did you mean 'paper'\? The presets are paper"):
        preset_values("papers")


def test_presets_are_listed_with_the_parameters(capsys):
    assert cli.main(["run", "--parameters"]) == 0
    printed = capsys.readouterr().out
    for name, preset in PRESETS.items():
        assert f"--preset {name} " in printed and preset.help in printed
    assert "optimizer=rmsprop" in printed and "on cifar100: lr=7e-05" in printed
