"""Generation, a traced pass a token: batched, under an edit, with the same chance in every arm of an experiment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache, GenerationConfig

from toolkit.arguments import as_indices
from toolkit.models.model.edits import Edit
from toolkit.models.model.sampling import Sampling
from toolkit.models.places.ndif.expected_answers import Asked, Job
from toolkit.models.places.ndif.server_side import scores
from toolkit.models.places.ndif.uploads import UPLOAD, stretches
from toolkit.models.text.inputs import check_context
from toolkit.models.text.rows import padded
from toolkit.tracking import track


@dataclass(frozen=True, eq=False)
class Step:
    """One pass of a generation: the tokens that are read now, for the rows that are not finished."""

    input_ids: Int[Tensor, "live position"]
    attention_mask: Int[Tensor, "live past_and_position"]
    rows: Int[Tensor, " live"]
    """Numbers of these rows in the batch that began."""
    kept: Int[Tensor, " live"]
    """Where these rows stood in the step before."""

    def after(self, tokens: Int[Tensor, " live"], going_on: Int[Tensor, " kept"]) -> "Step":
        """The step that reads `tokens`, for the rows that go on."""
        mask = self.attention_mask[going_on]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        return Step(tokens[going_on, None], mask, self.rows[going_on], going_on)


EditSource = Edit | Callable[[Step], Edit]
"""An edit for all steps, or what makes one at each step: a latent's value depends on what was read."""


def continue_rows(
    logits: Callable[..., Float[Tensor, "live 1 vocab"]],
    prompts: Sequence[Sequence[int]],
    cache: Cache,
    *,
    end_ids: Int[Tensor, " end"],
    edit: EditSource | None,
    sampling: Sampling,
) -> list[list[int]]:
    """Continue each prompt, up to and with one of `end_ids`; `logits` is a model's, `cache` an empty one of it.

    Rows leave the batch once they are finished, so that long answers cost only themselves.
    Raises `ValueError` for an edit of chosen positions (those of a text that is yet to be written have no number), and
    for seeds that are not one a prompt.
    """
    step, seeds = _first_step(prompts), _seeds(prompts, edit, sampling)
    generators = {seed: torch.Generator().manual_seed(seed) for seed in seeds.tolist()}
    answers: list[list[int]] = [[] for _ in prompts]
    for number in track(range(int(sampling.new_tokens)), "tokens", "tokens"):
        now = edit.rows(step.rows) if isinstance(edit, Edit) else edit and edit(step)
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
    edit: EditSource | None,
    sampling: Sampling,
    vocab_size: int,
) -> list[Job]:
    """What `server_side.generated` needs beside the model, for the answers of `continue_rows`, job by job.

    Raises `ValueError` as that does, and for an edit that is made anew at each step.
    """
    if not isinstance(edit, Edit | None):
        raise ValueError(
            "an edit that is made anew at each step, such as SetLatent, reads both models while one generates, which is"
            " a job of its own on NDIF and with split layers: load the pair without remote and tensor_parallel, or"
            " steer with an edit that stays the same"
        )
    seeds = _seeds(prompts, edit, sampling)
    # The checkpoint's own settings may draw tokens or punish repetition: whatever is named here overrules them.
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
    sizes = edit.row_bytes(len(prompts)).tolist() if edit else [0] * len(prompts)
    jobs = []
    for some in stretches(sizes, UPLOAD):
        step = _first_step(prompts[some])
        inputs = {"input_ids": step.input_ids, "attention_mask": step.attention_mask, "generation_config": config}
        plain = edit and edit.rows(torch.arange(len(prompts))[some]).plain()
        steps = range(1, int(sampling.new_tokens) + 1)
        asked = Asked((len(step.input_ids), steps), (torch.int64,), below=vocab_size)
        jobs.append(Job((inputs, plain, *how, seeds[some], end_ids), asked))
    return jobs


def until_end(written: Int[Tensor, "row step"], end_ids: Int[Tensor, " end"]) -> list[list[int]]:
    """Each row up to and with the first of `end_ids`."""
    ends = torch.isin(written, end_ids).long()
    lengths = torch.where(ends.any(dim=1), ends.argmax(dim=1) + 1, written.shape[1])
    return [row[:length] for row, length in zip(written.tolist(), lengths.tolist(), strict=True)]


def _seeds(prompts: Sequence[Sequence[int]], edit: EditSource | None, sampling: Sampling) -> Int[Tensor, " prompt"]:
    """The seed of each prompt; raises `ValueError` for what `continue_rows` refuses."""
    seeds = as_indices(sampling.seeds, "seed")
    if len(seeds) not in (0, len(prompts)):
        raise ValueError(f"{len(seeds)} seeds for {len(prompts)} prompts: give one a prompt, or none")
    if isinstance(edit, Edit) and edit.positions is not None:
        raise ValueError("an edit of chosen positions cannot steer a generation: give one that applies everywhere")
    return torch.tensor(seeds or range(len(prompts)))


def _first_step(prompts: Sequence[Sequence[int]]) -> Step:
    """The step that reads the prompts, padded on the left."""
    ids, mask = padded(prompts, left=True)
    rows = torch.arange(len(prompts))
    return Step(ids, mask, rows, rows)
