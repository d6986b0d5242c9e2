import math

import pytest
import torch
from torch import Tensor

from toolkit.harvest.masks import TokenMask
from toolkit.harvest.tokens import TokenBatch

# 9 is special; the second row is padded.
BATCH = TokenBatch(
    torch.tensor([[9, 1, 2, 9, 3], [1, 9, 4, 0, 0]]),
    torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
)


def make(special: frozenset[int] = frozenset({9}), *, keep_position_0: bool = False, factor: float = 10.0) -> TokenMask:
    return TokenMask(special_ids=special, keep_position_0=keep_position_0, outlier_factor=factor)


def of_norms(*norms: list[float]) -> Tensor:
    """Activations [token, stream, 4] whose norms are these."""
    return torch.tensor(norms)[..., None] * torch.tensor([0.5, 0.5, 0.5, 0.5])


def test_position_0_special_ids_and_padding_are_left_out():
    assert make().tokens(BATCH).tolist() == [[False, True, True, False, True], [False, False, True, False, False]]


def test_each_exclusion_can_be_turned_off():
    everything = make(frozenset(), keep_position_0=True)
    assert torch.equal(everything.tokens(BATCH), BATCH.attention_mask.bool())
    assert make(keep_position_0=True).tokens(BATCH)[:, 0].tolist() == [False, True]


def test_every_token_is_counted_under_one_reason(select):
    mask = make()
    residual = torch.ones(2, 5, 2, 4)
    residual[0, 4, 1] *= 11  # an outlier in the second stream
    residual[0, 0] *= 500  # the sink at position 0, left out as such
    residual[1, 4] *= math.nan  # padding: no matter what
    selected = select(mask, BATCH, residual)
    assert selected.tolist() == [[False, True, True, False, False], [False, False, True, False, False]]
    assert +mask.counts == {"padding": 2, "position_0": 2, "special": 2, "outlier_norm": 1, "kept": 3}
    assert mask.counts.total() == BATCH.input_ids.numel()


def test_an_outlier_in_any_stream_is_dropped_and_the_factor_is_the_limit():
    keep = make().norms(of_norms([1, 2], [1, 2], [1, 2], [10, 20], [10.01, 2], [1, 20.02]))
    assert keep.tolist() == [True, True, True, True, False, False]


def test_the_yardstick_is_the_median_of_the_last_batches():
    mask = make(factor=2.0)
    for _ in range(64):
        assert mask.norms(of_norms([1.0], [1.0])).all()
    assert not mask.norms(of_norms([5.0], [5.0])).any()  # a batch of outliers does not excuse itself
    for _ in range(64):
        mask.norms(of_norms([5.0], [5.0]))
    assert mask.norms(of_norms([5.0], [5.0])).all()  # the level has changed for good


def test_infinity_turns_the_filter_off():
    assert make(factor=math.inf).norms(of_norms([1.0], [1.0], [1e30])).all()


def test_a_nan_passes_and_does_not_blind_the_filter():
    mask = make()
    keep = mask.norms(of_norms([1.0], [1.0], [math.nan], [1.0], [50.0]))
    assert keep.tolist() == [True, True, True, True, False]
    assert mask.norms(of_norms([1.0], [50.0], [1.0])).tolist() == [True, False, True]


def test_a_batch_without_ordinary_tokens_selects_none(select):
    mask = make(frozenset(range(10)))
    assert not select(mask, BATCH, torch.ones(2, 5, 2, 4)).any()
    assert mask.counts["kept"] == 0


def test_counts_and_yardstick_go_on_from_a_saved_state():
    mask, resumed = make(factor=2.0), make(factor=2.0)
    mask.norms(of_norms([1.0], [1.0], [9.0]))
    resumed.load_state_dict(mask.state_dict())
    later = of_norms([2.1], [2.1], [1.9])
    assert resumed.norms(later).tolist() == mask.norms(later).tolist() != make(factor=2.0).norms(later).tolist()
    assert resumed.counts == mask.counts


@pytest.mark.parametrize("factor", [1.0, 0.0, -3.0, math.nan])
def test_a_factor_that_would_drop_ordinary_tokens_is_refused(factor):
    with pytest.raises(ValueError, match=r"--outlier-factor .* must be above 1"):
        make(factor=factor)
