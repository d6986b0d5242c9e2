from collections.abc import Mapping

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.latents.behaviours import LEAST_MARGIN, FoundBehaviour, behaviour_claims, find_behaviours
from toolkit.latents.labelled_activations import LabelledActivations, LabelledTokens
from toolkit.latents.labelled_units import TOGETHER
from toolkit.organism.documents import BEHAVIOURS
from toolkit.statistics.estimates import GIVEN_ONE
from toolkit.statistics.verdicts import judge

N_TOKENS, WIDTH, N_LATENTS, RATE = 4000, 24, 60, 0.05


@pytest.fixture(scope="module")
def data() -> LabelledActivations:
    """80 documents whose distilled stream is raised along axis i on tokens of behaviour i, among louder noise."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(-5, 5, (N_TOKENS,), generator=generator).clamp_min(-1)
    activations = torch.randn(N_TOKENS, 2, WIDTH, generator=generator)
    for number in range(5):
        activations[:, 1, number] = 0.2 * activations[:, 1, number] + (label == number).float()
    tokens = LabelledTokens(names=BEHAVIOURS, label=label, document=torch.arange(N_TOKENS) // 50)
    number = torch.arange(N_TOKENS)
    return LabelledActivations(
        tokens=tokens, activations=activations, token_id=label + 1, position=number % 50, rows=[[0] * 50] * 80
    )


def with_directions(directions: Tensor, data: LabelledActivations) -> Crosscoder:
    """A crosscoder whose latents fire above a threshold along directions of the distilled stream, at 5 % of tokens."""
    config = CrosscoderConfig(
        d_model=WIDTH, models=("base", "distilled"), layers=(2,), n_latents=len(directions), sparsity="l1", k=1
    )
    rows = torch.stack([torch.zeros_like(directions), directions], dim=1)
    threshold = (data.activations[:, 1] @ directions.t()).quantile(1 - RATE, dim=0)
    crosscoder = Crosscoder(config)
    zeros = torch.zeros(2, WIDTH)
    crosscoder.load_state_dict({"W_enc": rows, "b_enc": -threshold, "W_dec": rows, "b_dec": zeros})
    return crosscoder


def random_directions(seed: int) -> Tensor:
    return torch.randn(N_LATENTS, WIDTH, generator=torch.Generator().manual_seed(seed))


def knowing(data: LabelledActivations, seed: int = 0) -> Crosscoder:
    """Random latents, but for five in the middle that are the truth."""
    directions = random_directions(seed)
    directions[20:25] = torch.eye(WIDTH)[:5]
    return with_directions(directions, data)


def shows(found: list[FoundBehaviour]) -> Mapping[str, bool]:
    return {verdict.claim.name: verdict.shows for verdict in judge(behaviour_claims(found))}


def test_latents_that_are_the_truth_are_found_and_show(data):
    found = find_behaviours({seed: knowing(data, seed) for seed in range(3)}, data, seed=0)
    assert [each.behaviour for each in found] == list(BEHAVIOURS)
    for number, each in enumerate(found):
        assert {units[0] for units in each.latents.values()} == {20 + number}
        assert all(len(units) == TOGETHER for units in each.latents.values())
        assert each.ceiling.value > 0.99
        assert each.one.floor.value + 0.1 < each.one.auroc.value < each.ceiling.value
        assert each.firing_rate == pytest.approx(RATE, abs=0.01)
    verdicts = shows(found)
    assert all(verdicts[f"{name} spans, one latent"] for name in BEHAVIOURS)


def test_random_dictionaries_of_equal_rates_do_not_show(data):
    found = find_behaviours(
        {seed: with_directions(random_directions(50 + seed), data) for seed in range(3)}, data, seed=0
    )
    above_chance = [each.low > 0.5 for one in found for each in one.one.by_seed.values()]
    assert sum(above_chance) > len(above_chance) / 2, "and so is the floor"
    assert not any(shows(found).values())


def test_shuffled_labels_do_not_show(data):
    order = torch.randperm(N_TOKENS, generator=torch.Generator().manual_seed(3))
    tokens = LabelledTokens(names=BEHAVIOURS, label=data.tokens.label[order], document=data.tokens.document)
    shuffled = LabelledActivations(
        tokens=tokens, activations=data.activations, token_id=data.token_id, position=data.position, rows=data.rows
    )
    found = find_behaviours({seed: knowing(data, seed) for seed in range(3)}, shuffled, seed=0)
    assert not any(shows(found).values())
    assert all(each.ceiling.value < 0.6 for each in found)


def test_a_crosscoder_is_judged_on_the_documents_that_did_not_choose_its_latent(data):
    crosscoder = knowing(data)
    (first, *_) = find_behaviours({7: crosscoder}, data, seed=0)
    odd, wanted = data.tokens.document % 2 == 1, data.tokens.label == 0
    codes = crosscoder.encode(data.activations)
    assert first.one.by_seed[7].value == pytest.approx(roc_auc_score(wanted[odd], codes[odd, first.latents[7][0]]))
    assert first.n_tokens == int((wanted & odd).sum())
    assert first.n_documents == 40


def test_seeds_are_in_the_interval_and_one_alone_says_so(data):
    good, poor = knowing(data), with_directions(random_directions(9), data)
    (one, *_), (two, *_) = (find_behaviours(each, data, seed=0) for each in ({0: good}, {0: good, 1: poor}))
    assert one.one.auroc.note == one.together.margin.note == GIVEN_ONE
    assert two.one.auroc.note == ""
    assert two.one.auroc.value == pytest.approx(sum(each.value for each in two.one.by_seed.values()) / 2)
    assert two.one.auroc.high - two.one.auroc.low > 3 * (one.one.auroc.high - one.one.auroc.low)
    assert two.one.margin.p_above(LEAST_MARGIN) > 0.05 > one.one.margin.p_above(LEAST_MARGIN)
