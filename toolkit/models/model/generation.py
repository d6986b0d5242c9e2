"""Generates text in batches, under an edit if one is given, with one traced pass for each token."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache, GenerationConfig

from toolkit.arguments import as_indices
from toolkit.models.model.edits import Change, Edit, Step
from toolkit.models.model.sampling import Sampling
from toolkit.models.places.ndif.expected_answers import Asked, Job
from toolkit.models.places.ndif.server_side import scores
from toolkit.models.places.place import stretches
from toolkit.models.text.inputs import check_context
from toolkit.models.text.rows import padded
from toolkit.tracking import track


def continue_rows(
    logits: Callable[..., Float[Tensor, "live 1 vocab"]],
    prompts: Sequence[Sequence[int]],
    cache: Cache,
    *,
    end_ids: Int[Tensor, " end"],
    edit: Change | None,
    sampling: Sampling,
) -> list[list[int]]:
    """Continue each prompt up to and including one of `end_ids`; `logits` and the empty `cache` are one model's.

    Rows leave the batch once they are finished, so that long answers cost only themselves.
    Raises `ValueError` for an edit with `positions`, since generated text has none yet, and for another number of seeds
    than of prompts.
    """
    step, seeds = _first_step(prompts), _seeds(prompts, edit, sampling)
    generators = {seed: torch.Generator().manual_seed(seed) for seed in seeds.tolist()}
    answers: list[list[int]] = [[] for _ in prompts]
    for number in track(range(int(sampling.new_tokens)), "tokens", "tokens"):
        now = edit and edit.at(step)
        if number == 0 and not sampling.edit_prompt:
            now = None
        here = logits(step.input_ids, step.attention_mask, edit=now, last=1, past=cache)[:, -1]
        tokens = scores(here, sampling.drawing, generators, seeds[step.rows]).argmax(dim=-1).cpu()
        for row, token in zip(step.rows.tolist(), tokens.tolist(), strict=True):
            answers[row].append(token)
        going_on = (~torch.isin(tokens, end_ids)).nonzero()[:, 0]
        if len(going_on) == 0:
            break
        if len(going_on) < len(tokens):
            cache.batch_select_indices(going_on.to(here.device))
        step = step.after(tokens, going_on)
    return answers


def check_prompts(prompts: Sequence[Sequence[int]], sampling: Sampling, context: int) -> None:
    """Raise `ValueError` for a prompt that with the new tokens exceeds the model's context."""
    longest = max(map(len, prompts))
    check_context(
        longest + int(sampling.new_tokens),
        context,
        f"a prompt of {longest:,} tokens with {sampling.new_tokens:,} new ones",
        "shorten the prompt or ask for fewer new tokens",
    )


def jobs_of(
    prompts: Sequence[Sequence[int]],
    *,
    end_ids: Int[Tensor, " end"],
    edit: Change | None,
    sampling: Sampling,
    vocab_size: int,
    job_bytes: int | None = None,
) -> list[Job]:
    """Return the arguments of `server_side.generated`, job by job, for the answers that `continue_rows` gives.

    A job is given at most `job_bytes` of edits, or one row.
    Raises `ValueError` as `continue_rows` does, and for an edit that is made anew at each step.
    """
    if edit is not None and not all(isinstance(part, Edit) for part in edit.parts):
        raise ValueError(
            "an edit that is made anew at each step, such as SetLatent, reads both models while one generates, which is"
            " a job of its own on NDIF and with split layers: load the pair without remote and tensor_parallel, or"
            " steer with an edit that stays the same"
        )
    seeds = _seeds(prompts, edit, sampling)
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
    how = sampling.edit_prompt, int(sampling.new_tokens), sampling.drawing
    step = _first_step(prompts)
    whole = edit.of_text(step.input_ids, step.attention_mask) if edit else None
    sizes = whole.row_bytes(len(prompts)).tolist() if whole else [0] * len(prompts)
    jobs = []
    for some in stretches(sizes, job_bytes):
        step = _first_step(prompts[some])
        inputs = {"input_ids": step.input_ids, "attention_mask": step.attention_mask, "generation_config": config}
        plain = whole.rows(torch.arange(len(prompts))[some]).plain() if whole else []
        steps = range(1, int(sampling.new_tokens) + 1)
        asked = Asked((len(step.input_ids), steps), (torch.int64,), below=vocab_size)
        jobs.append(Job((inputs, plain, *how, seeds[some], end_ids), asked))
    return jobs


def until_end(written: Int[Tensor, "row step"], end_ids: Int[Tensor, " end"]) -> list[list[int]]:
    """Return each row up to and including the first of `end_ids`."""
    ends = torch.isin(written, end_ids).long()
    lengths = torch.where(ends.any(dim=1), ends.argmax(dim=1) + 1, written.shape[1])
    return [row[:length] for row, length in zip(written.tolist(), lengths.tolist(), strict=True)]


def _seeds(prompts: Sequence[Sequence[int]], edit: Change | None, sampling: Sampling) -> Int[Tensor, " prompt"]:
    """Return the seed of each prompt; raises `ValueError` as `continue_rows` does."""
    seeds = as_indices(sampling.seeds, "seed")
    if len(seeds) not in (0, len(prompts)):
        raise ValueError(f"{len(seeds)} seeds for {len(prompts)} prompts: give one for each prompt, or none")
    if any(isinstance(part, Edit) and part.positions is not None for part in (edit.parts if edit else ())):
        raise ValueError("an edit of chosen positions cannot steer a generation: give one that applies everywhere")
    first = int(sampling.seed)
    return torch.tensor(seeds or range(first, first + len(prompts)))


def _first_step(prompts: Sequence[Sequence[int]]) -> Step:
    """Return the step that reads the prompts, padded on the left."""
    ids, mask = padded(prompts, left=True)
    rows = torch.arange(len(prompts))
    return Step(ids, mask, rows, rows)
