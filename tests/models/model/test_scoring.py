import pytest
import torch
from transformers import AutoModelForCausalLM

from toolkit.models.model import scoring
from toolkit.models.model.scoring import row_losses

ROWS = [[40, 1, 2, 3, 4], [40, 7], [40, 5, 6, 7, 8, 9, 10, 11], [40], [40, 30, 31]]


@pytest.mark.parametrize("batch_tokens", [8, 17, 8192])
def test_the_models_own_loss_whatever_the_batches(tiny_pair, folders, monkeypatch, batch_tokens):
    monkeypatch.setattr(scoring, "BATCH_TOKENS", batch_tokens)
    model = AutoModelForCausalLM.from_pretrained(folders[0])
    expected = []
    for row in ROWS:
        ids = torch.tensor([row])
        with torch.no_grad():
            expected.append(float(model(ids, labels=ids).loss) * (len(row) - 1) if len(row) > 1 else 0.0)
    torch.testing.assert_close(row_losses(tiny_pair.base, ROWS), torch.tensor(expected).double(), rtol=1e-5, atol=1e-5)


def test_a_row_beyond_the_context_and_an_id_without_embedding(tiny_pair):
    with pytest.raises(ValueError, match="a text of 65 tokens exceeds the model's context of 64"):
        row_losses(tiny_pair.base, [[1] * 65])
    with pytest.raises(ValueError, match="token id 50 is out of range: the model has 50 embeddings"):
        row_losses(tiny_pair.base, [[1, 50]])


def test_on_ndif_the_losses_are_the_same(tiny_pair, ndif_tiny_pair):
    torch.testing.assert_close(
        row_losses(ndif_tiny_pair.base, ROWS), row_losses(tiny_pair.base, ROWS), rtol=1e-6, atol=1e-6
    )
