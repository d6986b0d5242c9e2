"""Stitched models against transformers alone: the front's hidden state, mapped, in the place of the receiver's own."""

import pytest
import torch
from torch import Tensor

from toolkit.interventions.edits import shift
from toolkit.models.model.sampling import Sampling
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.pair import ModelPair
from toolkit.stitching.maps import AffineMap
from toolkit.stitching.stitch import Stitch

IDENTITY = AffineMap(weight=torch.eye(32), bias=torch.zeros(32), first_bias=torch.zeros(32))
PROMPTS = [[5, 6, 7, 8], [9, 10], [3, 4, 11]]


@pytest.fixture
def affine() -> AffineMap:
    generator = torch.Generator().manual_seed(0)
    weight, bias, first_bias = (torch.randn(*shape, generator=generator) for shape in ((32, 32), (32,), (32,)))
    return AffineMap(weight=weight / 6, bias=0.01 * bias, first_bias=0.1 * first_bias)


def stitched_logits(front: TracedModel, rest: TracedModel, affine: AffineMap, ids: list[int], cut: int) -> Tensor:
    """Logits of one text without padding, with hooks of torch alone."""
    tokens = torch.tensor([ids], device=front.device)
    weight, bias, first_bias = (each.to(front.device) for each in (affine.weight, affine.bias, affine.first_bias))
    with torch.no_grad():
        stream = front.model._module(tokens, output_hidden_states=True).hidden_states[cut][0]
        mapped = torch.cat([stream[:1] @ weight + first_bias, stream[1:] @ weight + bias])
        layer = rest.model._module.model.layers[cut]
        hook = layer.register_forward_pre_hook(lambda _, arguments: (mapped[None], *arguments[1:]))
        logits: Tensor = rest.model._module(tokens).logits[0]
        hook.remove()
    return logits


