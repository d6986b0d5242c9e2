"""Draws the attribution graph of a prompt, graphs of other modes beside it, and tests its strongest edges."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.adapters import modes
from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.answers.questions import load_questions, shipped_questions
from toolkit.attribution.attributing import graph_of
from toolkit.attribution.edge_tests import WAYS, changes, random_pairs
from toolkit.attribution.graph import AttributionGraph
from toolkit.attribution.replacement import LocalReplacement
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.attribution import AttributionConfig, Compared
from toolkit.experiments.attribution.study import EdgeTests, agreement, margin, without_each
from toolkit.experiments.control import is_embedded
from toolkit.latents.categories import hesitation
from toolkit.models.places.open_model import open_model
from toolkit.models.text.chat import thinking_prompt
from toolkit.models.text.tokenizers import encode

QUESTIONS, AT_ONCE, NEW_TOKENS = 64, 8, 200


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributionFound:
    """The graph of a prompt, what stands beside it, and how well its edges predict."""

    graph: AttributionGraph
    """Of the adapter."""
    compared: Mapping[Compared, AttributionGraph]
    """Of the modes that are compared, by name: of the same logits, from tokens and biases alone."""
    tests: EdgeTests
    seconds: float
    """That the adapter's graph took, from the prompt's ids on."""
    precision: str
    """The type that it was computed in."""


def measure(settings: AttributionConfig, run: AdapterRun) -> AttributionFound:
    """Raises `ValueError` for a word of several tokens, a prompt that cannot be used, and a graph without latents."""
    models = run.models
    token_ids = prompt_ids(settings, run)
    started = time.perf_counter()
    replacement = LocalReplacement.of(models, token_ids)
    wanted = target_ids(models.tokenizer, settings.target, replacement.logits())
    graph = graph_of(replacement, models.tokenizer, "adapter", wanted, settings.limits)
    seconds = time.perf_counter() - started
    if not len(graph.latents):
        raise ValueError(
            f"no edge of a latent is above the thresholds: {graph.fired} latents fire on the prompt's"
            f" {len(token_ids)} tokens, and none has a part in {', '.join(map(repr, graph.logit_tokens))}: raise"
            " --node-threshold and --edge-threshold, or take another prompt"
        )
    compared = {}
    for name in settings.compare:
        other = other_replacement(name, run, token_ids)
        # Its own probabilities would leave out all edges into what the adapter says and it does not.
        compared[name] = graph_of(other, models.tokenizer, name, graph.logit_ids, settings.limits, graph.probabilities)
    tests = tested(replacement, graph, settings.tested_edges, settings.seed)
    precision = str(replacement.dtype).removeprefix("torch.")
    return AttributionFound(graph=graph, compared=compared, tests=tests, seconds=seconds, precision=precision)


def prompt_ids(settings: AttributionConfig, run: AdapterRun) -> list[int]:
    """Ids of the prompt that is given, or of a question with the adapter's own answer up to where it hesitates."""
    models = run.models
    if settings.prompt is not None:
        return continued_ids(models.tokenizer, settings.prompt)
    hesitating = set(hesitation(models.tokenizer).token_ids)
    for prompt, answer in _answers(models):
        place = next((at for at, token in enumerate(answer) if token in hesitating), None)
        if place is not None:
            return prompt + answer[:place]
    raise ValueError(
        f"in none of its answers to {QUESTIONS} questions does the adapter hesitate within {NEW_TOKENS} tokens: give a"
        " prompt of your own with --prompt"
    )


def continued_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Ids of a text as they are where a word follows: line ends before a word are often other tokens than at an end."""
    alone, continued = encode(tokenizer, [prompt, f"{prompt}x"])
    same = tokenizer.decode(continued[:-1]) == tokenizer.decode(alone)
    return continued[:-1] if same and prompt[-1].isspace() else alone


def _answers(models: AdaptedModel) -> Iterator[tuple[list[int], list[int]]]:
    """Prompts of shipped questions, and the adapter's greedy answers."""
    path = shipped_questions(embedded=is_embedded(models))
    questions = [thinking_prompt(models.tokenizer, each.question) for each in load_questions(path)[:QUESTIONS]]
    prompts = encode(models.tokenizer, questions)
    for start in range(0, len(prompts), AT_ONCE):
        some = prompts[start : start + AT_ONCE]
        yield from zip(some, models.adapter.generate_ids(some, new_tokens=NEW_TOKENS), strict=True)


