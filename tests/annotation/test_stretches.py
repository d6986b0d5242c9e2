import pytest
import torch

from toolkit.annotation.stretches import LONGEST, Stretches, parts_of
from toolkit.harvest.tokens import TokenBatch
from toolkit.latents.windows import NO_TOKEN

LENGTHS = (1, 31, 32, 33, 64, 100, 7)


@pytest.fixture
def batch() -> TokenBatch:
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.arange(mask.numel()).view(mask.shape)
    return TokenBatch(ids * mask, mask)


def cut(batch: TokenBatch) -> tuple[Stretches, torch.Tensor]:
    """Codes are the ids themselves, and their negatives; every third token does not count."""
    selected = batch.attention_mask.bool() & (batch.input_ids % 3 != 0)
    ids = batch.input_ids[selected].float()
    parts = torch.zeros_like(batch.input_ids)
    parts[:, 40:] = 2
    return Stretches.cut(batch, parts, selected, torch.stack([ids, -ids], dim=1), first_document=10), selected


def test_stretches_of_a_document_follow_each_other_and_are_of_like_length(batch):
    stretches, _ = cut(batch)
    for row, length in enumerate(LENGTHS):
        own = stretches.token_ids[stretches.document == 10 + row]
        lengths = [int((ids != NO_TOKEN).sum()) for ids in own]
        assert torch.equal(own[own != NO_TOKEN].long(), batch.input_ids[row, :length])
        assert max(lengths) - min(lengths) <= 1
        assert max(lengths) <= LONGEST
        assert len(lengths) == -(-length // LONGEST)
        assert all((ids[:n] != NO_TOKEN).all() for ids, n in zip(own, lengths, strict=True))


def test_codes_stand_at_their_tokens_and_are_zero_where_tokens_do_not_count(batch):
    stretches, _ = cut(batch)
    ids = stretches.token_ids
    counts = (ids != NO_TOKEN) & (ids % 3 != 0)
    assert torch.equal(stretches.codes[..., 0], torch.where(counts, ids, 0).float())
    assert torch.equal(stretches.largest[:, 0], torch.where(counts, ids, 0).amax(dim=1).float())
    kept = stretches.restricted(stretches.document > 12)
    assert kept.document.tolist() == [13, 13, 14, 14, 15, 15, 15, 15, 16]
    assert torch.equal(kept.codes, stretches.codes[-9:])


def test_a_stretch_knows_the_parts_that_it_has_tokens_of(batch):
    stretches, _ = cut(batch)
    of = {document: stretches.parts[stretches.document == document].tolist() for document in (12, 14, 15)}
    assert of == {12: [1], 14: [1, 5], 15: [1, 5, 4, 4]}


def test_parts_are_question_thinking_and_answer_and_a_fourth_without_marks():
    pieces = ["a", "<think>", "b", "</think>", "c"]
    ids = torch.tensor([[0, 1, 2, 3, 4], [0, 1, 2, 4, 4]])
    assert parts_of(TokenBatch(ids, torch.ones_like(ids)), pieces).tolist() == [[0, 0, 1, 2, 2], [3] * 5]