def recomputed(front: TracedModel, rest: TracedModel, affine: AffineMap, prompt: list[int], new: int) -> list[int]:
    """Greedy generation that reads the whole text anew for every token."""
    ids = list(prompt)
    while len(ids) < len(prompt) + new and (ids == prompt or ids[-1] not in rest.end_ids):
        ids.append(int(stitched_logits(front, rest, affine, ids, cut=2)[-1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("cut", [1, 3])
def test_the_rest_runs_on_the_mapped_front_wherever_a_row_is_padded(
    tiny_pair: ModelPair, affine: AffineMap, cut: int, left: bool
) -> None:
    front, rest = tiny_pair.base, tiny_pair.distilled
    padded = [([0] * (4 - len(ids)) + ids) if left else (ids + [0] * (4 - len(ids))) for ids in PROMPTS]
    mask = torch.tensor([[int(token > 0) for token in row] for row in padded])
    logits = rest.logits(torch.tensor(padded), mask, edit=Stitch(front, affine, cut))
    for row, ids, attended in zip(logits, PROMPTS, mask.bool(), strict=True):
        torch.testing.assert_close(row[attended], stitched_logits(front, rest, affine, ids, cut))


@pytest.mark.parametrize("cut", range(4))
def test_a_model_stitched_to_itself_by_the_identity_gives_its_own_logits_bit_by_bit(
    tiny_pair: ModelPair, batch: tuple[Tensor, Tensor], cut: int
) -> None:
    model = tiny_pair.distilled
    stitched = model.logits(*batch, edit=Stitch(model, IDENTITY, cut))
    assert torch.equal(stitched[batch[1].bool()], model.logits(*batch)[batch[1].bool()])
    assert model.generate_ids(PROMPTS, edit=Stitch(model, IDENTITY, cut), new_tokens=8) == model.generate_ids(
        PROMPTS, new_tokens=8
    )


def test_generation_equals_reading_the_whole_stitched_text_at_each_step(
    tiny_pair: ModelPair, affine: AffineMap
) -> None:
    front, rest = tiny_pair.base, tiny_pair.distilled
    expected = [recomputed(front, rest, affine, prompt, 8) for prompt in PROMPTS]
    stitch = Stitch(front, affine, 2)
    for edit_prompt in (False, True):  # a stitch covers prompts whatever that says
        assert rest.generate_ids(PROMPTS, edit=stitch, new_tokens=8, edit_prompt=edit_prompt) == expected
    assert rest.generate_ids(PROMPTS, new_tokens=8) != expected


@pytest.mark.slow
def test_rows_that_join_and_answers_that_were_begun_are_stitched_as_they_are_alone(
    tiny_pair: ModelPair, affine: AffineMap
) -> None:
    front, rest = tiny_pair.base, tiny_pair.distilled
    prompts = [[token] * (1 + token % 5) for token in range(1, 39)]
    stitch, sampling = Stitch(front, affine, 2), Sampling(new_tokens=12)
    alone = [rest.generate_ids([prompt], edit=stitch, sampling=sampling)[0] for prompt in prompts]
    assert len(set(map(len, alone))) > 1
    begun = [answer[: min(number % 5, len(answer) - 1)] for number, answer in enumerate(alone)]
    for rows in (3, 16):
        each = dict(rest.generate_each(prompts, edit=stitch, sampling=sampling, rows=rows))
        assert [each[number] for number in range(len(prompts))] == alone
        ends = dict(rest.generate_each(prompts, begun=begun, edit=stitch, sampling=sampling, rows=rows))
        for number, (ids, answer) in enumerate(zip(begun, alone, strict=True)):
            assert (ids + ends[number])[: len(answer)] == answer


def test_a_sum_with_a_steering_edit_stitches_the_prompt_and_steers_what_is_written(
    tiny_pair: ModelPair, affine: AffineMap
) -> None:
    front, rest, prompt = tiny_pair.base, tiny_pair.distilled, PROMPTS[0]
    push = shift(3, torch.linspace(-3, 3, 32))
    written = rest.generate_ids([prompt], edit=Stitch(front, affine, 2) + push, new_tokens=6)[0]
    assert written[0] == int(stitched_logits(front, rest, affine, prompt, 2)[-1].argmax())
    both = Stitch(front, affine, 2) + push
    everywhere = rest.generate_ids([prompt], edit=both, new_tokens=6, edit_prompt=True)[0]
    assert everywhere[0] == int(rest.logits([prompt], edit=both, last=1).argmax())


def test_in_half_precision_the_map_runs_in_float32(folders: tuple[str, str], affine: AffineMap) -> None:
    pair = ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[1]))
    for model in (pair.base, pair.distilled):
        model.model._module.to(torch.bfloat16)
    ids, mask = torch.tensor([PROMPTS[0]]), torch.ones(1, 4, dtype=torch.long)
    stream = pair.base.residual(ids, mask, 2)[0].float().cpu()
    edited = pair.distilled.residual(ids, mask, 2, edit=Stitch(pair.base, affine, 2))[0]
    biases = torch.stack([affine.first_bias, *[affine.bias] * 3])
    assert torch.equal(edited[0].cpu(), (stream[0] @ affine.weight + biases).bfloat16())


def test_impossible_stitches_are_refused(tiny_pair: ModelPair, affine: AffineMap) -> None:
    base, rest, ids = tiny_pair.base, tiny_pair.distilled, torch.tensor([PROMPTS[0]])
    narrow, wide = (
        AffineMap(weight=torch.zeros(shape), bias=torch.zeros(shape[1]), first_bias=torch.zeros(shape[1]))
        for shape in ((16, 32), (32, 48))
    )
    with pytest.raises(ValueError, match=r"takes a stream of width 16, and the front .* has width 32: give a map"):
        Stitch(base, narrow, 2)
    with pytest.raises(ValueError, match="an edit at layer 2 has width 48, and this model's stream has width 32"):
        rest.logits(ids, edit=Stitch(base, wide, 2))
    with pytest.raises(ValueError, match="layer 7 is out of range: the model has 4"):
        Stitch(base, affine, 2, front_layer=7)
    with pytest.raises(ValueError, match="layer 9 is out of range: the model has 4"):
        rest.logits(ids, edit=Stitch(base, affine, 9, front_layer=1))
    past = rest.empty_cache()
    rest.logits(ids, past=past)
    with pytest.raises(ValueError, match="Stitch reads whole texts"):
        rest.logits(ids[:, :1], torch.ones(1, 5, dtype=torch.long), edit=Stitch(base, affine, 2), past=past)


def test_models_on_a_server_are_stitched_in_two_jobs(
    tiny_pair: ModelPair, ndif_tiny_pair: ModelPair, affine: AffineMap, batch: tuple[Tensor, Tensor]
) -> None:
    front, rest = ndif_tiny_pair.base, ndif_tiny_pair.distilled
    expected = tiny_pair.distilled.logits(*batch, edit=Stitch(tiny_pair.base, affine, 2)).cpu()
    before = [model.place.traffic.jobs for model in (front, rest)]
    there = rest.logits(*batch, edit=Stitch(front, affine, 2)).cpu()
    assert [model.place.traffic.jobs for model in (front, rest)] == [jobs + 1 for jobs in before]
    attended = batch[1].bool()
    torch.testing.assert_close(there[attended], expected[attended])
    for one, other in ((front, tiny_pair.distilled), (tiny_pair.base, rest)):  # one of them here, the other there
        found = other.logits(*batch, edit=Stitch(one, affine, 2)).cpu()
        torch.testing.assert_close(found[attended], expected[attended])


def test_generation_is_refused_where_a_server_keeps_no_cache(
    tiny_pair: ModelPair, ndif_tiny_pair: ModelPair, affine: AffineMap
) -> None:
    with pytest.raises(ValueError, match="such as SetLatent or Stitch, reads another model while one generates"):
        ndif_tiny_pair.distilled.generate_ids(PROMPTS, edit=Stitch(tiny_pair.base, affine, 2), new_tokens=2)
    with pytest.raises(ValueError, match=r"the front .* is on NDIF or has split layers.* to generate"):
        tiny_pair.distilled.generate_ids(PROMPTS, edit=Stitch(ndif_tiny_pair.base, affine, 2), new_tokens=2)
