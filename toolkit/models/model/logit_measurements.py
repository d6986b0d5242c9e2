"""Measures a model's logits under several edits: in one call on this machine, on NDIF in several small jobs."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int, Shaped
from torch import Tensor
from transformers import Cache

from toolkit.models.model.edits import Change, Edit, Edits, PlainEdit
from toolkit.models.model.logit_statistics import Reduction, kept
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.ndif.expected_answers import Asked, Job
from toolkit.models.places.ndif.server_side import measured
from toolkit.models.places.place import stretches
from toolkit.tracking import track


def measure(
    model: TracedModel,
    input_ids: Int[Tensor, "row position"],
    attention_mask: Int[Tensor, "row position"],
    edits: Sequence[Change | None],
    function: Reduction,
    operands: tuple[Shaped[Tensor, "row ..."], ...] = (),
    *,
    last: int = 0,
    unchanged: int = 0,
) -> Shaped[Tensor, "edit row ..."]:
    """Run the model under each of `edits` (None: without an edit) and return what `function` computes of the logits.

    `function` sees the logits [row, asked, vocab] of the first edit, those of one edit, and `operands`; it runs where
    the model does, so take it from `logit_statistics`. `last` is as in `TracedModel.logits`. No edit may
    change anything before position `unchanged`: on this machine that part is computed once for all edits. So are, for
    all, the layers before an edit's first, if the first of `edits` is None.
    Raises `ValueError` for an edit of a layer outside [0, n_layers), or of another width.
    """
    model.check_loaded(whole=True)
    made = [edit.of_text(input_ids, attention_mask) if edit else None for edit in edits]
    for edit in made:
        if edit is not None:
            model.check_edit(edit)
    each_row, dtype = kept(function, min(last, input_ids.shape[1]) or input_ids.shape[1], operands)
    past = _shared_past(model, input_ids[:, :unchanged], attention_mask[:, :unchanged])
    before = 0 if past is None else unchanged

    def job(part: Part) -> Job:
        rows = part.rows
        inputs = model.inputs(input_ids[rows, before:], attention_mask[rows], past) | {"logits_to_keep": last}
        plain = [_plain(made[number], rows, before) for number in part.edits.tolist()]
        # Other processes, which hold parts of split layers, are sent a list.
        counted = track(plain, "edits", "edits") if model.place.keeps_caches else plain
        asked = Asked((len(plain), len(rows), *each_row), (dtype,))
        kept = _first_layers(plain) if past is None else []
        return Job((inputs, counted, kept, function, tuple(each[rows] for each in operands)), asked)

    cut = parts(made, (input_ids, attention_mask, *operands), model.place.job_bytes)
    found = model.run_each(measured, map(job, cut))
    return joined(cut, list(found if len(cut) == 1 else track(found, "jobs", "jobs", total=len(cut))))


def _first_layers(edits: Sequence[list[PlainEdit]]) -> list[int]:
    """Return the layers, but for layer 0, at which edits begin, where the first pass has none."""
    begin = {min(edit[0] for edit in each) for each in edits if each}
    return [] if edits[0] else sorted(begin - {0})


def _plain(edit: Edit | Edits | None, rows: Tensor, before: int) -> list[PlainEdit]:
    if edit is None:
        return []
    of_rows = edit.rows(rows)
    return (of_rows.after(before) if before else of_rows).plain()


def _shared_past(model: TracedModel, input_ids: Tensor, attention_mask: Tensor) -> Cache | None:
    """Return a cache of these tokens; None if there are none, or if the cache cannot serve several continuations."""
    if not input_ids.shape[1] or not model.place.keeps_caches:
        return None
    past = model.empty_cache()
    if any(past.is_sliding):  # a sliding window drops what is needed to take tokens back
        return None
    model.logits(input_ids, attention_mask, last=1, past=past)
    return past


class Part(NamedTuple):
    """The edits (always with the first) and rows that one job measures, by index."""

    edits: Int[Tensor, " edit"]
    rows: Int[Tensor, " row"]


def parts(
    edits: Sequence[Edit | Edits | None], per_row: Sequence[Shaped[Tensor, "_ ..."]], limit: int | None
) -> list[Part]:
    """Return parts of at most `limit` bytes each: with fewer rows, or with fewer edits where one row is too large.

    `per_row` are the tensors that go along with every edit of a row.
    """
    n_rows, row_bytes = len(per_row[0]), sum(tensor[0].nbytes for tensor in per_row)
    sizes = torch.zeros(len(edits), n_rows, dtype=torch.long)
    for of_edit, edit in zip(sizes, edits, strict=True):
        of_edit += edit.row_bytes(n_rows) if edit else 0
    numbers, found = torch.arange(len(edits)), []
    for some in stretches((sizes.sum(dim=0) + row_bytes).tolist(), limit):
        rows = torch.arange(n_rows)[some]
        first, *others = sizes[:, rows].sum(dim=1).tolist()
        further = stretches(others, None if limit is None else limit - first - row_bytes * len(rows))
        found += [Part(torch.cat([numbers[:1], numbers[1:][each]]), rows) for each in further]
    return found


def joined(cut: Sequence[Part], values: Sequence[Shaped[Tensor, "_ _ ..."]]) -> Shaped[Tensor, "edit row ..."]:
    """Join the values of the parts to those of one part with all edits and rows."""
    n_edits, n_rows = (1 + max(int(numbers.max()) for numbers in each) for each in zip(*cut, strict=True))
    whole = values[0].new_empty(n_edits, n_rows, *values[0].shape[2:])
    for part, of_part in zip(cut, values, strict=True):
        whole[part.edits[:, None], part.rows] = of_part
    return whole
