"""What found directions do in the last model: taken out before a behaviour begins, and added while it writes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.experiments.compare_methods import CompareMethodsConfig
from toolkit.experiments.compare_methods.reading import LAST, PairText
from toolkit.interventions.ablation import BATCH_TOKENS
from toolkit.interventions.edits import shift, subtract
from toolkit.interventions.targets import Targets
from toolkit.latents.labelled_activations import LabelledActivations
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import target_at_end
from toolkit.models.model.sampling import Sampling
from toolkit.models.model_set import ModelSet
from toolkit.statistics.estimates import Estimate, mean, over_seeds, satterthwaite, with_error
from toolkit.tracking import track

RANDOM_DIRECTIONS = 3
STRENGTH = 0.1
"""Length of an added direction, as a share of the mean norm of the stream."""
LONGEST_PROMPT = 96
ROWS = 256
LOG_PROBABILITY = 1  # place in what `target_at_end` returns

Directions = Mapping[str, Mapping[str, Float[Tensor, " d_model"]]]
"""By method, by behaviour."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """What one method's directions do, by behaviour; each is set against random directions of the same length."""

    removed: dict[str, Estimate]
    """Change of the log probability, in nats, of the word that begins the behaviour, when the direction is taken out of
    the position before it; less the same for random directions."""
    specific: dict[str, Estimate]
    """That change less the one at the beginnings of the other behaviour that it lowers most; below 0 it is specific."""
    steered: dict[str, Estimate]
    """Change of the behaviour's first words per 1,000 tokens written while the direction is added."""
    length: dict[str, Estimate]
    """Change of the number of tokens written, up to the limit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Beginnings:
    """Where behaviours begin in the documents that test, with their first tokens."""

    targets: Targets
    behaviour: list[str]
    """Of each target."""

    def of(self, behaviour: str) -> Bool[Tensor, " target"]:
        """The targets at which it begins."""
        return torch.tensor([each == behaviour for each in self.behaviour])


def direction_effects(
    settings: CompareMethodsConfig, models: ModelSet, text: PairText, directions: Directions
) -> dict[str, Effects]:
    """Take each direction out and add it, in the last model; none where no targets or no prompts are asked for."""
    generator = torch.Generator().manual_seed(settings.seed)
    behaviours, labelled = text.labelled.tokens.measurable, text.labelled
    random = torch.nn.functional.normalize(torch.randn(RANDOM_DIRECTIONS, models.d_model, generator=generator), dim=1)
    arms = {(name, behaviour): vector for name, found in directions.items() for behaviour, vector in found.items()}
    unit = torch.nn.functional.normalize(torch.stack(list(arms.values())), dim=1).cpu()
    begun = beginnings(labelled, settings.targets, generator) if settings.targets else None
    taken, by_chance = removed(models, text, begun, unit, random) if begun else (None, None)
    written = steered(settings, models, text, unit, random) if settings.prompts else None
    effects = {}
    for name, found in directions.items():
        places = {behaviour: list(arms).index((name, behaviour)) for behaviour in found}
        own: dict[str, Estimate] = {}
        specific: dict[str, Estimate] = {}
        if begun is not None and taken is not None and by_chance is not None:
            there = [behaviour for behaviour in behaviours if behaviour in begun.behaviour]
            for behaviour in filter(places.__contains__, there):
                less = taken[places[behaviour]] - by_chance[:, places[behaviour]]
                by_behaviour = {each: _over_draws(less, begun, each) for each in there}
                own[behaviour] = by_behaviour.pop(behaviour)
                specific[behaviour] = less_the_lowest(own[behaviour], list(by_behaviour.values()))
        lengths, words = written.of(places) if written is not None else ({}, {})
        effects[name] = Effects(removed=own, specific=specific, steered=words, length=lengths)
    return effects


def _over_draws(less: Float[Tensor, "draw target"], begun: Beginnings, behaviour: str) -> Estimate:
    here = begun.of(behaviour)
    return over_seeds(less[:, here], begun.targets.documents[here])


def less_the_lowest(own: Estimate, others: list[Estimate]) -> Estimate:
    """Return an effect less the lowest of the others', which were measured elsewhere; without others, the effect."""
    if not others:
        return own
    lowest = min(others, key=lambda each: each.value)
    value = own.value - lowest.value
    if own.error is None or lowest.error is None or own.freedom is None or lowest.freedom is None:
        return Estimate(value, note=own.note or lowest.note)
    parts = [(own.error**2, own.freedom), (lowest.error**2, lowest.freedom)]
    return with_error(value, sqrt(own.error**2 + lowest.error**2), satterthwaite(parts))


def beginnings(labelled: LabelledActivations, wanted: int, generator: torch.Generator) -> Beginnings | None:
    """Draw `wanted` places of each behaviour where it begins in a document that tests; None where none begins."""
    tokens, found = labelled.tokens, []
    for name, places in _begins(labelled, ~tokens.choosing).items():
        found += [(name, places[i]) for i in torch.randperm(len(places), generator=generator)[:wanted].tolist()]
    if not found:
        return None
    at = [(int(tokens.document[place]), int(labelled.position[place])) for _, place in found]
    targets = Targets(
        prefixes=tuple(torch.tensor(labelled.rows[document][:position]) for document, position in at),
        target_ids=torch.tensor([labelled.rows[document][position] for document, position in at]),
        documents=torch.tensor([document for document, _ in at]),
        found=len(found),
    )
    return Beginnings(targets=targets, behaviour=[name for name, _ in found])


