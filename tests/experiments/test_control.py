import pytest

from toolkit.experiments.control import (
    CONTROL,
    ControlConfig,
    control_source,
    controlled_origin,
    is_embedded,
    open_control,
)
from toolkit.models.pair import ModelPair
from toolkit.models.presets import CHECKOUT, PRESETS
from toolkit.models.where import Where
from toolkit.settings.models import ControlledModels

CPU = Where(device_map="cpu")


def test_only_the_embedded_pair_has_a_control_of_its_own(pair: ModelPair):
    assert not is_embedded(pair)
    assert control_source(None, pair) is None
    assert control_source("elsewhere", pair) == "elsewhere"
    assert open_control(ControlledModels(), Where(), pair) == {}


def test_the_embedded_pair_brings_its_control():
    preset = PRESETS["organism"]
    pair = ModelPair.from_pretrained("organism", where="cpu")
    assert is_embedded(pair)
    source = control_source(None, pair)
    assert source == str(CHECKOUT / "artifacts" / "organism" / "control")
    assert source not in (preset.base, preset.distilled)
    control = open_control(ControlledModels(), CPU, pair)[CONTROL]
    assert control.d_model == pair.d_model
    files = controlled_origin(ControlConfig(), pair, {})["sha256"]
    assert files.keys() == pair.files().keys() | {f"{source}/model.safetensors"}


def test_a_control_of_another_shape_is_refused(pair: ModelPair, save_organism_model):
    with pytest.raises(ValueError, match="has 2 layers of width 16, the pair 3 of 16"):
        open_control(ControlledModels(control=save_organism_model(seed=5, num_hidden_layers=2)), CPU, pair)
