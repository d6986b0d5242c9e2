import pytest
import torch

from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.latents.coded_batches import coded_batches, first_tokens

TEXTS = ["w1 w2 w3 w4 w5 w6", "w7 w8 w9", "w3 w1 w4 w1"]


@pytest.fixture
def batches(tiny_pair) -> list[TokenBatch]:
    """Two batches: two texts of unlike lengths, and one."""
    made = []
    for texts in (TEXTS[:2], TEXTS[2:]):
        encoding = tiny_pair.tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        made.append(TokenBatch(encoding["input_ids"], encoding["attention_mask"]))
    return made


@pytest.fixture
def mask() -> TokenMask:
    return TokenMask(special_ids=frozenset(), keep_position_0=False, outlier_factor=1000.0)


def test_codes_are_those_of_each_text_read_alone(tiny_pair, identity, batches, mask):
    coded = list(coded_batches(tiny_pair, identity, batches, mask))
    alone = [tiny_pair.read(text)[1:].to(identity.b_dec) for text in TEXTS]  # position 0 does not count
    for batch, read in zip(coded, (torch.cat(alone[:2]), alone[2]), strict=True):
        torch.testing.assert_close(batch.activations, read, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(batch.codes, identity.encode(read), rtol=1e-4, atol=1e-5)
        assert batch.selected.sum() == len(batch.codes)
    assert coded[0].selected.tolist() == [[False, *[True] * 5], [False, True, True, False, False, False]]
    assert torch.equal(coded[0].batch.input_ids, batches[0].input_ids)
    assert torch.equal(coded[0].batch.attention_mask, batches[0].attention_mask)


@pytest.mark.parametrize(("wanted", "n_batches"), [(1, 1), (7, 1), (8, 2), (100, 2)])
def test_whole_batches_are_read_until_there_are_enough(tiny_pair, identity, batches, mask, wanted, n_batches):
    assert len(list(first_tokens(coded_batches(tiny_pair, identity, batches, mask), wanted))) == n_batches
