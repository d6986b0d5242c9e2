"""Effects against one pass a target and arm over the whole text, with a plain hook on transformers' own model."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Gemma2Config, PreTrainedModel

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.interventions.ablation import Arm, Effects, ReadTargets, ablation_effects
from toolkit.interventions.targets import Targets
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


def effects_of(
    pair: ModelPair, crosscoder: Crosscoder, targets: Targets, latents: list[Tensor], method: Method
) -> Effects:
    arms = [Arm(crosscoder=crosscoder, latents=each) for each in latents]
    return ablation_effects(pair, ReadTargets.read(pair, targets, method.positions), arms, method)


def test_one_model_alone_is_edited_as_beside_the_other(tiny_pair, crosscoder, targets):
    arms = [Arm(crosscoder=crosscoder, latents=latents) for latents in ARMS]
    read = ReadTargets.read(tiny_pair, targets, "predict")
    both = ablation_effects(tiny_pair, read, arms, Method())
    base, distilled = (ablation_effects(tiny_pair, read, arms, Method(), edited=[name]) for name in both.models)
    assert base.models == ("base",)
    assert base.beside(distilled).models == both.models
    torch.testing.assert_close(base.beside(distilled).values, both.values)


def logit(effects: Effects) -> Tensor:
    """[arm, model, target]"""
    return torch.stack([effects[name].logit for name in ("base", "distilled")], dim=-2)


@pytest.mark.parametrize("spliced", [False, True])
@pytest.mark.parametrize("positions", ["predict", "prefix", "all"])
def test_effects_are_those_of_a_loop_with_a_hook(
    tiny_pair, folders, crosscoder, texts, targets, positions: Positions, spliced: bool
):
    effects = effects_of(tiny_pair, crosscoder, targets, ARMS, Method(positions=positions, spliced=spliced))
    expected = naive(folders, crosscoder, texts, positions, spliced=spliced, against_spliced=spliced)
    torch.testing.assert_close(effects.values[:3], expected, rtol=1e-3, atol=1e-5)
    assert expected[0].abs().amax(dim=(1, 2)).min() > 1e-3
    for place, name in enumerate(("base", "distilled")):
        change = effects[name]
        found = torch.stack([change.logit, change.log_probability, change.rank])
        torch.testing.assert_close(found, expected[:, :, place], rtol=1e-3, atol=1e-5)


def test_the_reconstructions_error_is_no_effect(tiny_pair, folders, crosscoder, texts, targets):
    method = Method(positions="prefix", spliced=True)
    effects = effects_of(tiny_pair, crosscoder, targets, [*ARMS, torch.tensor([], dtype=torch.long)], method)
    assert not logit(effects)[-1].any()  # nothing taken out of the reconstruction
    unspliced = naive(folders, crosscoder, texts, "prefix", spliced=True, against_spliced=False)
    assert (logit(effects)[:-1] - unspliced[0]).abs().min() > 1e-3


def test_modes_differ(tiny_pair, crosscoder, targets):
    methods = [Method(positions=positions) for positions in ("predict", "prefix", "all")]
    predict, prefix, whole = (logit(effects_of(tiny_pair, crosscoder, targets, ARMS, m)) for m in methods)
    assert (predict - prefix).abs().min(dim=0).values.max() > 1e-5
    assert (whole - prefix).abs().max() > 1e-5


def test_targets_do_not_depend_on_their_company(tiny_pair, crosscoder, targets):
    together = effects_of(tiny_pair, crosscoder, targets, ARMS, Method())
    for place in range(3):
        alone = Targets(
            prefixes=targets.prefixes[place : place + 1],
            target_ids=targets.target_ids[place : place + 1],
            documents=targets.documents[place : place + 1],
            found=1,
        )
        effects = effects_of(tiny_pair, crosscoder, alone, ARMS, Method())
        torch.testing.assert_close(logit(effects)[..., 0], logit(together)[..., place], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("positions", ["predict", "prefix", "all"])
def test_codes_where_a_word_is_predicted(tiny_pair, crosscoder, texts, targets, positions: Positions):
    codes = ReadTargets.read(tiny_pair, targets, positions).predicting_codes(crosscoder)
    for line, (ids, at) in zip(codes, texts, strict=True):
        expected = crosscoder.encode(tiny_pair.residual(ids[None], torch.ones_like(ids[None]))[0])[at - 1]
        torch.testing.assert_close(line, expected, rtol=1e-4, atol=1e-5)
    assert 0 < (codes > 0).float().mean() < 1


def test_attention_windows_shorter_than_the_text(save_model, crosscoder, targets):
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = Gemma2Config(**shape, num_key_value_heads=2, head_dim=8, vocab_size=50, sliding_window=5)
    folders: list[Path] = [save_model(config, seed=1), save_model(config, seed=2)]
    pair = ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[1]), layers=[2])
    effects = effects_of(pair, crosscoder, targets, ARMS, Method())
    texts = [(torch.cat([p, t[None]]), len(p)) for p, t in zip(targets.prefixes, targets.target_ids, strict=True)]
    expected = naive(folders, crosscoder, texts, "predict", spliced=False, against_spliced=False)
    torch.testing.assert_close(logit(effects), expected[0], rtol=1e-2, atol=1e-5)


def test_effects_have_the_models_names(tiny_pair, crosscoder, targets):
    effects = effects_of(tiny_pair, crosscoder, targets, ARMS, Method())
    assert repr(effects.of(0)).startswith("Effects on 3 words, mean change of the logit: base ")
    with pytest.raises(ValueError, match="no model is called 'teacher': choose from base, distilled"):
        effects["teacher"]


def test_before_the_edit_a_word_has_the_models_own_probability(tiny_pair, crosscoder, targets):
    effects = effects_of(tiny_pair, crosscoder, targets, ARMS, Method())
    for name, model in tiny_pair.models.items():
        for place, (prefix, word) in enumerate(zip(targets.prefixes, targets.target_ids, strict=True)):
            expected = model.logits(prefix[None])[0, -1].softmax(dim=-1)[word].cpu()
            torch.testing.assert_close(effects[name].probability[:, place], expected.expand(3), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("positions", ["predict", "prefix"])
def test_what_is_removed_is_measured_where_the_word_is_predicted(
    tiny_pair, folders, crosscoder, texts, targets, positions: Positions
):
    effects = effects_of(tiny_pair, crosscoder, targets, ARMS, Method(positions=positions))
    models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in folders]
    for place, (ids, at) in enumerate(texts):
        streams = torch.stack([hidden(model, ids)[at - 1] for model in models])
        codes = crosscoder.encode(streams[None])[0]
        for m, name in enumerate(("base", "distilled")):
            for a, arm in enumerate(ARMS):
                share = (codes[arm] @ crosscoder.W_dec[arm, m]).norm() / streams[m].norm()
                torch.testing.assert_close(effects[name].removed[a, place], share, rtol=1e-3, atol=1e-5)


def test_a_random_direction_takes_out_as_much_as_the_latents_and_is_the_same_at_all_positions(
    tiny_pair, crosscoder, targets
):
    read = ReadTargets.read(tiny_pair, targets, "prefix")
    latents, streams = ARMS[0], read.rows[0].streams
    codes = crosscoder.encode(streams)
    own = Arm(crosscoder=crosscoder, latents=latents).part(codes, 1)
    random = [Arm(crosscoder=crosscoder, latents=latents, direction=seed).part(codes, 1) for seed in (0, 1)]
    for vectors in random:
        torch.testing.assert_close(vectors.norm(dim=1), own.norm(dim=1))
        cosines = torch.nn.functional.cosine_similarity(vectors[own.norm(dim=1) > 0], vectors[-1:])
        torch.testing.assert_close(cosines, torch.ones_like(cosines))
    assert torch.nn.functional.cosine_similarity(random[0][-1:], random[1][-1:]).abs() < 0.9


@pytest.mark.parametrize("spliced", [False, True])
def test_arms_of_several_crosscoders_are_measured_as_each_alone(
    tiny_pair, crosscoder, random_crosscoder, targets, spliced: bool, monkeypatch
):
    method, other = Method(spliced=spliced), random_crosscoder(seed=5)
    arms = [
        Arm(crosscoder=each, latents=torch.arange(6), direction=d) for each in (crosscoder, other) for d in (None, 3)
    ]
    read = ReadTargets.read(tiny_pair, targets, "predict")
    alone = [ablation_effects(tiny_pair, read, [arm], method).values[:, 0] for arm in arms]
    together = ablation_effects(tiny_pair, read, arms, method)
    torch.testing.assert_close(together.values, torch.stack(alone, dim=1), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr("toolkit.interventions.ablation.EDIT_BYTES", 1)  # each arm in a call of its own
    in_parts = ablation_effects(tiny_pair, read, arms, method)
    torch.testing.assert_close(in_parts.values, together.values, rtol=1e-4, atol=1e-5)


def test_a_layer_that_the_crosscoder_does_not_read_is_refused(tiny_pair, crosscoder, targets):
    with pytest.raises(ValueError, match="no stream of 'base' at layer 1"):
        effects_of(tiny_pair, crosscoder, targets, ARMS, Method(layer=1))


@pytest.mark.parametrize("spliced", [False, True])
@pytest.mark.parametrize("positions", ["predict", "prefix"])
def test_on_ndif_the_effects_are_the_same_in_one_job_a_model_and_batch(
    tiny_pair, ndif_tiny_pair, ndif, crosscoder, targets, positions: Positions, spliced: bool
):
    method = Method(positions=positions, spliced=spliced)
    before = len(ndif.jobs_done)
    effects = effects_of(ndif_tiny_pair, crosscoder, targets, ARMS, method)
    expected = effects_of(tiny_pair, crosscoder, targets, ARMS, method)
    torch.testing.assert_close(effects.values, expected.values, rtol=1e-5, atol=1e-5)
    assert len(ndif.jobs_done) - before == 2 * 2  # a read and a measurement


def test_a_job_holds_no_crosscoder_and_its_answer_no_logits(ndif_tiny_pair, ndif, random_crosscoder, targets):
    large = random_crosscoder(n_latents=20_000)  # 5 MB of decoder rows
    arms = [torch.arange(10_000)] * 20
    received = ndif_tiny_pair.base.place.traffic.received
    effects_of(ndif_tiny_pair, large, targets, arms, Method())
    assert max(map(len, list(ndif.payloads)[-4:])) < 200_000
    assert ndif_tiny_pair.base.place.traffic.received - received < 21 * 3 * 50 * 4
