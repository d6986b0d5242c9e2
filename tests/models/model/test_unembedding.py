from pathlib import Path

import pytest
import torch
from ndif_server import NdifServer

from toolkit.models.model.layers import layers_path
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model.unembedding import direction_logits, direction_tokens
from toolkit.models.pair import ModelPair
from toolkit.models.places.ndif.ndif import Ndif

pytestmark = pytest.mark.filterwarnings("ignore:base and distilled are the same weights")  # one model will do here


@pytest.fixture
def model(any_folder: Path) -> TracedModel:
    """A model whose final norm has a gain, and a bias where it can."""
    pair = ModelPair.from_pretrained(base=str(any_folder), distilled=str(any_folder), layers=[2], where="cpu")
    module = pair.base.model._module
    generator = torch.Generator().manual_seed(1)
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[0].endswith((".norm", ".ln_f", ".final_layer_norm")):
            parameter.data = 0.5 + torch.rand(parameter.shape, generator=generator)
    return pair.base


def test_logits_are_the_unembedding_of_the_normed_direction(model: TracedModel) -> None:
    directions = torch.randn(3, model.d_model, generator=torch.Generator().manual_seed(2))
    directions[2] = 0
    module = model.model._module
    parameters = dict(module.named_parameters())
    parent = layers_path(module).rpartition(".")[0]
    name = next(n for n in ("norm", "ln_f", "final_layer_norm") if f"{parent}.{n}.weight" in parameters)
    gain = parameters[f"{parent}.{name}.weight"]
    if type(module).__name__.startswith("Gemma"):
        gain = 1 + gain  # as these models define it
    is_layer_norm = f"{parent}.{name}.bias" in parameters
    centred = directions - is_layer_norm * directions.mean(dim=1, keepdim=True)
    scaled = centred / centred.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
    expected = (scaled * gain) @ module.get_output_embeddings().weight.t()
    torch.testing.assert_close(direction_logits(model, directions), expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(direction_logits(model, 5 * directions), expected, atol=1e-4, rtol=1e-3)


def test_the_stream_before_the_final_norm_gives_the_models_own_logits(tiny_pair: ModelPair) -> None:
    ids = torch.arange(6, device=tiny_pair.device)[None]
    module = tiny_pair.base.model._module
    seen: list[torch.Tensor] = []
    handle = module.model.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    with torch.no_grad():
        expected = module(input_ids=ids).logits[0]
    handle.remove()
    torch.testing.assert_close(direction_logits(tiny_pair.base, seen[0]), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("upload", "jobs"), [(10**6, 1), (2 * 32 * 4, 3)])
def test_on_ndif_directions_say_the_same(
    tiny_pair: ModelPair,
    ndif_tiny_pair: ModelPair,
    ndif: NdifServer,
    monkeypatch: pytest.MonkeyPatch,
    upload: int,
    jobs: int,
) -> None:
    monkeypatch.setattr(Ndif, "job_bytes", upload)
    before = len(ndif.jobs_done)
    directions = torch.randn(5, 32, generator=torch.Generator().manual_seed(2))
    here, there = (direction_logits(pair.base, directions) for pair in (tiny_pair, ndif_tiny_pair))
    torch.testing.assert_close(there, here, rtol=1e-5, atol=1e-5)
    how = {"vocabulary": 42, "tokens": 3, "together": 2}
    here, there = (direction_tokens(pair.distilled, directions, **how) for pair in (tiny_pair, ndif_tiny_pair))
    for ours, theirs in zip(here, there, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)
    assert len(ndif.jobs_done) - before == 2 * jobs


def test_the_tokens_at_either_end(tiny_pair: ModelPair) -> None:
    directions = torch.randn(5, 32, generator=torch.Generator().manual_seed(2))
    logits = direction_logits(tiny_pair.base, directions)[:, :42]
    up, promoted, down, suppressed = direction_tokens(tiny_pair.base, directions, vocabulary=42, tokens=3, together=2)
    order = logits.argsort(dim=1, descending=True)
    assert torch.equal(promoted, order[:, :3])
    assert torch.equal(suppressed, order.flip(1)[:, :3])
    torch.testing.assert_close(up, logits.gather(1, promoted))
    torch.testing.assert_close(down, logits.gather(1, suppressed))
