"""Generation, a traced pass a token: batched, under an edit, with the same chance in every arm of an experiment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache

from toolkit.models.edits import Edit


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn."""

    new_tokens: int = 320
    """Tokens after which an unfinished answer is cut."""
    temperature: float = 0.0
    """0 takes the likeliest token; above, tokens are drawn from the softmax of logits / temperature."""
    seeds: tuple[int, ...] = ()
    """One a prompt: rows of one seed meet the same chance, whatever else is in the batch; default: the row's number."""
    edit_prompt: bool = False
    """Apply the edit at the prompt's positions too."""

    def __post_init__(self) -> None:
        if self.new_tokens < 1:
            raise ValueError(f"new_tokens {self.new_tokens}: must be at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature {self.temperature}: must be 0 (greedy) or above, .6 is usual for R1 models")


GREEDY = Sampling()


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
    if len(sampling.seeds) not in (0, len(prompts)):
        raise ValueError(f"{len(sampling.seeds)} seeds for {len(prompts)} prompts: give one a prompt, or none")
    if isinstance(edit, Edit) and edit.positions is not None:
        raise ValueError("an edit of chosen positions cannot steer a generation: give one that applies everywhere")
    step, chance = _first_step(prompts), _Chance(sampling, len(prompts))
    answers: list[list[int]] = [[] for _ in prompts]
    for number in range(sampling.new_tokens):
        now = edit.rows(step.rows) if isinstance(edit, Edit) else edit and edit(step)
        if number == 0 and not sampling.edit_prompt:
            now = None
        scores = logits(step.input_ids, step.attention_mask, edit=now, last=1, past=cache)[:, -1]
        tokens = chance.draw(scores, step.rows).cpu()
        for row, token in zip(step.rows.tolist(), tokens.tolist(), strict=True):
            answers[row].append(token)
        going_on = (~torch.isin(tokens, end_ids)).nonzero()[:, 0]
        if len(going_on) == 0:
            break
        if len(going_on) < len(tokens):
            cache.batch_select_indices(going_on.to(scores.device))
        step = step.after(tokens, going_on)
    return answers


def _first_step(prompts: Sequence[Sequence[int]]) -> Step:
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in prompts])
    mask = (torch.arange(longest) >= torch.tensor([longest - len(row) for row in prompts])[:, None]).long()
    rows = torch.arange(len(prompts))
    return Step(ids, mask, rows, rows)


class _Chance:
    """Draws tokens by the Gumbel-max rule: the noise depends on a row's seed and step alone, not on its batch."""

    def __init__(self, sampling: Sampling, n_rows: int) -> None:
        seeds = sampling.seeds or tuple(range(n_rows))
        self.temperature = sampling.temperature
        self.generators = {seed: torch.Generator().manual_seed(seed) for seed in seeds}
        self.seed_of_row = torch.tensor(seeds)

    def draw(self, logits: Float[Tensor, "live vocab"], rows: Int[Tensor, " live"]) -> Int[Tensor, " live"]:
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        seeds, which = self.seed_of_row[rows].unique(return_inverse=True)
        # On the CPU whatever the model runs on: a seed means the same on every machine.
        waits = [torch.empty(logits.shape[1]).exponential_(generator=self.generators[s]) for s in seeds.tolist()]
        gumbel = -torch.stack(waits).log()[which].to(logits.device)
        return (logits.float() / self.temperature + gumbel).argmax(dim=-1)
