"""What stitching costs, against transformers with hooks and a loop over positions."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div
from transformers import Qwen2Config

from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model_set import ModelSet
from toolkit.models.pair import ModelPair
from toolkit.stitching.excess import Predictions, stitching_excess
from toolkit.stitching.maps import AffineMap, identity_map
from toolkit.stitching.position_kinds import KINDS
from toolkit.stitching.stitch import Stitch

PIECES = [f"w{i}" for i in range(38)] + ["<think>", "</think>", "<s>", "</s>"]
OPENING, CLOSING, WAIT = 38, 39, 9


@pytest.fixture
def tokens(batch: tuple[Tensor, Tensor]) -> TokenBatch:
    """Three documents: one that thinks and answers, one whose thought is cut off, one without marks."""
    ids, mask = batch[0].clamp(max=37), batch[1]
    ids[0, [2, 5, 8, 10]] = torch.tensor([OPENING, WAIT, CLOSING, WAIT])
    ids[1, [1, 6]] = torch.tensor([OPENING, WAIT])
    return TokenBatch(ids, mask)


@pytest.fixture
def documents(tokens: TokenBatch) -> list[Predictions]:
    return [predictions(tokens)]


def predictions(tokens: TokenBatch, *, keep_position_0: bool = False) -> Predictions:
    mask = TokenMask(special_ids=frozenset(), keep_position_0=keep_position_0, outlier_factor=math.inf)
    return Predictions.of(tokens, mask, PIECES, [WAIT])


def random_map(d_front: int, d_rest: int, seed: int) -> AffineMap:
    generator = torch.Generator().manual_seed(seed)
    weight, bias, first = (
        torch.randn(*size, generator=generator) for size in ((d_front, d_rest), (d_rest,), (d_rest,))
    )
    return AffineMap(weight=weight / 6, bias=0.1 * bias, first_bias=first)


def naive(
    front: TracedModel, rest: TracedModel, affine: AffineMap, ids: Tensor, cuts: tuple[int, int], firsts: int
) -> Tensor:
    """Excess CE and KL of each prediction of one text, from position `firsts` on; [prediction, 2]."""
    sender, receiver = front.model._module, rest.model._module
    with torch.no_grad():
        hidden = sender(ids[None].to(front.device), output_hidden_states=True).hidden_states
        stream, read = hidden[cuts[0]][0].cpu(), ids[None].to(rest.device)
        mapped = torch.cat([stream[:1] @ affine.weight + affine.first_bias, stream[1:] @ affine.weight + affine.bias])
        own = receiver(read).logits[0].double().cpu()
        layer, given = receiver.model.layers[cuts[1]], mapped[None].to(rest.device)
        with layer.register_forward_pre_hook(lambda _, arguments: (given, *arguments[1:])):
            stitched = receiver(read).logits[0].double().cpu()
    found = []
    for position in range(firsts, len(ids) - 1):
        p, q = own[position].log_softmax(0), stitched[position].log_softmax(0)
        target = ids[position + 1]
        kl = kl_div(q, p, reduction="sum", log_target=True)
        found.append(torch.stack([cross_entropy(q, target) - cross_entropy(p, target), kl]))
    return torch.stack(found)


@pytest.mark.parametrize("cut", [0, 3])
def test_sums_by_document_and_kind_against_hooks_and_a_loop(
    tiny_pair: ModelPair, documents: list[Predictions], tokens: TokenBatch, cut: int
) -> None:
    front, rest = tiny_pair.base, tiny_pair.distilled
    maps = [random_map(32, 32, seed) for seed in (0, 1)]
    found = stitching_excess(rest, [Stitch(front, each, cut) for each in maps], documents)
    kinds = [["prompt"] + ["thinking"] * 2 + ["hesitation"] + ["thinking"] * 2 + ["answer"] * 4]
    kinds += [["thinking"] * 4 + ["hesitation"] + ["thinking"] * 2, ["other text"] * 3]
    for row, of_row in enumerate(kinds):
        ids = tokens.input_ids[row, : len(of_row) + 2]
        number = torch.tensor([KINDS.index(kind) for kind in of_row])
        assert torch.equal(found.tokens[row], number.bincount(minlength=5).double())
        for index, affine in enumerate(maps):
            each = naive(front, rest, affine, ids, (cut, cut), 1)
            expected = torch.zeros(5, 2, dtype=torch.float64).index_add_(0, number, each)
            got = torch.stack([found.ce[index, row], found.kl[index, row]], dim=1)
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cut", range(4))
def test_a_model_stitched_to_itself_by_the_identity_loses_exactly_nothing(
    tiny_pair: ModelPair, documents: list[Predictions], cut: int
) -> None:
    for model in tiny_pair.models.values():
        found = stitching_excess(model, [Stitch(model, identity_map(32), cut)], documents)
        assert not found.ce.any()
        assert not found.kl.any()
        assert (found.loss > 0).any()


def test_stitches_of_several_fronts_and_cuts_are_those_of_each_alone(
    tiny_pair: ModelPair, documents: list[Predictions]
) -> None:
    base, distilled = tiny_pair.base, tiny_pair.distilled
    stitches = [Stitch(base, random_map(32, 32, 0), 3, 1), Stitch(distilled, random_map(32, 32, 1), 0)]
    together = stitching_excess(distilled, stitches, documents)
    for index, stitch in enumerate(stitches):
        alone = stitching_excess(distilled, [stitch], documents)
        assert torch.equal(together.kl[index], alone.kl[0])


def test_a_cut_that_the_receiver_lacks_is_refused(tiny_pair: ModelPair, documents: list[Predictions]) -> None:
    stitch = Stitch(tiny_pair.base, identity_map(32), 4, 1)
    with pytest.raises(ValueError, match="layer 4 is out of range"):
        stitching_excess(tiny_pair.base, [stitch], documents)


def test_a_first_token_predicts_where_the_mask_keeps_it(tiny_pair: ModelPair, tokens: TokenBatch) -> None:
    kept = predictions(tokens, keep_position_0=True)
    affine, model = random_map(32, 32, 0), tiny_pair.distilled
    found = stitching_excess(model, [Stitch(tiny_pair.base, affine, 2)], [kept])
    assert found.tokens.sum() == tokens.attention_mask.sum() - 3
    expected = naive(tiny_pair.base, model, affine, tokens.input_ids[2, :5], (2, 2), 0).sum(dim=0)
    torch.testing.assert_close(found.ce[0, 2].sum(), expected[0], rtol=1e-4, atol=1e-6)


def test_batches_add_up_to_the_same_documents(tiny_pair: ModelPair, tokens: TokenBatch) -> None:
    rows = [TokenBatch(tokens.input_ids[i : i + 1], tokens.attention_mask[i : i + 1]) for i in range(3)]
    stitches = [Stitch(tiny_pair.base, random_map(32, 32, 0), 1)]
    apart = stitching_excess(tiny_pair.distilled, stitches, list(map(predictions, rows)))
    together = stitching_excess(tiny_pair.distilled, stitches, [predictions(tokens)])
    torch.testing.assert_close(apart.ce, together.ce, rtol=1e-4, atol=1e-6)
    assert torch.equal(apart.tokens, together.tokens)


def test_models_of_other_width_and_depth_meet_at_layers_of_their_own(
    tiny_pair: ModelPair, save_model: Callable[..., Path], documents: list[Predictions], tokens: TokenBatch
) -> None:
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(**shape, num_key_value_heads=1, vocab_size=50, max_position_embeddings=64)
    small = ModelSet.from_pretrained({"small": str(save_model(config))}).models["small"]
    affine = random_map(16, 32, 0)
    found = stitching_excess(tiny_pair.base, [Stitch(small, affine, 3, 1)], documents)
    each = naive(small, tiny_pair.base, affine, tokens.input_ids[0], (1, 3), 1)
    torch.testing.assert_close(found.kl[0, 0].sum(), each[:, 1].sum(), rtol=1e-4, atol=1e-6)


def test_text_without_predictions_is_refused(tiny_pair: ModelPair, tokens: TokenBatch) -> None:
    short = TokenBatch(tokens.input_ids[:, :2], tokens.attention_mask[:, :2])
    for documents in ([], [predictions(short)]):
        with pytest.raises(ValueError, match="no prediction was measured"):
            stitching_excess(tiny_pair.base, [Stitch(tiny_pair.base, identity_map(32), 1)], documents)


@pytest.mark.usefixtures("ndif")
def test_on_ndif_the_sums_are_those_of_this_machine(
    ndif_tiny_pair: ModelPair, tiny_pair: ModelPair, documents: list[Predictions]
) -> None:
    maps = [identity_map(32), random_map(32, 32, 0)]
    remote, here = (
        stitching_excess(pair.distilled, [Stitch(pair.base, each, 2) for each in maps], documents)
        for pair in (ndif_tiny_pair, tiny_pair)
    )
    torch.testing.assert_close(remote.ce, here.ce, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(remote.kl, here.kl, rtol=1e-4, atol=1e-5)
