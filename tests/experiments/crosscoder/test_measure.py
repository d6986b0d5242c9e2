import dataclasses
from collections.abc import Callable

import pytest
import torch

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.crosscoder.measure import Evaluation, evaluate_crosscoders, random_rows
from toolkit.harvest.documents import Corpus
from toolkit.harvest.tokens import TokenBatch
from toolkit.models.model_set import ModelSet
from toolkit.models.pair import ModelPair
from toolkit.models.streams import stream_names
from toolkit.settings.crosscoder_run import RunConfig
from toolkit.training.streams import open_activations
from toolkit.training.training_run import TrainingRun


@pytest.fixture
def crosscoder(open_run: Callable[..., TrainingRun], config: RunConfig, pair: ModelPair) -> Crosscoder:
    with open_run(config, pair) as run:
        list(run.steps())
    return run.trainer.crosscoder()


@pytest.fixture
def evaluation(config: RunConfig, pair: ModelPair, corpus: Corpus, crosscoder: Crosscoder) -> Evaluation:
    text = dataclasses.replace(config.text, held_out_tokens=1000)
    return evaluate_crosscoders(text, config.mask, pair, corpus, {config.seed: crosscoder}, seed=config.seed)


def test_figures_are_those_of_the_first_held_out_tokens(
    config: RunConfig, pair: ModelPair, corpus: Corpus, crosscoder: Crosscoder, evaluation: Evaluation
) -> None:
    metrics = evaluation.metrics(pair)
    x = torch.cat(list(open_activations(config.text, config.mask, pair, corpus.held_out, seed=config.seed)))[:1000]
    codes = crosscoder.encode(x)
    error = (x - crosscoder.decode(codes)).square().sum(dim=(0, 2)) / (x - x.mean(dim=0)).square().sum(dim=(0, 2))
    assert [metrics["fve_base"], metrics["fve_distilled"]] == pytest.approx((1 - error).tolist(), abs=1e-4)
    assert metrics["held_out_tokens"] == 1000
    assert metrics["l0"] == pytest.approx(float((codes > 0).sum(dim=1).float().mean()), rel=1e-5)
    alive = (codes > 0).any(dim=0)
    assert torch.equal(alive.cpu(), evaluation.own.alive.cpu())
    assert metrics["dead_share"] == pytest.approx(1 - float(alive.float().mean()))
    norms = crosscoder.W_dec.norm(p=1, dim=2)
    share = norms[:, 1] / norms.sum(dim=1)
    assert metrics["mean_nrn"] == pytest.approx(float(share[alive].mean()), abs=1e-5)
    low, high = metrics["mean_nrn_interval"]
    assert low <= metrics["mean_nrn"] <= high
    norms = norms * torch.tensor(crosscoder.config.scale, device=norms.device)
    in_training = norms[:, 1] / norms.sum(dim=1)
    assert metrics["mean_nrn_training_units"] == pytest.approx(float(in_training[alive].mean()), abs=1e-5)
    base, distilled = crosscoder.config.scale
    assert metrics["neutral"] == pytest.approx(base / (base + distilled))
    mass = codes.sum(dim=0)
    assert metrics["mean_nrn_activation_weighted"] == pytest.approx(float((share * mass).sum() / mass.sum()), abs=1e-5)
    assert evaluation.behaviours is None, "only the organism's text has known behaviours"


def test_splices_of_both_models_are_measured(pair: ModelPair, evaluation: Evaluation) -> None:
    assert [(splice.model, splice.layer) for splice in evaluation.own.splices] == [("base", 1), ("distilled", 1)]
    for splice in evaluation.own.splices:
        assert 0 < splice.kl.value < splice.kl_mean.value
    assert evaluation.metrics(pair)["kl_spliced_base"] == evaluation.own.splices[0].kl.value


@pytest.mark.filterwarnings("ignore:.* are the same weights")
def test_a_crosscoder_of_three_models_is_evaluated_in_each(
    config: RunConfig, pair: ModelPair, corpus: Corpus, random_crosscoder: Callable[..., Crosscoder]
) -> None:
    base, distilled = pair.sources
    named = {"base": base, "teacher": distilled, "distilled": distilled}
    three = ModelSet.from_pretrained(named, layers=pair.layers, where="cpu")
    crosscoder = random_crosscoder(d_model=16, models=tuple(named), layers=pair.layers)
    text = dataclasses.replace(config.text, held_out_tokens=500)
    found = evaluate_crosscoders(text, config.mask, three, corpus, {config.seed: crosscoder}, seed=config.seed)
    assert [splice.model for splice in found.own.splices] == list(found.own.dictionary.fve) == list(named)
    assert found.own.decoders.models == ("base", "distilled")


def test_streams_have_the_layers_in_their_names(pair: ModelPair) -> None:
    assert stream_names(pair.names, pair.layers) == ("base", "distilled")
    several = dataclasses.replace(pair, layers=(1, 2))
    assert stream_names(several.names, several.layers) == (
        "base_layer1",
        "base_layer2",
        "distilled_layer1",
        "distilled_layer2",
    )


def test_a_dead_crosscoder_is_refused(
    config: RunConfig, pair: ModelPair, corpus: Corpus, crosscoder: Crosscoder
) -> None:
    crosscoder.threshold.fill_(float("inf"))
    with pytest.raises(ValueError, match=r"0 of 64 latents fired .* lower --sparsity-coefficient"):
        evaluate_crosscoders(config.text, config.mask, pair, corpus, {config.seed: crosscoder}, seed=config.seed)


def test_splices_are_measured_on_a_random_share_of_every_batch():
    """Batches hold documents of like length: the first few batches are no sample of all."""
    batches = [TokenBatch(torch.full((50, 4), number), torch.ones(50, 4, dtype=torch.long)) for number in range(4)]
    some = list(random_rows(batches, 0.3, torch.Generator().manual_seed(0)))
    assert [int(batch.input_ids[0, 0]) for batch in some] == [0, 1, 2, 3]
    assert 40 < sum(len(batch.input_ids) for batch in some) < 80
    whole = next(random_rows(batches, 1.0, torch.Generator().manual_seed(0)))
    assert len(whole.input_ids) == 50
