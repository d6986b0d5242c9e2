import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div
from transformers import AutoModelForCausalLM
from watching import Diary

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.interventions.splice import SpliceEffect, _effect, splice_effects
from toolkit.statistics.estimates import GIVEN_ONE, Estimate
from toolkit.tracking import watched_by


def mask() -> TokenMask:
    return TokenMask(special_ids=frozenset({7}), keep_position_0=False, outlier_factor=math.inf)


@pytest.fixture
def tokens(batch) -> TokenBatch:
    return TokenBatch(*batch)


@pytest.fixture
def mean(tiny_pair, tokens, select) -> Tensor:
    """The mean of the tokens that the mask keeps."""
    residual = tiny_pair.residual(tokens.input_ids, tokens.attention_mask)
    return residual[select(mask(), tokens, residual)].mean(dim=0)


@pytest.fixture
def constant(identity, mean) -> Crosscoder:
    """Reconstructs every token as the mean."""
    identity.W_dec.zero_()
    identity.b_dec.copy_(mean)
    return identity


@pytest.fixture
def random_models_will_do(monkeypatch):
    """They predict worse than a uniform guess, but what of their loss is recovered can be computed."""
    monkeypatch.setattr("toolkit.interventions.splice._nothing_to_recover", lambda *_: "")


def number(effect: SpliceEffect, name: str) -> float:
    found = getattr(effect, name)
    return found.value if isinstance(found, Estimate) else found


@pytest.mark.usefixtures("random_models_will_do")
def test_a_perfect_reconstruction_costs_nothing(tiny_pair, identity, tokens, mean):
    effects = splice_effects(tiny_pair, [identity], [tokens], mask(), mean=mean)[0]
    assert [(effect.model, effect.layer) for effect in effects] == [("base", 2), ("distilled", 2)]
    for effect in effects:
        assert effect.kl.value == pytest.approx(0, abs=1e-9)
        assert effect.kl_mean.value > 1e-5
        assert effect.loss_recovered.value == pytest.approx(1, abs=1e-4)


@pytest.mark.usefixtures("random_models_will_do")
def test_the_mean_as_reconstruction_recovers_nothing(tiny_pair, constant, tokens, mean):
    for effect in splice_effects(tiny_pair, [constant], [tokens], mask(), mean=mean)[0]:
        assert effect.kl.value == pytest.approx(effect.kl_mean.value, rel=1e-4)
        assert effect.loss_recovered.value == pytest.approx(0, abs=1e-3)


