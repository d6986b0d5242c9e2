from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.models.pair import ModelPair
from toolkit.stitching.moments import CutMoments, Moments, read_moments

MomentsOf = Callable[..., Moments]
SHAPE = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50, "max_position_embeddings": 64}


def batch_of(rows: int = 24, *, left: bool = False) -> TokenBatch:
    """Random ids, rows of 7 to 12 tokens, the longest first."""
    ids = torch.randint(0, 40, (rows, 12), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(12) < torch.linspace(12, 7, rows).long()[:, None]).long()
    mask = mask.flip(1) if left else mask
    return TokenBatch(ids * mask, mask)


def keep_all(outlier_factor: float = float("inf")) -> TokenMask:
    return TokenMask(special_ids=frozenset(), keep_position_0=False, outlier_factor=outlier_factor)


def rows_of(batch: TokenBatch, *, chooses: bool) -> TokenBatch:
    """Every fourth row, or the others."""
    chosen = (torch.arange(len(batch.input_ids)) % 4 == 3) == chooses
    return TokenBatch(batch.input_ids[chosen], batch.attention_mask[chosen])


def streams(model: TracedModel, layer: int, batch: TokenBatch) -> Tensor:
    """What a model reads at a layer: first tokens, then the others."""
    (stream,) = model.residual(batch.input_ids, batch.attention_mask, [layer])
    real = batch.attention_mask.bool()
    first = real & (real.cumsum(dim=1) == 1)
    return torch.cat([stream[first], stream[real & ~first]])


def check_same(found: Moments, truth: Moments, tolerance: float = 1e-5) -> None:
    assert found.n == truth.n
    for mine, theirs in ((found.front, truth.front), (found.rest, truth.rest)):
        assert torch.allclose(mine.mean, theirs.mean, rtol=tolerance, atol=1e-6)
        assert torch.allclose(mine.first_mean, theirs.first_mean, rtol=tolerance, atol=1e-6)
        assert _relative(mine.products, theirs.products) < tolerance
    assert _relative(found.cross, truth.cross) < tolerance


def _relative(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).abs().max() / truth.abs().max())


def check_cut(
    found: CutMoments, models: Sequence[TracedModel], cut: tuple[int, int], batch: TokenBatch, moments_of: MomentsOf
) -> None:
    """Compare with moments of streams that are held."""
    for mine, chooses in ((found.fit, False), (found.chosen_by, True)):
        part = rows_of(batch, chooses=chooses)
        held = [streams(model, layer, part) for model, layer in zip(models, cut, strict=True)]
        check_same(mine, moments_of(*held, len(part.input_ids)))


@pytest.mark.parametrize("left", [False, True])
def test_the_moments_of_all_cuts_are_those_of_streams_that_are_held(
    left: bool, tiny_pair: ModelPair, moments_of: MomentsOf
) -> None:
    batch, cuts = batch_of(left=left), [(0, 0), (2, 2), (3, 3)]
    mask = TokenMask(special_ids=frozenset(), keep_position_0=True, outlier_factor=float("inf"))
    found = read_moments(tiny_pair.base, tiny_pair.distilled, [batch], mask, cuts)
    assert [*found] == cuts
    for cut in cuts:
        check_cut(found[cut], (tiny_pair.base, tiny_pair.distilled), cut, batch, moments_of)


def test_several_batches_give_the_moments_of_one(tiny_pair: ModelPair) -> None:
    batch = batch_of()
    parts = [
        TokenBatch(batch.input_ids[start:stop], batch.attention_mask[start:stop])
        for start, stop in ((0, 3), (3, 4), (4, 17), (17, 24))
    ]
    whole, by_parts = (
        read_moments(tiny_pair.base, tiny_pair.distilled, batches, keep_all(), [(2, 2)])[2, 2]
        for batches in ([batch], parts)
    )
    check_same(by_parts.fit, whole.fit)
    check_same(by_parts.chosen_by, whole.chosen_by)


def test_models_may_differ_in_width_and_depth(
    save_model: Callable[..., Path], tiny_pair: ModelPair, moments_of: MomentsOf
) -> None:
    config = Qwen2Config(**SHAPE, hidden_size=48, intermediate_size=64, num_hidden_layers=6)
    other = ModelSet.from_pretrained({"other": str(save_model(config))}).models["other"]
    batch, cuts = batch_of(), [(1, 1), (1, 2), (3, 5)]
    found = read_moments(tiny_pair.base, other, [batch], keep_all(), cuts)
    for cut in cuts:
        check_cut(found[cut], (tiny_pair.base, other), cut, batch, moments_of)


