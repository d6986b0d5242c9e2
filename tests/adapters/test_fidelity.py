"""How far a mode lies from the distilled model, against the definitions."""

from pathlib import Path

import pytest
import torch

from toolkit.adapters import fidelity as module
from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.fidelity import divergences_by_mode, fidelity, firings
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.harvest.tokens import TokenBatch

IDS = torch.tensor([[40, 3, 7, 1, 9, 2], [40, 5, 5, 6, 41, 41], [40, 41, 41, 41, 41, 41]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0]])


@pytest.fixture
def adapted(folders: tuple[Path, Path]) -> AdaptedModel:
    chance = torch.Generator().manual_seed(2)
    adapter = Adapter.initialised(AdapterConfig(d_model=32, n_layers=4, n_latents=24), chance)
    for each in adapter.transcoders:
        each.W_dec.data.copy_(torch.randn(each.W_dec.shape, generator=chance) / 10)
    return AdaptedModel.from_pretrained(base=str(folders[0]), distilled=str(folders[1]), adapter=adapter)


@pytest.mark.parametrize("largest", [100, 2**25])
def test_fidelity_is_that_of_each_document_alone(
    adapted: AdaptedModel, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_LOGITS", largest)
    found = fidelity(adapted, [TokenBatch(IDS[:1], MASK[:1]), TokenBatch(IDS[1:], MASK[1:])])
    assert found.predictions.tolist() == [5, 3]  # the document of one token has nothing to predict
    for row, length in enumerate((6, 4)):
        ids, mask = IDS[row : row + 1, :length], MASK[row : row + 1, :length]
        p, q = (model.logits(ids, mask)[0, :-1].log_softmax(-1) for model in (adapted.distilled, adapted.adapter))
        torch.testing.assert_close(found.kl[row], (p.exp() * (p - q)).sum().cpu())
        stream, reference = (
            model.residual(ids, mask, layers=range(1, 4)) for model in (adapted.adapter, adapted.distilled)
        )
        for layer in range(3):
            error = (stream[layer] - reference[layer])[0].square().sum(dim=-1)
            size = reference[layer][0].square().sum(dim=-1)
            torch.testing.assert_close(found.nmse[row, layer], (error.sum() / size.sum()).cpu())
            torch.testing.assert_close(found.nmse_without_sink[row, layer], (error / size)[1:].mean().cpu())


def test_the_distilled_model_is_like_itself(adapted: AdaptedModel) -> None:
    found = fidelity(adapted, [TokenBatch(IDS, MASK)], modes.distilled(4))
    assert found.kl.abs().max() < 1e-5
    assert not found.nmse.any()


def test_divergences_of_several_modes_are_those_of_each(adapted: AdaptedModel) -> None:
    batches = [TokenBatch(IDS[:1], MASK[:1]), TokenBatch(IDS[1:], MASK[1:])]
    chosen = [modes.distilled(4), modes.adapter(4), modes.replaced(4, [2, 3]), modes.replaced(4, [1]), modes.hybrid(4)]
    found = divergences_by_mode(adapted, batches, chosen)
    assert not found[0].any()
    for kl, mode in zip(found[1:], chosen[1:], strict=True):
        torch.testing.assert_close(kl, fidelity(adapted, batches, mode).kl)
        assert kl.min() > 0


def test_firings_are_counted_at_real_tokens_by_document_and_by_latent(adapted: AdaptedModel) -> None:
    found = firings(adapted, [TokenBatch(IDS, MASK)])
    assert found.tokens.tolist() == [6, 4, 1]
    inputs = adapted.mlp_inputs(IDS, MASK)
    for layer, x in enumerate(inputs):
        fires = adapted.transcoders[layer].encode(x)[MASK.bool()] > 0
        assert found.by_latent[layer].tolist() == fires.sum(dim=0).tolist()
        assert int(found.by_document[:, layer].sum()) == int(fires.sum())
