"""Settings of where models run reach the models, and change nothing that they say."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.fields import changed
from toolkit.models import pair as pair_module
from toolkit.models.files.loading import load_config
from toolkit.models.places import one_at_a_time
from toolkit.models.places.one_at_a_time import OneAtATime
from toolkit.models.places.open_model import open_model
from toolkit.models.where import Where
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.settings.models import ModelChoice
from toolkit.training.training_run import TrainingRun

CPU = Where(device_map="cpu")
pytestmark = pytest.mark.filterwarnings("ignore:base and distilled are the same weights")  # one model will do here


@pytest.fixture
def choice(organism_folders: tuple[str, str]) -> ModelChoice:
    return ModelChoice(base=organism_folders[0], distilled=organism_folders[1])


@pytest.fixture
def small(choice: ModelChoice) -> Where:
    """A machine with room for the embedding of one model and the layer that is being run."""
    embedding = 4 * 16 * load_config(choice.base).vocab_size
    return Where(device_map="cpu", sequential=True, max_memory=f"{embedding / 1000 + 14}KB")


def test_every_setting_reaches_the_pair(choice: ModelChoice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = {
        "dtype": "bfloat16", "device_map": "cuda", "base_device": "cuda:0", "distilled_device": "cuda:1",
        "max_memory": "3GB", "offload_folder": tmp_path, "sequential": True, "remote": True, "jobs": 7,
        "wire": "int8", "deadline": 3.0,
    }  # fmt: skip
    asked: dict[str, Any] = {}
    opened = choice.open(CPU, [1])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(pair_module.ModelPair, "open", lambda sources, **how: asked.update(how) or opened)
    assert choice.open(Where(**settings), [2, 3], depth=3) is opened
    assert asked == {"layers": [2, 3], "depth": 3, "where": Where(**settings)}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"remote": True}, "tensor_parallel: about models on this machine, unused by those on NDIF"),
        ({"max_memory": "3GB"}, "max_memory: about whole models, unused by those whose layers are split"),
    ],
)
def test_what_cannot_go_with_split_layers_is_refused_before_anything(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Where(tensor_parallel=True, **settings).check_used()


def test_a_pair_opened_for_a_small_machine(choice: ModelChoice, small: Where) -> None:
    whole = choice.open(CPU, [2])
    pair = choice.open(small, [2], depth=2)
    assert isinstance(pair.base.place, OneAtATime)
    assert (pair.base.depth, pair.layers) == (2, (2,))
    assert [name for name, w in pair.base.model._module.named_parameters() if w.device.type == "meta"]
    assert torch.equal(pair.read("Wait, is that right?"), whole.read("Wait, is that right?"))


def test_one_model_has_the_same_settings(choice: ModelChoice, small: Where) -> None:
    pair = choice.open(CPU, [1])
    model = open_model(choice.base, pair.tokenizer, small)
    assert [name for name, w in model.model._module.named_parameters() if w.device.type == "meta"]
    ids, mask = torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.long)
    assert torch.equal(model.logits(ids, mask), pair.base.logits(ids, mask))


def test_on_ndif_no_weights_are_loaded(choice: ModelChoice, ndif: object) -> None:
    remote = Where(remote=True, wire="fp32")
    pair = choice.open(remote, [1])
    model = open_model(choice.base, pair.tokenizer, remote)
    for each in (pair.base, pair.distilled, model):
        assert {weight.device.type for weight in each.model._module.parameters()} == {"meta"}
    prints = pair.fingerprints()
    assert list(pair.files()) == [f"{choice.base}/config.json", f"{choice.distilled}/config.json"]
    assert list(pair.files().values()) == list(prints.values())
    assert all(value.startswith("remote, sha256 of the config") for value in prints.values())


@pytest.mark.parametrize(
    "local",
    [
        {"sequential": True, "max_memory": "2GB"},
        {"offload_folder": Path("away")},
        {"base_device": "cpu"},
        {"distilled_device": "cpu"},
        {"dtype": "float32"},
    ],
)
def test_models_on_this_machine_and_on_ndif_do_not_go_together(choice: ModelChoice, local: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(local))}.*models on this machine, unused by those on NDIF"):
        choice.open(Where(remote=True, **local), [1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"jobs": 0}, "jobs 0"),
        ({"deadline": 0.0}, "deadline 0.0"),
        ({"max_memory": "2 apples"}, "max_memory '2 apples' is no size"),
        ({"max_memory": "0GB"}, "max_memory '0GB' is no size above 0: give one such as 2GB"),
        ({"device_map": "nowhere"}, "device 'nowhere' is not known"),
        ({"dtype": "int8"}, "dtype 'int8' is no floating-point type"),
    ],
)
def test_values_out_of_range(choice: ModelChoice, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choice.open(Where(**settings))


def test_a_run_on_a_small_machine_ends_in_the_same_weights(
    config: RunConfig,
    open_run: Callable[..., TrainingRun],
    small: Where,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(one_at_a_time, "BLOCK_TOKENS", 8192)
    states = []
    for place in (CPU, small):
        here = changed(config, out=config.output.out / str(len(states)), where=place)
        with open_run(here, here.models.open(here.where, [2], depth=2)) as run:
            assert list(run.steps())
        states.append(run.trainer.state_dict())
    ordinary, on_small = states
    assert ordinary.keys() == on_small.keys()
    assert all(torch.equal(on_small[name], tensor) for name, tensor in ordinary.items())


@pytest.mark.parametrize("name", ["base_device", "distilled_device"])
def test_each_models_own_device_is_checked(choice: ModelChoice, name: str) -> None:
    with pytest.raises(ValueError, match="device 'nowhere' is not known"):
        choice.open(Where(**{name: "nowhere"}))


def test_what_is_loaded_after_training_is_checked_before(
    choice: ModelChoice, save_organism_model: Callable[..., str]
) -> None:
    folder = Path(save_organism_model(seed=5))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    choice = ModelChoice(base=choice.base, distilled=str(folder))
    assert choice.open(CPU, [1], depth=1).layers == (1,)
    with pytest.raises(ValueError, match=r"lack 1 tensors, such as lm_head\.weight"):
        choice.open_to_site(CPU, [1])


def test_all_of_a_pair_is_loaded_in_place_of_what_was_read(
    choice: ModelChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = torch.arange(6)[None] + 40
    read = choice.open_to_site(CPU, [1])
    with monkeypatch.context() as patches:
        patches.setattr("toolkit.models.model_set.tokenizers_of", None)  # they are not read again
        read.row_limit.tokens = 1
        whole = choice.open_whole(CPU, read)
        assert whole.row_limit.tokens is None
    assert all(weight.is_meta for weight in read.base.model._module.parameters())
    assert (whole.tokenizer, whole.layers, whole.found) == (read.tokenizer, (1,), read.found)
    expected = choice.open(CPU, [1])
    for name, model in expected.models.items():
        assert torch.equal(whole.models[name].logits(ids), model.logits(ids))


def test_where_models_run_is_no_part_of_a_result(config: RunConfig) -> None:
    assert {each.name for each in fields(Where)} & set(config.settings()) == {"dtype"}