def _begins(labelled: LabelledActivations, among: Bool[Tensor, " token"]) -> dict[str, list[int]]:
    """By behaviour the tokens at which it begins; the token before must count too, so that it can be edited."""
    tokens = labelled.tokens
    order = (tokens.document * (int(labelled.position.max()) + 1) + labelled.position).argsort()
    here, before = order[1:], order[:-1]
    follows = (labelled.position[here] == labelled.position[before] + 1) & (
        tokens.document[here] == tokens.document[before]
    )
    starts = here[follows & (tokens.label[here] != tokens.label[before]) & among[here]]
    return {
        name: starts[tokens.label[starts] == number].tolist()
        for number, name in enumerate(tokens.names)
        if name in tokens.measurable
    }


@torch.no_grad()
def removed(
    models: ModelSet,
    text: PairText,
    begun: Beginnings,
    unit: Float[Tensor, "direction d_model"],
    random: Float[Tensor, "draw d_model"],
) -> tuple[Float[Tensor, "direction target"], Float[Tensor, "draw direction target"]]:
    """Return the changes of log probability when the stream's part along each direction is brought to its mean.

    The controls take as long a vector out, along random directions.
    """
    model, layer, targets = models.models[models.names[LAST]], models.layers[0], begun.targets
    centre = text.running.activations[:, LAST].mean(dim=0)
    batches = targets.batches(BATCH_TOKENS)
    changes = torch.empty(1 + len(random), len(unit), len(targets.prefixes))
    for where, batch in track(batches, "taking directions out", "batches"):
        last = torch.zeros_like(batch.attention_mask, dtype=torch.bool)
        last[:, -1] = True
        read = model.selected(batch.input_ids, batch.attention_mask, last, [layer])[:, 0].float().cpu() - centre
        parts = [size[:, None] * vector for vector, size in zip(unit, unit @ read.t(), strict=True)]
        parts += [size[:, None] * vector for vector in random for size in unit @ read.t()]
        found = measure(
            model,
            batch.input_ids,
            batch.attention_mask,
            [None, *(subtract(layer, part.to(model.device), last) for part in parts)],
            target_at_end,
            (targets.target_ids[where],),
            last=1,
            unchanged=batch.input_ids.shape[1] - 1,
        )[..., LOG_PROBABILITY].cpu()
        changes[:, :, where] = (found[1:] - found[:1]).view(1 + len(random), len(unit), len(where))
    return changes[0], changes[1:]


@dataclass(frozen=True, kw_only=True, eq=False)
class Written:
    """What was written under each direction: its length and its words of every behaviour, prompt by prompt."""

    behaviours: tuple[str, ...]
    length: Float[Tensor, "arm prompt"]
    words: Float[Tensor, "behaviour arm prompt"]
    """Per 1,000 tokens."""
    n_random: int
    """The first arms add random directions."""

    def of(self, places: Mapping[str, int]) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
        """Lengths and own words by behaviour, less what random directions give; paired by prompt."""
        lengths = {name: self._less(self.length, place) for name, place in places.items()}
        words = {name: self._less(self.words[self.behaviours.index(name)], place) for name, place in places.items()}
        return lengths, words

    def _less(self, values: Tensor, place: int) -> Estimate:
        by_prompt = values[self.n_random + place] - values[: self.n_random].mean(dim=0)
        return mean(by_prompt, unit="prompt")


def steered(
    settings: CompareMethodsConfig,
    models: ModelSet,
    text: PairText,
    unit: Float[Tensor, "direction d_model"],
    random: Float[Tensor, "draw d_model"],
) -> Written:
    """Continue the beginnings of documents that test, greedily, under each direction and under random ones."""
    model, labelled = models.models[models.names[LAST]], text.labelled
    strength = STRENGTH * float(text.running.activations[:, LAST].norm(dim=1).mean())
    prompts = prompts_of(labelled, settings.prompts)
    vectors = torch.cat([random, unit]) * strength
    grid = [(arm, prompt) for prompt in range(len(prompts)) for arm in range(len(vectors))]
    rows: list[list[int]] = []
    for start in track(range(0, len(grid), ROWS), "writing", "batches"):
        some = grid[start : start + ROWS]
        edit = shift(models.layers[0], vectors[[arm for arm, _ in some]].to(model.device))
        given = [list(prompts[prompt]) for _, prompt in some]
        rows += model.generate_ids(given, edit=edit, sampling=Sampling(new_tokens=settings.new_tokens))
    first = first_words(labelled)
    shape = (len(prompts), len(vectors))
    length = torch.tensor([float(len(row)) for row in rows]).view(shape).t()
    words = [[1000 * sum(token in ids for token in row) / len(row) for row in rows] for ids in first.values()]
    counted = torch.tensor(words).view(len(first), *shape).transpose(1, 2)
    return Written(behaviours=tuple(first), length=length, words=counted, n_random=len(random))


def prompts_of(labelled: LabelledActivations, wanted: int) -> list[list[int]]:
    """The texts of the first documents that test, each up to its first labelled token, or to 96 tokens."""
    tokens = labelled.tokens
    prompts = []
    for document in tokens.document[~tokens.choosing].unique().tolist()[:wanted]:
        here = (tokens.document == document) & (tokens.label >= 0)
        end = int(labelled.position[here].min()) if here.any() else LONGEST_PROMPT
        prompts.append(list(labelled.rows[document][: max(2, min(end, LONGEST_PROMPT))]))
    return prompts


def first_words(labelled: LabelledActivations) -> dict[str, set[int]]:
    """By behaviour the tokens that begin it at more than half of the places where they stand, of choosing documents."""
    choosing = labelled.tokens.choosing
    everywhere = Counter(labelled.token_id[choosing].tolist())
    found = {}
    for name, places in _begins(labelled, choosing).items():
        begin = Counter(labelled.token_id[places].tolist())
        found[name] = {token for token, n in begin.items() if 2 * n > everywhere[token]}
    return found
