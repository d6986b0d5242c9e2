"""Edits: a function, its operands and its positions."""

from dataclasses import replace

import pytest
import torch

from toolkit.models.model.edits import Edit


def test_an_edit_leaves_the_positions_it_does_not_name():
    residual = torch.zeros(2, 3, 4, dtype=torch.bfloat16)
    where = torch.tensor([[False, True, False], [True, False, True]])
    edited = Edit(layer=0, function=torch.add, operands=(torch.ones(1, 1, 4),), positions=where)(residual)
    assert edited.dtype == torch.bfloat16
    assert edited[..., 0].tolist() == [[0, 1, 0], [1, 0, 1]]
    assert not residual.any()


def test_its_layer_may_be_any_whole_number():
    assert type(Edit(layer=torch.tensor(0), function=torch.clone).layer) is int
    with pytest.raises(ValueError, match="layer True is not a whole number"):
        Edit(layer=True, function=torch.clone)


def test_rows_take_their_own_operands_and_positions_along():
    values = torch.arange(3.0)[:, None, None].expand(3, 1, 2)
    where = torch.eye(3, dtype=torch.bool)
    edit = Edit(layer=0, function=torch.add, operands=(values, torch.zeros(1, 1, 2)), positions=where)
    two = Edit(layer=0, function=lambda r, a, b: r + a + b, operands=edit.operands, positions=where)
    chosen = torch.tensor([2, 0])
    residual = torch.zeros(3, 3, 2)
    tokens = replace(two, function=lambda r, a: r + a, operands=(torch.arange(6.0).view(3, 2),))
    torch.testing.assert_close(tokens.rows(chosen)(residual[chosen]), tokens(residual)[chosen])
    assert tokens(residual)[torch.eye(3, dtype=torch.bool)].flatten().tolist() == list(range(6))
    torch.testing.assert_close(two.rows(chosen)(residual[chosen]), two(residual)[chosen])
