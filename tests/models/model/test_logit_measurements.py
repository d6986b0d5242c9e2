"""What several jobs measure is what one pass measures, and each of them sends little."""

from collections.abc import Sequence

import pytest
import torch
from ndif_server import NdifServer
from torch import Tensor

from toolkit.models.model.edits import Edit
from toolkit.models.model.logit_measurements import joined, measure, parts
from toolkit.models.model.logit_statistics import divergence_and_loss, next_log_probability, target_at_end
from toolkit.models.pair import ModelPair
from toolkit.models.places.ndif.ndif import Ndif
from toolkit.models.places.ndif.server_side import replacement

Batch = tuple[Tensor, Tensor]


@pytest.fixture
def edits(batch: Batch) -> list[Edit | None]:
    """No edit, one at chosen positions, one of whole rows, one alike for all."""
    generator = torch.Generator().manual_seed(1)
    where = batch[1].bool() & (batch[0] % 2 == 0)
    of_tokens = torch.randn(int(where.sum()), 32, generator=generator)
    of_rows = torch.randn(3, 1, 32, generator=generator)
    return [
        None,
        Edit(layer=2, function=replacement, operands=(of_tokens,), positions=where),
        Edit(layer=1, function=torch.add, operands=(of_rows,)),
        Edit(layer=3, function=torch.add, operands=(of_rows[:1],)),
    ]


def bytes_of(edit: Edit | None) -> int:
    return 0 if edit is None else sum(operand.nbytes for operand in edit.operands if len(operand) > 1)


def test_an_edits_bytes_are_its_rows_together(batch: Batch, edits: Sequence[Edit | None]) -> None:
    for edit in edits[1:]:
        own = edit.row_bytes(3)
        lines = edit.positions.numel() if edit.positions is not None else 0
        assert own.sum() == bytes_of(edit) + lines
        for row in range(3):
            assert own[row] == bytes_of(edit.rows(torch.tensor([row, row]))) / 2 + lines / 3


@pytest.mark.parametrize(
    ("limit", "shapes"),
    [(None, [(4, 3)]), (10**6, [(4, 3)]), (2000, [(4, 2), (4, 1)]), (1, [(2, 1)] * 9)],
    ids=["no limit", "all", "rows", "edits too"],
)
def test_every_edit_meets_every_row_once_but_for_the_first(
    batch: Batch, edits: list[Edit | None], limit: int | None, shapes: list[tuple[int, int]]
) -> None:
    cut = parts(edits, batch, limit)
    assert [(len(part.edits), len(part.rows)) for part in cut] == shapes
    assert all(part.edits[0] == 0 for part in cut)
    grid = torch.arange(4)[:, None, None] * 10 + torch.arange(3)[:, None] + torch.tensor([0.0, 0.5])
    assert torch.equal(joined(cut, [grid[part.edits][:, part.rows] for part in cut]), grid)


@pytest.mark.parametrize("limit", [10**6, 2000, 1])
def test_on_ndif_several_jobs_measure_what_one_pass_does(
    tiny_pair: ModelPair,
    ndif_tiny_pair: ModelPair,
    ndif: NdifServer,
    batch: Batch,
    edits: list[Edit | None],
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
) -> None:
    monkeypatch.setattr(Ndif, "job_bytes", limit)
    predicts = batch[1][:, 1:].bool()
    for function, operands in (
        (divergence_and_loss, (batch[0], predicts)),
        (next_log_probability, (batch[0],)),
        (target_at_end, (batch[0][:, 3],)),
    ):
        before = len(ndif.jobs_done)
        here, there = (measure(pair.base, *batch, edits, function, operands) for pair in (tiny_pair, ndif_tiny_pair))
        torch.testing.assert_close(there, here, rtol=1e-5, atol=1e-5)
        assert len(ndif.jobs_done) - before == len(parts(edits, (*batch, *operands), limit))


def test_a_job_sends_about_as_much_as_it_may(
    ndif_tiny_pair: ModelPair, ndif: NdifServer, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ndif, "job_bytes", 40_000)
    ids, mask = (each.repeat(20, 1) for each in batch)
    values = torch.randn(int(mask.sum()), 32)
    edits = [Edit(layer=2, function=replacement, operands=(values + n,), positions=mask.bool()) for n in range(8)]
    before = len(ndif.payloads)
    measure(ndif_tiny_pair.base, ids, mask, edits, target_at_end, (ids[:, 0],), last=1)
    sent = [len(payload) for payload in ndif.payloads[before:]]
    assert len(sent) > 10
    assert max(sent) < 40_000 + 20_000  # the code comes on top