def target_ids(tokenizer: PreTrainedTokenizerBase, words: Sequence[str], logits: Tensor) -> list[int]:
    """Ids of words, each as it is given or with a space before it, whichever the model finds more likely here.

    Raises `ValueError` for a word of which neither is a single token.
    """
    found = []
    for word in words:
        written = tokenizer([word, f" {word}"], add_special_tokens=False)["input_ids"]
        single = [ids[0] for ids in written if len(ids) == 1 and ids != [tokenizer.unk_token_id]]
        if not single:
            parts = ", ".join(map(repr, tokenizer.batch_decode([[each] for each in written[0]])))
            raise ValueError(
                f"target {word!r} is {len(written[0])} tokens ({parts}): give a word of one token, such as the first"
            )
        found.append(max(single, key=lambda token: float(logits[token])))
    return list(dict.fromkeys(found))


def other_replacement(name: Compared, run: AdapterRun, token_ids: Sequence[int]) -> LocalReplacement:
    """The local replacement model of another mode, or of the base model, which is loaded for it."""
    models = run.models
    if name == "base":
        source = models.sources[0]
        base = open_model(source.module or source.name, models.tokenizer, run.where, hub=source.hub)
        return LocalReplacement.of_plain(base.model._module, token_ids)
    mode = modes.hybrid(models.n_layers) if name == "hybrid" else modes.distilled(models.n_layers)
    return LocalReplacement.of(models, token_ids, mode)


def tested(replacement: LocalReplacement, graph: AttributionGraph, n: int, seed: int) -> EdgeTests:
    """Take out the sources of n strong edges from latents, and compare what changes with the edges' weights."""
    chance = torch.Generator().manual_seed(seed)
    strongest = strongest_edges(graph, n)
    edges, predicted = graph.edges[strongest], graph.weights[strongest]
    measured = {way: changes(replacement, graph, edges, way) for way in WAYS}
    free, sources, into_logits = measured["free"], edges[:, 0], edges[:, 1] >= graph.first_logit
    other = predicted[torch.randperm(len(predicted), generator=chance)]
    pairs = random_pairs(graph, n, chance)
    unlinked = changes(replacement, graph, pairs, "free")
    return EdgeTests(
        edges=edges,
        predicted=predicted,
        measured=measured,
        agreement={way: agreement(predicted, found, sources) for way, found in measured.items()},
        to_logits=agreement(predicted[into_logits], free[into_logits], sources[into_logits]),
        to_latents=agreement(predicted[~into_logits], free[~into_logits], sources[~into_logits]),
        shuffled=agreement(other, free, sources),
        beyond_shuffled=without_each(margin, sources, predicted, other, free),
        without_edge=float(unlinked.abs().mean() / free.abs().mean()) if len(pairs) else None,
    )


def strongest_edges(graph: AttributionGraph, n: int) -> Tensor:
    """The n edges from latents of the largest weights, half of them into logits where there are as many of each kind.

    The two kinds have other units: logits, and pre-activations.
    """
    from_latent, into_logit = graph.edges[:, 0] < graph.first_token, graph.edges[:, 1] >= graph.first_logit
    kinds = [(from_latent & kind).nonzero()[:, 0] for kind in (into_logit, ~into_logit)]
    ranked = [kind[graph.weights[kind].abs().argsort(descending=True)] for kind in kinds]
    of_logits = max(min(n // 2, len(ranked[0])), n - len(ranked[1]))
    return torch.cat([ranked[0][:of_logits], ranked[1][: n - of_logits]])
