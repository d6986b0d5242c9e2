"""A generation as jobs, for places that keep no cache of keys and values between two calls."""

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import GenerationConfig

from toolkit.models.model.edits import Edit
from toolkit.models.model.generation_request import Request
from toolkit.models.places.ndif.expected_answers import Asked, Job
from toolkit.models.places.place import stretches


def jobs_of(request: Request, *, rows: int, vocab_size: int, job_bytes: int | None = None) -> list[Job]:
    """Return the arguments of `server_side.generated`, job by job, for the answers that `write_each` gives.

    A job has at most `rows` rows, and at most `job_bytes` of edits, or one row.
    Raises `ValueError` for an edit that is made anew at each step.
    """
    if request.edit is not None and not all(isinstance(part, Edit) for part in request.edit.parts):
        raise ValueError(
            "an edit that is made anew at each step, such as SetLatent or Stitch, reads another model while one"
            " generates, which is a job of its own on NDIF and with split layers: load the models without remote and"
            " tensor_parallel, or steer with an edit that stays the same"
        )
    numbers = torch.arange(len(request.prompts))
    # Such an edit is the same for all texts.
    whole = request.edit.of_text(*request.first_inputs(numbers[:1])) if request.edit else None
    sizes = whole.row_bytes(len(numbers)).tolist() if whole else [0] * len(numbers)
    return [
        _job(request, part[some], vocab_size)
        for part in numbers.split(rows)
        for some in stretches([sizes[number] for number in part.tolist()], job_bytes)
    ]


def until_end(written: Int[Tensor, "row step"], end_ids: Int[Tensor, " end"]) -> list[list[int]]:
    """Return each row up to and including the first of `end_ids`."""
    ends = torch.isin(written, end_ids).long()
    lengths = torch.where(ends.any(dim=1), ends.argmax(dim=1) + 1, written.shape[1])
    return [row[:length] for row, length in zip(written.tolist(), lengths.tolist(), strict=True)]


def _job(request: Request, rows: Int[Tensor, " row"], vocab_size: int) -> Job:
    sampling, end_ids = request.sampling, request.end_ids
    # The checkpoint's own settings may draw tokens or penalise repetition: what is named here overrides them.
    config = GenerationConfig(
        max_new_tokens=sampling.new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=end_ids.tolist(),
        pad_token_id=0,
    )
    ids, mask = request.first_inputs(rows)
    inputs = {"input_ids": ids, "attention_mask": mask, "generation_config": config}
    edit = request.edit.of_text(ids, mask).rows(rows) if request.edit else None
    first = request.first_edit(edit, rows, ids.shape[1])
    plain = [each.plain() if each else [] for each in (first, edit)]
    seeds, drawn = request.seeds[rows], request.n_begun[rows]
    asked = Asked((len(rows), range(1, int(sampling.new_tokens) + 1)), (torch.int64,), below=vocab_size)
    return Job((inputs, *plain, int(sampling.new_tokens), sampling.drawing, seeds, drawn, end_ids), asked)
