import itertools

import pytest
import torch

from toolkit.models.text.rows import by_length, first_tokens, padded, unpadded


@pytest.mark.parametrize("shortest_first", [False, True])
def test_rows_of_like_length_share_batches_of_at_most_so_many_tokens(shortest_first):
    lengths = torch.randint(1, 20, (50,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = by_length(lengths, 40, shortest_first=shortest_first)
    order = [place for batch in batches for place in batch]
    assert order == sorted(range(50), key=lambda place: lengths[place], reverse=not shortest_first)
    assert all(len(batch) * max(lengths[place] for place in batch) <= 40 for batch in batches)
    for batch, following in itertools.pairwise(batches):
        more = [*batch, following[0]]
        assert len(more) * max(lengths[place] for place in more) > 40, "it would have had room"


def test_a_row_longer_than_a_batch_is_alone():
    assert by_length([3, 9, 2], 4) == [[1], [0], [2]]
    assert by_length([], 4) == []


@pytest.mark.parametrize("left", [False, True])
def test_padding_stands_beside_each_row_and_the_mask_says_where(left):
    rows = [[1, 2, 3], torch.tensor([4]), []]
    ids, mask = padded(rows, 9, left=left)
    assert mask.sum(dim=1).tolist() == [3, 1, 0]
    assert [ids[row][mask[row].bool()].tolist() for row in range(3)] == [[1, 2, 3], [4], []]
    assert (ids[mask == 0] == 9).all()
    assert mask[1].tolist() == ([0, 0, 1] if left else [1, 0, 0])


@pytest.mark.parametrize("left", [False, True])
def test_the_first_token_of_a_row_stands_behind_the_padding(left):
    _, mask = padded([[1, 2, 3], [4], [5, 6], []], left=left)
    assert first_tokens(mask).nonzero().tolist() == ([[0, 0], [1, 2], [2, 1]] if left else [[0, 0], [1, 0], [2, 0]])


def test_a_mask_hides_nothing_where_all_padding_stands_on_the_right():
    right, left = (padded([[1, 2, 3], [4]], left=left)[1] for left in (False, True))
    assert unpadded(right).all()
    assert torch.equal(unpadded(left), left)
    assert unpadded(torch.ones(2, 3, dtype=torch.long)).all()
    between = torch.tensor([[1, 0, 1]])
    assert torch.equal(unpadded(between), between)
