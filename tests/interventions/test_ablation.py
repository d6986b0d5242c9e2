"""Effects against one pass a target and arm over the whole text, with a plain hook on transformers' own model."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Gemma2Config, PreTrainedModel

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.interventions.ablation import Effects, Targets, ablation_effects, predicting_codes
from toolkit.latents.choices import Method, Positions
from toolkit.models.pair import ModelPair

ARMS = [torch.arange(0, 30), torch.arange(25, 40), torch.arange(64)]


@pytest.fixture(scope="module")
def texts() -> list[tuple[Tensor, int]]:
    """Texts with the place of a word in each, never at their end."""
    generator = torch.Generator().manual_seed(0)
    return [(torch.randint(1, 40, (length,), generator=generator), at) for length, at in ((30, 12), (9, 2), (22, 20))]


@pytest.fixture(scope="module")
def targets(texts) -> Targets:
    return Targets(
        prefixes=tuple(ids[:at] for ids, at in texts),
        target_ids=torch.stack([ids[at] for ids, at in texts]),
        documents=torch.arange(3),
        found=3,
    )


def hidden(model: PreTrainedModel, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return model(ids[None], output_hidden_states=True, use_cache=False).hidden_states[2][0]


def replaced(model: PreTrainedModel, ids: Tensor, residual: Tensor) -> Tensor:
    """Logits of a text whose residual stream at the site is `residual`."""

    def put(module, args):
        return (residual[None], *args[1:])

    with torch.no_grad(), model.model.layers[2].register_forward_pre_hook(put):
        return model(ids[None], use_cache=False).logits[0]


def measures(logits: Tensor, target: int) -> Tensor:
    order = logits.argsort(descending=True).tolist()
    return torch.tensor([logits[target], logits.log_softmax(dim=0)[target], order.index(target)])


def naive(
    folders, crosscoder: Crosscoder, texts, positions: Positions, *, spliced: bool, against_spliced: bool
) -> Tensor:
    """[measure, arm, model, target]: target by target, model by model, the text never cut."""
    models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in folders]
    changes = torch.empty(3, len(ARMS), 2, len(texts))
    for place, (ids, at) in enumerate(texts):
        streams = torch.stack([hidden(model, ids) for model in models], dim=1)
        where = {"predict": slice(at - 1, at), "prefix": slice(1, at), "all": slice(0, len(ids))}[positions]
        for m, model in enumerate(models):
            codes = crosscoder.encode(streams)
            rebuilt = streams[:, m].clone()
            if spliced:
                rebuilt[where] = crosscoder.decode(codes)[where, m]
            baseline = rebuilt if against_spliced else streams[:, m]
            clean = measures(replaced(model, ids, baseline)[at - 1], int(ids[at]))
            for a, arm in enumerate(ARMS):
                edited = rebuilt.clone()
                for latent in arm.tolist():
                    edited[where] -= codes[where, latent, None] * crosscoder.W_dec[latent, m]
                changes[:, a, m, place] = measures(replaced(model, ids, edited)[at - 1], int(ids[at])) - clean
    return changes


def logit(effects: Effects) -> Tensor:
    """[arm, model, target]"""
    return torch.stack([effects[name].logit for name in ("base", "distilled")], dim=-2)


@pytest.mark.parametrize("spliced", [False, True])
@pytest.mark.parametrize("positions", ["predict", "prefix", "all"])
def test_effects_are_those_of_a_loop_with_a_hook(
    tiny_pair, folders, crosscoder, texts, targets, positions: Positions, spliced: bool
):
    effects = ablation_effects(tiny_pair, crosscoder, targets, ARMS, Method(positions=positions, spliced=spliced))
    expected = naive(folders, crosscoder, texts, positions, spliced=spliced, against_spliced=spliced)
    torch.testing.assert_close(effects.values, expected, rtol=1e-3, atol=1e-5)
    assert expected[0].abs().amax(dim=(1, 2)).min() > 1e-3
    for place, name in enumerate(("base", "distilled")):
        change = effects[name]
        found = torch.stack([change.logit, change.log_probability, change.rank])
        torch.testing.assert_close(found, expected[:, :, place], rtol=1e-3, atol=1e-5)


def test_the_reconstructions_error_is_no_effect(tiny_pair, folders, crosscoder, texts, targets):
    method = Method(positions="prefix", spliced=True)
    effects = ablation_effects(tiny_pair, crosscoder, targets, [*ARMS, torch.tensor([], dtype=torch.long)], method)
    assert not logit(effects)[-1].any()  # nothing taken out of the reconstruction
    unspliced = naive(folders, crosscoder, texts, "prefix", spliced=True, against_spliced=False)
    assert (logit(effects)[:-1] - unspliced[0]).abs().min() > 1e-3


def test_modes_differ(tiny_pair, crosscoder, targets):
    methods = [Method(positions=positions) for positions in ("predict", "prefix", "all")]
    predict, prefix, whole = (logit(ablation_effects(tiny_pair, crosscoder, targets, ARMS, m)) for m in methods)
    assert (predict - prefix).abs().min(dim=0).values.max() > 1e-5
    assert (whole - prefix).abs().max() > 1e-5


def test_targets_do_not_depend_on_their_company(tiny_pair, crosscoder, targets):
    together = ablation_effects(tiny_pair, crosscoder, targets, ARMS, Method())
    for place in range(3):
        alone = Targets(
            prefixes=targets.prefixes[place : place + 1],
            target_ids=targets.target_ids[place : place + 1],
            documents=targets.documents[place : place + 1],
            found=1,
        )
        effects = ablation_effects(tiny_pair, crosscoder, alone, ARMS, Method())
        torch.testing.assert_close(logit(effects)[..., 0], logit(together)[..., place], rtol=1e-3, atol=1e-6)


def test_codes_where_a_word_is_predicted(tiny_pair, crosscoder, texts, targets):
    codes = predicting_codes(tiny_pair, crosscoder, targets)
    for line, (ids, at) in zip(codes, texts, strict=True):
        expected = crosscoder.encode(tiny_pair.residual(ids[None], torch.ones_like(ids[None]))[0])[at - 1]
        torch.testing.assert_close(line, expected, rtol=1e-4, atol=1e-5)
    assert 0 < (codes > 0).float().mean() < 1


def test_attention_windows_shorter_than_the_text(save_model, crosscoder, targets):
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = Gemma2Config(**shape, num_key_value_heads=2, head_dim=8, vocab_size=50, sliding_window=5)
    folders: list[Path] = [save_model(config, seed=1), save_model(config, seed=2)]
    pair = ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[1]), layers=[2], where="cpu")
    effects = ablation_effects(pair, crosscoder, targets, ARMS, Method())
    texts = [(torch.cat([p, t[None]]), len(p)) for p, t in zip(targets.prefixes, targets.target_ids, strict=True)]
    expected = naive(folders, crosscoder, texts, "predict", spliced=False, against_spliced=False)
    torch.testing.assert_close(logit(effects), expected[0], rtol=1e-2, atol=1e-5)


def test_effects_have_the_models_names(tiny_pair, crosscoder, targets):
    effects = ablation_effects(tiny_pair, crosscoder, targets, ARMS, Method())
    assert repr(effects.mean([0])).startswith("Effects on 3 words, mean change of the logit: base ")
    with pytest.raises(ValueError, match="no model is called 'teacher': choose from base, distilled"):
        effects["teacher"]


def test_a_layer_that_the_crosscoder_does_not_read_is_refused(tiny_pair, crosscoder, targets):
    with pytest.raises(ValueError, match="no stream of 'base' at layer 1"):
        ablation_effects(tiny_pair, crosscoder, targets, ARMS, Method(layer=1))


@pytest.mark.parametrize("spliced", [False, True])
@pytest.mark.parametrize("positions", ["predict", "prefix"])
def test_on_ndif_the_effects_are_the_same_in_one_job_a_model_and_batch(
    tiny_pair, ndif_tiny_pair, ndif, crosscoder, targets, positions: Positions, spliced: bool
):
    method = Method(positions=positions, spliced=spliced)
    before = len(ndif.jobs_done)
    effects = ablation_effects(ndif_tiny_pair, crosscoder, targets, ARMS, method)
    expected = ablation_effects(tiny_pair, crosscoder, targets, ARMS, method)
    torch.testing.assert_close(effects.values, expected.values, rtol=1e-5, atol=1e-5)
    assert len(ndif.jobs_done) - before == 2 * 2  # a read and a measurement
    torch.testing.assert_close(
        predicting_codes(ndif_tiny_pair, crosscoder, targets), predicting_codes(tiny_pair, crosscoder, targets)
    )


def test_a_job_holds_no_crosscoder_and_its_answer_no_logits(ndif_tiny_pair, ndif, random_crosscoder, targets):
    large = random_crosscoder(n_latents=20_000)  # 5 MB of decoder rows
    arms = [torch.arange(10_000)] * 20
    received = ndif_tiny_pair.base.place.traffic.received
    ablation_effects(ndif_tiny_pair, large, targets, arms, Method())
    assert max(map(len, list(ndif.payloads)[-4:])) < 200_000
    assert ndif_tiny_pair.base.place.traffic.received - received < 21 * 3 * 50 * 4
