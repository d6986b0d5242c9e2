"""What is sent to a server runs there without this project, and means what it means here."""

import io
from types import FunctionType

import pytest
import torch
from ndif_server import StrangerUnpickler
from nnsight.intervention.serialization import dumps

from toolkit.models.model import logit_statistics as reductions
from toolkit.models.places.ndif import server_side, wire

SHIPPED = [
    function
    for module in (server_side, reductions, wire)
    for function in vars(module).values()
    if isinstance(function, FunctionType) and hasattr(function, "__no_type_check__")
]
assert len(SHIPPED) > 10


@pytest.mark.parametrize("function", SHIPPED, ids=lambda function: function.__name__)
def test_a_server_without_this_project_can_read_it(function: FunctionType) -> None:
    read = StrangerUnpickler(io.BytesIO(dumps(function)), {}).load()
    assert read is not function
    assert set(read.__code__.co_names) == set(function.__code__.co_names)
    needed = {name for name in read.__code__.co_names if name in function.__globals__}
    assert needed <= read.__globals__.keys()
    assert not hasattr(function, "__wrapped__"), "a type checker would travel too"


def test_edits_everywhere_and_at_positions() -> None:
    residual = torch.arange(24.0).view(2, 3, 4).bfloat16()
    everywhere = server_side.edited(residual, (0, torch.add, (torch.ones(2, 1, 4),), None))
    assert everywhere.dtype == torch.bfloat16
    assert torch.equal(everywhere, residual + 1)
    where = torch.tensor([[False, True, False], [True, False, True]])
    by_token = torch.arange(3.0)[:, None].expand(3, 4)
    by_row = torch.tensor([10.0, 20.0])[:, None, None].expand(2, 1, 4)
    changed = server_side.edited(residual, (0, lambda x, a, b: x + a + b, (by_token, by_row), where))
    expected = residual.clone()
    for token, (row, position) in enumerate(where.nonzero().tolist()):
        expected[row, position] += token + 10 * (row + 1)
    assert torch.equal(changed, expected)
    replaced = server_side.edited(residual, (0, server_side.replacement, (torch.full((1, 4), 9.0),), where))
    assert (replaced[where] == 9).all()
    assert torch.equal(replaced[~where], residual[~where])
