import shutil
from pathlib import Path

import pytest

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.experiments.control import (
    CONTROL,
    control_files,
    control_source,
    is_embedded,
    with_control,
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
    assert with_control(ControlledModels(), CPU, pair) == {"base": pair.base, "distilled": pair.distilled}
    assert control_files(ControlledModels(), CPU, pair) == {}


def test_the_embedded_pair_brings_its_control():
    preset = PRESETS["organism"]
    pair = ModelPair.from_pretrained("organism", where="cpu")
    assert is_embedded(pair)
    adapter = Adapter(AdapterConfig(d_model=pair.d_model, n_layers=pair.n_layers, n_latents=4))
    assert is_embedded(AdaptedModel.from_pretrained(base=preset.base, distilled=preset.distilled, adapter=adapter))
    source = control_source(None, pair)
    assert source == str(CHECKOUT / "artifacts" / "organism" / "control")
    assert source not in (preset.base, preset.distilled)
    models = with_control(ControlledModels(), CPU, pair)
    assert list(models) == ["base", "distilled", CONTROL]
    assert models[CONTROL].d_model == pair.d_model
    assert control_files(ControlledModels(), CPU, pair).keys() == {f"{source}/model.safetensors"}


def test_a_control_of_another_shape_is_refused(pair: ModelPair, save_organism_model):
    with pytest.raises(ValueError, match="has 2 layers of width 16, the base model 3 of 16"):
        with_control(ControlledModels(control=save_organism_model(seed=5, num_hidden_layers=2)), CPU, pair)


def test_a_control_that_is_one_of_the_two_is_refused(pair: ModelPair, tmp_path: Path):
    copy = shutil.copytree(pair.sources[1], tmp_path / "copy")
    for given, other in ((pair.sources[0], "base"), (str(copy), "distilled")):
        with pytest.raises(
            ValueError, match=rf"^control \({given}\) and {other} .* the same weights.*: give --control"
        ):
            with_control(ControlledModels(control=given), CPU, pair)