def naive(folder, layer: int, tokens: TokenBatch, kept: Tensor, replacement: Tensor) -> tuple[float, float, int]:
    """KL and rise of the loss a prediction, with a plain hook on transformers' own model and a loop over tokens."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    inputs = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}

    def replace(module, args):
        residual = args[0].clone()
        residual[kept] = replacement
        return (residual, *args[1:])

    with torch.no_grad():
        clean = model(**inputs).logits
        with model.model.layers[layer].register_forward_pre_hook(replace):
            spliced = model(**inputs).logits
    kl, rise, n = 0.0, 0.0, 0
    for row in range(len(kept)):
        for position in range(int(tokens.attention_mask[row].sum()) - 1):
            if kept[row, position]:
                p, q = clean[row, position].log_softmax(0), spliced[row, position].log_softmax(0)
                target = tokens.input_ids[row, position + 1]
                kl += float(kl_div(q, p, reduction="sum", log_target=True))
                rise += float(cross_entropy(q, target) - cross_entropy(p, target))
                n += 1
    return kl / n, rise / n, n


@pytest.mark.usefixtures("random_models_will_do")
def test_effects_against_a_hook_and_a_loop(tiny_pair, folders, identity, tokens, mean, select):
    identity.W_dec.mul_(0.5)
    residual = tiny_pair.residual(tokens.input_ids, tokens.attention_mask).cpu()
    kept = select(mask(), tokens, residual)
    activations = residual[kept]
    for index, (effect, folder) in enumerate(
        zip(splice_effects(tiny_pair, [identity], [tokens], mask(), mean=mean)[0], folders, strict=True)
    ):
        kl, rise, n = naive(folder, 2, tokens, kept, activations[:, index] / 2)
        kl_mean, rise_mean, _ = naive(folder, 2, tokens, kept, mean[index].cpu())
        assert effect.n == n < kept.sum()
        assert effect.kl.value == pytest.approx(kl, rel=1e-3)
        assert effect.kl_mean.value == pytest.approx(kl_mean, rel=1e-3)
        assert effect.loss_recovered.value == pytest.approx(1 - rise / rise_mean, rel=1e-2)


@pytest.mark.usefixtures("random_models_will_do")
def test_batches_weigh_by_their_predictions(tiny_pair, identity, tokens, mean):
    identity.W_dec.mul_(0.5)
    rows = [TokenBatch(tokens.input_ids[i : i + 1], tokens.attention_mask[i : i + 1]) for i in range(3)]
    apart = [splice_effects(tiny_pair, [identity], [row], mask(), mean=mean)[0][0] for row in rows]
    diary = Diary()
    with watched_by(diary):
        together = splice_effects(tiny_pair, [identity], iter(rows), mask(), mean=mean)[0][0]
    assert [each for each in diary.counts() if each[0] != "edits"] == [
        ("reading text to splice", 3, 3), ("splicing", 2, 2), ("batches", 3, 3), ("batches", 3, 3)
    ]  # fmt: skip
    assert diary.counts().count(("edits", 3, 3)) == 6
    assert together.n == sum(effect.n for effect in apart)
    assert together.kl.value == pytest.approx(
        sum(effect.kl.value * effect.n for effect in apart) / together.n, rel=1e-4
    )
    at_once = splice_effects(tiny_pair, [identity], [tokens], mask(), mean=mean)[0][0]
    for name in ("kl", "kl_mean", "loss_recovered", "n"):
        assert number(at_once, name) == pytest.approx(number(together, name), rel=1e-3)


def test_where_the_mean_costs_nothing_there_is_nothing_to_recover(tiny_pair, identity):
    single = TokenBatch(torch.tensor([[1, 2, 7]]), torch.ones(1, 3, dtype=torch.long))
    mean = tiny_pair.residual(single.input_ids, single.attention_mask)[0, 1]  # of the one token that predicts
    effect: SpliceEffect = splice_effects(tiny_pair, [identity], [single], mask(), mean=mean)[0][0]
    assert effect.n == 1
    assert effect.kl_mean.value == pytest.approx(0, abs=1e-9)
    assert math.isnan(effect.loss_recovered.value)


def test_documents_give_the_interval_and_three_are_too_few(tiny_pair, identity, tokens, mean):
    identity.W_dec.mul_(0.5)
    few = splice_effects(tiny_pair, [identity], [tokens], mask(), mean=mean)[0][0]
    assert (few.kl.low, few.kl.note) == (None, "3 documents: an interval needs 8")
    ids = torch.randint(8, 40, (12, 12), generator=torch.Generator().manual_seed(1))
    many = TokenBatch(ids, torch.ones_like(ids))
    effect = splice_effects(tiny_pair, [identity], [many], mask(), mean=mean)[0][0]
    assert 0 < effect.kl.low < effect.kl.value < effect.kl.high
    assert effect.kl_mean.low < effect.kl_mean.value < effect.kl_mean.high
    assert (effect.kl.note, effect.kl_mean.note) == (GIVEN_ONE, "")


def test_a_model_worse_than_a_uniform_guess_has_no_loss_to_recover():
    sums = torch.full((3, 10, 2), 20.0, dtype=torch.float64)
    sums[1:] += 5
    of = [_effect("base", 2, sums, torch.full((10,), 5.0).double(), uniform=each) for each in (4.5, 3.5)]
    assert of[0].loss_recovered.value == 0
    assert math.isnan(of[1].loss_recovered.value)
    assert of[1].loss_recovered.note == "the model predicts worse than a uniform guess: 4.00 nats a token, and 3.50"


def test_text_without_predictions_is_refused(tiny_pair, identity):
    nothing = TokenBatch(torch.tensor([[1, 7, 7]]), torch.ones(1, 3, dtype=torch.long))
    for batches in ([], [nothing]):
        with pytest.raises(ValueError, match="no prediction was measured"):
            splice_effects(tiny_pair, [identity], batches, mask(), mean=torch.zeros(2, 32))


@pytest.mark.usefixtures("random_models_will_do")
def test_on_ndif_the_effects_are_the_same(tiny_pair, ndif_tiny_pair, ndif, identity, tokens, mean):
    identity.W_dec.mul_(0.5)
    before = len(ndif.jobs_done)
    effects = splice_effects(ndif_tiny_pair, [identity], [tokens, tokens], mask(), mean=mean)[0]
    assert len(ndif.jobs_done) - before == 2 * 2 * 2  # for each model and batch a read and a measurement
    for effect, expected in zip(
        effects, splice_effects(tiny_pair, [identity], [tokens, tokens], mask(), mean=mean)[0], strict=True
    ):
        for name in ("kl", "kl_mean", "loss_recovered", "n"):
            assert number(effect, name) == pytest.approx(number(expected, name), rel=1e-4)
