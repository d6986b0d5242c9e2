"""Kinds of predicted tokens, on texts written by hand."""

import pytest
import torch

from toolkit.stitching.position_kinds import KINDS, kinds_of

PIECES = ["<pad>", "Q", "<think>", "x", " Wait", "</think>", "A", "<th", "ink>", "</th", "ink>\n"]
WAIT = [4]
P, T, H, A, X = (KINDS.index(kind) for kind in ("prompt", "thinking", "hesitation", "answer", "other text"))


@pytest.mark.parametrize(
    ("tokens", "kinds"),
    [
        ([1, 4, 2, 3, 4, 3, 5, 4, 6], [P, P, P, T, H, T, A, A, A]),  # the word counts inside the thinking alone
        ([1, 7, 8, 4, 9, 10, 6], [P, P, P, H, A, A, A]),  # marks of several tokens
        ([1, 2, 3, 4, 3], [P, P, T, H, T]),  # a thought that the row's end cut off
        ([1, 4, 3, 6], [X, X, X, X]),
        ([1, 3, 5, 6], [X, X, X, X]),  # a mark that closes what was never opened
        ([2, 5, 6], [P, A, A]),
        ([1, 2], [P, P]),
    ],
)
def test_a_token_is_of_the_part_that_it_stands_in(tokens: list[int], kinds: list[int]) -> None:
    assert kinds_of(torch.tensor([tokens]), PIECES, WAIT).tolist() == [kinds]


def test_padding_and_other_rows_change_no_kind() -> None:
    rows = torch.tensor([[1, 2, 3, 4, 5, 6], [1, 2, 4, 0, 0, 0]])
    found = kinds_of(rows, PIECES, WAIT)
    assert found[0].tolist() == [P, P, T, H, A, A]
    assert found[1, :3].tolist() == [P, P, H]
