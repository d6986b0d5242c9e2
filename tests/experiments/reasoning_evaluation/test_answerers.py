"""Arms of tiny models: which model answers under which edit, what is opened, and what is refused before anything is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.reasoning_evaluation import ArmDictionaries, ReasoningEvaluationConfig
from toolkit.experiments.reasoning_evaluation.answerers import OpenedArms, open_arms, random_direction
from toolkit.experiments.run import Run
from toolkit.interventions.clamping import SetLatent
from toolkit.interventions.edits import mean_norm
from toolkit.models.model.edits import Edit, Edits
from toolkit.models.pair import ModelPair
from toolkit.settings.models import ControlledModels

Open = Callable[..., OpenedArms]


@pytest.fixture(scope="module")
def crosscoder_folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve latents of the tiny pair."""
    folder = tmp_path_factory.mktemp("crosscoder")
    run.crosscoder.save_pretrained(folder)
    return folder


@pytest.fixture
def open_(pair: ModelPair, crosscoder_folder: Path, adapter_folder: Path, organism_control: str) -> Open:
    """Open arms of the tiny pair, with its crosscoder, its adapter and its control."""

    def opened(*arms: str, **given: object) -> OpenedArms:
        told = {"crosscoder": crosscoder_folder, "adapter": adapter_folder} | given
        settings = ReasoningEvaluationConfig(
            arms=arms,
            dictionaries=ArmDictionaries(**told),  # type: ignore[arg-type]
            models=ControlledModels(control=organism_control),
        )
        return open_arms(settings, pair)

    return opened


def test_only_what_an_arm_asks_for_is_opened(open_: Open):
    opened = open_("distilled", "base", crosscoder=Path("/no/such"), adapter=Path("/no/such"))
    assert list(opened.answerers) == ["distilled", "base"]
    assert (opened.facts, opened.files) == ({}, {})


def test_a_latent_is_added_as_long_as_the_arm_says(open_: Open, run: Run):
    edit = open_("distilled + steer 3 0.5").answerers["distilled + steer 3 0.5"].edit
    assert isinstance(edit, Edit)
    row = run.crosscoder.W_dec[3, 1]
    expected = 0.5 * mean_norm(run.crosscoder, 1) * row / row.norm()
    torch.testing.assert_close(edit.operands[0][0, 0].cpu(), expected.cpu())


def test_a_random_direction_is_as_long_as_the_latent_beside_it(open_: Open):
    arms = ("distilled + steer 3 0.5", "distilled + random 0 0.5", "distilled + random 1 0.5")
    steered, first, second = (each.edit.operands[0] for each in open_(*arms).answerers.values())
    torch.testing.assert_close(first.norm(), steered.norm())
    torch.testing.assert_close(second.norm(), steered.norm())
    assert abs(float(torch.cosine_similarity(first, second, dim=-1))) < 0.99
    assert torch.equal(random_direction(1, 16, seed=0), random_direction(1, 16, seed=0))
    assert not torch.equal(random_direction(1, 16, seed=0), random_direction(1, 16, seed=1))


def test_a_layer_that_the_crosscoder_does_not_read_is_refused_for_every_edit(open_: Open):
    for edit in ("steer 3 0.5", "random 0 0.5", "ablate 3", "set 3 2"):
        with pytest.raises(ValueError, match=r"no stream of 'distilled' at layer 0: it was trained on"):
            open_(f"distilled + {edit}", layer=0)


def test_edits_are_summed_in_their_order(open_: Open):
    edit = (
        open_("base + ablate 2 + set 4 1.5 + steer 3 0.5").answerers["base + ablate 2 + set 4 1.5 + steer 3 0.5"].edit
    )
    assert isinstance(edit, Edits)
    ablated, held, steered = edit.parts
    assert isinstance(ablated, SetLatent)
    assert isinstance(held, SetLatent)
    assert (ablated.latents, ablated.value, ablated.stream) == ([2], 0.0, 0)
    assert (held.latents, held.value) == ([4], 1.5)
    assert isinstance(steered, Edit)


