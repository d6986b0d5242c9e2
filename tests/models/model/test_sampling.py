"""Settings of chance are taken as notebooks have them; top-k and top-p against transformers'."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import TopKLogitsWarper, TopPLogitsWarper

from toolkit.models.model.sampling import Sampling
from toolkit.models.pair import ModelPair
from toolkit.models.places.ndif.server_side import likeliest

PROMPTS = [[5, 9, 2, 31, 17, 8], [3], [12, 12, 30], [22, 1, 7, 19]]


@pytest.mark.parametrize("top_k", [0, 1, 3, 5, 99])
@pytest.mark.parametrize("top_p", [0.0, 0.3, 0.9, 1.0])
def test_top_k_and_top_p_keep_what_transformers_keeps(top_k: int, top_p: float) -> None:
    logits = torch.randn(7, 20, generator=torch.Generator().manual_seed(0))
    expected = TopKLogitsWarper(top_k)(None, logits) if top_k else logits
    expected = TopPLogitsWarper(top_p)(None, expected)
    torch.testing.assert_close(likeliest(logits, top_k, top_p), expected, rtol=0, atol=0)


def test_only_the_likeliest_are_drawn_and_meet_the_same_chance(tiny_pair: ModelPair) -> None:
    model, prompts = tiny_pair.distilled, PROMPTS[:1] * 64
    drawn, of_all = (
        model.generate_ids(prompts, sampling=Sampling(new_tokens=1, temperature=1.0, top_k=top_k)) for top_k in (20, 0)
    )
    best = set(model.logits(PROMPTS[:1], last=1)[0, 0].topk(20).indices.tolist())
    assert {token for row in drawn for token in row} <= best
    unchanged = [(row, other) for row, other in zip(drawn, of_all, strict=True) if other[0] in best]
    assert 0 < len(unchanged) < 64
    assert all(row == other for row, other in unchanged)


@pytest.mark.parametrize("only", [{"top_k": 1}, {"top_p": 0}, {"top_p": 1e-6}], ids=str)
def test_the_likeliest_alone_is_the_greedy_answer(tiny_pair: ModelPair, only: dict[str, Any]) -> None:
    warm = Sampling(new_tokens=6, temperature=2.0, **only)
    answers = tiny_pair.distilled.generate_ids(PROMPTS, sampling=warm)
    assert answers == tiny_pair.distilled.generate_ids(PROMPTS, sampling=Sampling(new_tokens=6))


@pytest.mark.parametrize("seeds", [[0, 5], range(0, 6, 5), torch.tensor([0, 5]), np.array([0, 5])], ids=repr)
def test_settings_come_as_notebooks_have_them(seeds: Any) -> None:
    given = Sampling(
        new_tokens=np.int64(7), temperature=torch.tensor(0.5), top_k=torch.tensor(4), top_p=np.float32(1), seeds=seeds
    )
    assert given == Sampling(new_tokens=7, temperature=0.5, top_k=4, top_p=1.0, seeds=(0, 5))
    assert Sampling(seeds=0).seeds == (0,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_p": 1.1}, r"top_p 1\.1: must be from 0"),
        ({"top_p": float("nan")}, "top_p nan: must be from 0"),
        ({"top_k": -1}, "top_k -1: must be 0"),
        ({"top_k": True}, "top_k True is not a whole number"),
        ({"new_tokens": True}, "new_tokens True is not a whole number"),
        ({"seeds": [0, -1]}, "seed -1: must be from 0"),
        ({"seeds": 2**63}, r"seed 9223372036854775808: must be from 0 to 2\^63 - 1"),
        ({"seeds": [0.5]}, r"seed 0\.5 is not a whole number"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**settings)
