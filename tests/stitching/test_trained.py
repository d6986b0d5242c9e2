"""Maps trained through the receiver: gradients are those of the plain model, and training never ends worse."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import SHAPE
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from toolkit.dictionaries.activation_batches import NonFiniteError
from toolkit.harvest.tokens import TokenBatch
from toolkit.leaving_out import TooFewError
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.pair import ModelPair
from toolkit.models.places.open_model import open_model
from toolkit.models.text.rows import padded
from toolkit.models.where import Where
from toolkit.stitching import trained
from toolkit.stitching.maps import AffineMap
from toolkit.stitching.stitch import Stitch
from toolkit.stitching.trained import MapTraining, ThroughRest, train_map

WIDTH, LAYER = 32, 2
QUICK = MapTraining(steps=20, warmup_steps=5, look_steps=5)
TENSORS = ("weight", "bias", "first_bias")


def text(seed: int, rows: int = 4, *, left: bool = False) -> list[TokenBatch]:
    """Two batches of rows of random ids, of different lengths."""
    chance = torch.Generator().manual_seed(seed)
    ids = [torch.randint(0, 40, (7 + row,), generator=chance) for row in range(2 * rows)]
    return [TokenBatch(*padded(ids[:rows], left=left)), TokenBatch(*padded(ids[rows:], left=left))]


def some_map(seed: int, noise: float = 0.3) -> AffineMap:
    """The identity with noise."""
    chance = torch.Generator().manual_seed(seed)
    weight, bias, first_bias = (
        noise * torch.randn(shape, generator=chance) for shape in ((WIDTH, WIDTH), WIDTH, WIDTH)
    )
    return AffineMap(weight=torch.eye(WIDTH) + weight, bias=bias, first_bias=first_bias)


def asking(of: AffineMap) -> AffineMap:
    """The same map, of tensors that ask for gradients."""
    return AffineMap(
        weight=of.weight.clone().requires_grad_(),
        bias=of.bias.clone().requires_grad_(),
        first_bias=of.first_bias.clone().requires_grad_(),
    )


def plain_loss(front: Path, rest: Path, of: AffineMap, batch: TokenBatch, layer: int) -> Tensor:
    """The mean cross-entropy in transformers alone, with a hook."""
    models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (front, rest)]
    ids, mask = batch.input_ids, batch.attention_mask
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    with torch.no_grad():
        stream = models[0](**given, output_hidden_states=True).hidden_states[layer]
    first = positions.eq(0) & mask.bool()
    values = stream @ of.weight + torch.where(first[..., None], of.first_bias, of.bias)
    models[1].base_model.layers[layer].register_forward_pre_hook(lambda _, inputs: (values, *inputs[1:]))
    logits = models[1](**given).logits
    follows = mask[:, 1:].bool() & mask[:, :-1].bool()
    return torch.nn.functional.cross_entropy(logits[:, :-1][follows], ids[:, 1:][follows])


@pytest.mark.parametrize(("layer", "left"), [(0, False), (2, False), (3, True)])
def test_loss_and_gradients_are_those_of_the_plain_model(
    tiny_pair: ModelPair, folders: tuple[Path, Path], layer: int, left: bool
) -> None:
    found, expected = asking(some_map(0)), asking(some_map(0))
    through = ThroughRest(rest=tiny_pair.distilled, stitch=Stitch(tiny_pair.base, some_map(0), layer=layer))
    batch = text(1, left=left)[1]
    loss = through.loss(found, batch)
    wanted = plain_loss(*folders, expected, batch, layer)
    wanted.backward()
    assert loss == pytest.approx(float(wanted.detach()), rel=1e-5)
    for name in TENSORS:
        gradient = getattr(expected, name).grad
        assert gradient.abs().max() > 1e-4
        torch.testing.assert_close(getattr(found, name).grad, gradient, atol=1e-6, rtol=1e-3)


def test_a_batch_that_goes_through_in_parts_gives_the_same(tiny_pair: ModelPair, monkeypatch) -> None:
    through = ThroughRest(rest=tiny_pair.distilled, stitch=Stitch(tiny_pair.base, some_map(0), layer=LAYER))
    batch, whole, parts = text(1)[0], asking(some_map(0)), asking(some_map(0))
    loss = through.loss(whole, batch)
    monkeypatch.setattr(trained, "LARGEST_LOGITS", 3 * 50 * batch.input_ids.shape[1])  # three rows, then one
    assert through.loss(parts, batch) == pytest.approx(loss)
    for name in TENSORS:
        torch.testing.assert_close(getattr(parts, name).grad, getattr(whole, name).grad)


def test_the_start_is_kept_where_training_makes_it_worse(tiny_pair: ModelPair) -> None:
    start = Stitch(tiny_pair.base, some_map(0, noise=0.05), layer=LAYER)
    too_fast = MapTraining(steps=40, lr=3.0, warmup_steps=0, look_steps=2, patience=3)
    found = train_map(tiny_pair.distilled, start, text(1), text(2), too_fast)
    assert [look.step for look in found.looks] == [0, 2, 4, 6]
    assert min(look.loss for look in found.looks[1:]) > found.looks[0].loss
    assert found.best == found.looks[0]
    for name in TENSORS:
        torch.testing.assert_close(getattr(found.map, name), getattr(start.map, name), rtol=0, atol=0)


def test_the_map_is_that_of_the_best_look(tiny_pair: ModelPair) -> None:
    start = Stitch(tiny_pair.base, some_map(0), layer=LAYER)
    found = train_map(tiny_pair.distilled, start, text(1), text(1), replace(QUICK, lr=1e-2))
    through = ThroughRest(rest=tiny_pair.distilled, stitch=start)
    assert found.best.loss < found.looks[0].loss
    assert through.mean_loss(found.map, text(1)) == pytest.approx(found.best.loss)
    assert found.reached(found.best.loss) == found.best
    assert found.reached(0.0) is None
    assert len(found.losses) == found.looks[-1].step
    assert found.tokens == sum(int(each.attention_mask.sum()) for each in text(1)) * len(found.losses) // 2
    assert not found.map.weight.requires_grad


def test_a_seed_gives_the_same_map_and_another_seed_another(tiny_pair: ModelPair) -> None:
    start = Stitch(tiny_pair.base, some_map(0), layer=LAYER)
    batches = [*text(1), *text(2)]
    first, again, other = (
        train_map(tiny_pair.distilled, start, batches, batches, replace(QUICK, seed=seed, lr=1e-2))
        for seed in (0, 0, 1)
    )
    assert first.losses == again.losses != other.losses
    assert torch.equal(first.map.weight, again.map.weight)
    assert not torch.equal(first.map.weight, other.map.weight)


def test_the_receiver_keeps_its_weights_and_no_gradient_of_them(folders: tuple[Path, Path]) -> None:
    pair = ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[1]))
    module = pair.distilled.model._module
    before = {name: value.clone() for name, value in module.named_parameters()}
    train_map(pair.distilled, Stitch(pair.base, some_map(0), layer=LAYER), text(1), text(2), QUICK)
    for name, value in module.named_parameters():
        assert torch.equal(value, before[name])
        assert value.grad is None
        assert value.requires_grad


def test_a_planted_map_is_recovered(folders: tuple[Path, Path], make_tokenizer) -> None:
    front, rest, rotation = rotated_pair(make_tokenizer())
    planted = AffineMap(weight=rotation, bias=torch.zeros(WIDTH), first_bias=torch.zeros(WIDTH))
    noise = some_map(3, noise=0.2)
    start = AffineMap(weight=rotation @ noise.weight, bias=noise.bias, first_bias=noise.first_bias)
    texts = [TokenBatch(ids, torch.ones_like(ids)) for ids in own_text(front, rows=384).split(32)]
    training, held_out = texts[4:], texts[:4]
    found = train_map(
        rest, Stitch(front, start, layer=LAYER), training, held_out, MapTraining(steps=90, lr=1e-2, warmup_steps=20)
    )
    through = ThroughRest(rest=rest, stitch=Stitch(front, start, layer=LAYER))
    best = through.mean_loss(planted, held_out)
    assert found.looks[0].loss - best > 0.3
    assert found.best.loss - best < 0.15 * (found.looks[0].loss - best)


def rotated_pair(tokenizer: PreTrainedTokenizerBase) -> tuple[TracedModel, TracedModel, Tensor]:
    """A model of sharp predictions, the same model in another basis of its stream, and the rotation between them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = Qwen2Config(**SHAPE, num_key_value_heads=2, initializer_range=0.2)
        front, rest = Qwen2ForCausalLM(config).eval(), Qwen2ForCausalLM(config).eval()
        rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0]
    rest.load_state_dict(front.state_dict())
    with torch.no_grad():
        for name, weight in rest.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.copy_(rotation.T @ weight)
            elif weight.ndim == 2:
                weight.copy_(weight @ rotation)
    models = [open_model(each, tokenizer, Where()) for each in (front, rest)]
    return models[0], models[1], rotation