def test_one_reading_serves_both_directions_and_each_model_by_itself(tiny_pair: ModelPair) -> None:
    batch, cut, (base, distilled) = batch_of(), (2, 2), tiny_pair.models.values()
    found = read_moments(base, distilled, [batch], keep_all(), [cut])[cut]
    back = read_moments(distilled, base, [batch], keep_all(), [cut])[cut]
    check_same(found.reversed().fit, back.fit)
    check_same(found.reversed().chosen_by, back.chosen_by)
    itself = found.front_to_itself().chosen_by
    assert torch.equal(itself.cross, found.chosen_by.front.products)
    assert itself.rest is itself.front


def test_a_large_common_offset_costs_no_accuracy(
    make_tokenizer: Callable[..., PreTrainedTokenizerFast], moments_of: MomentsOf
) -> None:
    config = Qwen2Config(**SHAPE, hidden_size=32, intermediate_size=48, num_hidden_layers=2)
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            model.model.embed_tokens.weight[:, 3] += 3000
        models.append(model)
    pair = ModelPair.from_pretrained(base=models[0], distilled=models[1], tokenizer=make_tokenizer())
    batch = batch_of()
    found = read_moments(pair.base, pair.distilled, [batch], keep_all(), [(0, 0)])[0, 0]
    check_cut(found, (pair.base, pair.distilled), (0, 0), batch, moments_of)
    part = rows_of(batch, chooses=False)
    x, y = (streams(model, 0, part)[len(part.input_ids) :] for model in pair.models.values())
    uncentred = x.T @ y - len(x) * torch.outer(x.mean(dim=0), y.mean(dim=0))
    assert _relative(uncentred.double(), found.fit.cross) > 0.01  # what float32 makes of it otherwise


def test_a_token_of_outlying_norm_in_one_stream_counts_in_none(
    make_tokenizer: Callable[..., PreTrainedTokenizerFast],
) -> None:
    config = Qwen2Config(**SHAPE, hidden_size=32, intermediate_size=48, num_hidden_layers=2)
    models = [AutoModelForCausalLM.from_config(config).eval() for _ in range(2)]
    with torch.no_grad():
        models[1].model.embed_tokens.weight[7] *= 1000
    pair = ModelPair.from_pretrained(base=models[0], distilled=models[1], tokenizer=make_tokenizer())
    batch, mask = batch_of(), keep_all(outlier_factor=10.0)
    found = read_moments(pair.base, pair.distilled, [batch], mask, [(0, 0)])[0, 0]
    real = batch.attention_mask.bool()
    real[:, 0] = False
    outlying = int((batch.input_ids[real] == 7).sum())
    assert outlying
    assert mask.counts["outlier_norm"] == outlying
    assert found.fit.n + found.chosen_by.n == int(real.sum()) - outlying
    assert found.fit.front.products.trace() < 10 * found.fit.n  # of the base model's own tokens, all of usual norm


def test_text_without_a_token_that_counts_is_refused(tiny_pair: ModelPair) -> None:
    alone = TokenBatch(torch.zeros(3, 1, dtype=torch.long), torch.ones(3, 1, dtype=torch.long))
    for batches in ([], [alone]):
        with pytest.raises(ValueError, match="no token that counts"):
            read_moments(tiny_pair.base, tiny_pair.distilled, batches, keep_all(), [(1, 1)])


def test_a_stream_that_is_not_finite_is_named(make_tokenizer: Callable[..., PreTrainedTokenizerFast]) -> None:
    config = Qwen2Config(**SHAPE, hidden_size=32, intermediate_size=48, num_hidden_layers=2)
    models = [AutoModelForCausalLM.from_config(config).eval() for _ in range(2)]
    with torch.no_grad():
        models[1].model.layers[0].mlp.down_proj.weight.fill_(1e38)  # finite, but not what it makes of a stream
        models[1].model.layers[0].mlp.up_proj.weight *= 1e6
    pair = ModelPair.from_pretrained(base=models[0], distilled=models[1], tokenizer=make_tokenizer())
    with pytest.raises(ValueError, match="stream of the rest at layer 1 has values that are not finite"):
        read_moments(pair.base, pair.distilled, [batch_of()], keep_all(outlier_factor=10.0), [(0, 0), (1, 1)])