def test_models_of_an_adapter_and_a_control_are_steered_with_the_distilled_models_vector(open_: Open):
    arms = [f"{model} + steer 3 0.5" for model in ("distilled", "control", "hybrid", "adapter")]
    opened = open_(*arms)
    vectors = [each.edit.operands[0] for each in opened.answerers.values()]
    assert all(torch.equal(each, vectors[0]) for each in vectors)
    assert len({id(each.model) for each in opened.answerers.values()}) == 4


def test_an_adapter_does_without_latents(open_: Open):
    name = "adapter without 1/3 2/5"
    mode = open_(name).answerers[name].model.place.mode
    off = [(layer, index) for layer, each in enumerate(mode) for index in range(24) if float(each.scale[index]) == 0]
    assert off == [(1, 3), (2, 5)]


def test_findings_tell_what_was_opened(open_: Open, crosscoder_folder: Path, adapter_folder: Path):
    opened = open_("control", "hybrid", "distilled + ablate 2")
    assert opened.facts["crosscoder"] == "12 latents, l1, at the input of layer 1"
    assert opened.facts["adapter"] == "24 latents in each of 3 layers"
    assert {
        str(crosscoder_folder / "crosscoder.safetensors"),
        f"{adapter_folder}/adapter.safetensors",
    } <= opened.files.keys()


def test_fingerprints_tell_models_apart_whatever_else_is_opened(open_: Open):
    arms = ("distilled", "base", "control", "hybrid", "adapter", "adapter without 1/3")
    together = open_(*arms, "distilled + steer 3 0.5").answerers
    words = [together[name].fingerprint for name in arms]
    assert len(set(words)) == len(arms)
    assert together["distilled + steer 3 0.5"].fingerprint == words[0]
    assert open_("distilled").answerers["distilled"].fingerprint == words[0]
    assert open_("adapter").answerers["adapter"].fingerprint == words[4]


@pytest.fixture(scope="module")
def wider(tmp_path_factory: pytest.TempPathFactory, random_crosscoder: Callable[..., Crosscoder]) -> Path:
    """A crosscoder of streams of width 32."""
    folder = tmp_path_factory.mktemp("wider")
    random_crosscoder(layers=(1,)).save_pretrained(folder)
    return folder


def test_what_cannot_be_opened_is_told_with_the_arm(open_: Open, pair: ModelPair, wider: Path):
    with pytest.raises(ValueError, match=r"arm 'distilled \+ steer 12 0.1': latent 12 does not exist: .* 0 to 11"):
        open_("distilled", "distilled + steer 12 0.1")
    with pytest.raises(ValueError, match=r"arm 'adapter without 9/1': latent 9/1 does not exist"):
        open_("adapter without 9/1")
    with pytest.raises(ValueError, match=r"arm 'base \+ ablate 1': the crosscoder was trained on width 32"):
        open_("base + ablate 1", crosscoder=wider)
    with pytest.raises(ValueError, match="arm 'hybrid': this pair has no adapter: give --adapter the folder of one"):
        open_("hybrid", adapter=None)
    with pytest.raises(ValueError, match=r"arm 'base \+ steer 1 .1': this pair has no crosscoder: give --crosscoder"):
        open_("base + steer 1 .1", crosscoder=None)
    with pytest.raises(ValueError, match="arm 'control': this pair has no control: give --control a model"):
        open_arms(ReasoningEvaluationConfig(arms=("control",)), pair)


def test_codes_are_not_set_where_the_models_are_far_away(ndif_tiny_pair: ModelPair, tmp_path: Path, random_crosscoder):
    random_crosscoder(scale=(1.0, 1.0)).save_pretrained(tmp_path)
    settings = ReasoningEvaluationConfig(
        arms=("distilled + ablate 1",), dictionaries=ArmDictionaries(crosscoder=tmp_path)
    )
    with pytest.raises(ValueError, match="'ablate' reads both models at every token, which neither NDIF"):
        open_arms(settings, ndif_tiny_pair)