def own_text(model: TracedModel, rows: int) -> Tensor:
    """Rows of 16 ids that the model wrote."""
    prompts = [[row % 40] for row in range(rows)]
    written = model.generate_ids(prompts, new_tokens=15, temperature=1.0, seeds=tuple(range(rows)))
    return torch.tensor([prompt + (new + [0] * 15)[:15] for prompt, new in zip(prompts, written, strict=True)])


def test_a_front_of_another_width_and_depth_is_trained_too(tiny_pair: ModelPair, pair: ModelPair) -> None:
    chance = torch.Generator().manual_seed(0)
    weight, bias, first_bias = (0.3 * torch.randn(shape, generator=chance) for shape in ((16, WIDTH), WIDTH, WIDTH))
    start = Stitch(pair.base, AffineMap(weight=weight, bias=bias, first_bias=first_bias), layer=3, front_layer=1)
    found = train_map(tiny_pair.distilled, start, text(1), text(1), replace(QUICK, lr=1e-2))
    assert found.map.weight.shape == (16, WIDTH)
    assert found.best.loss < found.looks[0].loss


def test_impossible_trainings_are_refused(tiny_pair: ModelPair, monkeypatch) -> None:
    start, rest = Stitch(tiny_pair.base, some_map(0), layer=LAYER), tiny_pair.distilled
    with pytest.raises(ValueError, match="layer 4 is out of range"):
        train_map(rest, Stitch(tiny_pair.base, some_map(0), layer=4, front_layer=2), text(1), text(2))
    with pytest.raises(TooFewError, match="7 documents of two tokens or more to tell by when to stop: give at least 8"):
        train_map(rest, start, text(1), [*text(2)[:1], TokenBatch(*(each[:3] for each in padded([[1, 2]] * 3)))])
    narrow = AffineMap(weight=torch.zeros(WIDTH, 16), bias=torch.zeros(16), first_bias=torch.zeros(16))
    with pytest.raises(ValueError, match="gives a stream of width 16"):
        train_map(rest, Stitch(tiny_pair.base, narrow, layer=LAYER), text(1), text(2))
    monkeypatch.setattr(rest.place, "keeps_caches", False)
    monkeypatch.setattr(rest.place, "server", "http://ndif")
    with pytest.raises(
        ValueError, match="runs on NDIF, and a map is trained by gradients through weights in this process"
    ):
        train_map(rest, start, text(1), text(2))
    with pytest.raises(ValueError, match="steps 0: must be at least 1"):
        MapTraining(steps=0)


def test_gradients_that_are_not_finite_stop_it(tiny_pair: ModelPair) -> None:
    broken = replace(some_map(0), bias=torch.full((WIDTH,), float("inf")))
    with pytest.raises(NonFiniteError, match="step 1 met NaN or infinity"):
        train_map(tiny_pair.distilled, Stitch(tiny_pair.base, broken, layer=LAYER), text(1), text(2), QUICK)
