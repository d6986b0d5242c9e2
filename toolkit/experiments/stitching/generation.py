"""Answers of a receiver that goes on from another model's front: does it still say "Wait", and is it still right?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from toolkit.answers.answering import Answerer
from toolkit.answers.problem_sets import ORGANISM, open_problems
from toolkit.experiments.control import is_embedded
from toolkit.experiments.reasoning_evaluation import ReasoningEvaluationSettings
from toolkit.experiments.reasoning_evaluation.asking import Asking, asking
from toolkit.experiments.reasoning_evaluation.measure import USUAL_PROBLEMS, measure_arms
from toolkit.experiments.reasoning_evaluation.results import Measured
from toolkit.experiments.stitching import StitchingConfig
from toolkit.experiments.stitching.study import SELF
from toolkit.latents.categories import categories, hesitation, load_lexicon
from toolkit.models.text.tokenizers import check_meaning, encode
from toolkit.stitching.maps import identity_map
from toolkit.stitching.opening import StitchableModels
from toolkit.stitching.stitch import Stitch

LEAVE_OUT = "or leave answers out, with --n-problems 0"


@dataclass(frozen=True, kw_only=True, eq=False)
class StitchedAnswers:
    """Answers of one receiver to the same problems, as it is and from other fronts."""

    front: str
    """Name of the model whose first layers run."""
    rest: str
    """Name of the receiver."""
    cut: int
    """The receiver's layer at whose input its stream is replaced."""
    plainly: bool
    """Whether all were asked for a worked solution in plain text, without a chat and `<think>`."""
    measured: Measured
    """By arm. The first is the receiver as it is; each other one is compared with it, paired by problem. The model of
    the front by itself stands under its name where it has the receiver's vocabulary; `self` is the receiver before its
    own rest, whose answers are the receiver's; every other arm is a map."""


def ask(settings: StitchingConfig, models: StitchableModels, rest: str) -> Asking:
    """Open the problems, and say how a receiver is asked: greedily, and in the way that it learnt to answer.

    The last model is asked up to where a model begins to think. Any other never saw `<think>`, behind which it says no
    answer: it is asked plainly, and what stands before its rest is asked the same. Nothing is generated yet.
    Raises `ValueError` for models on NDIF, with split layers or of other vocabularies, for a prompt with ids that mean
    other things to another model, and as `open_problems` and `asking` do.
    """
    for name, model in models.models.items():
        if not model.place.keeps_caches:
            raise ValueError(
                f"a stitched model reads two models at each new token, and {name} keeps no cache between two calls, as"
                f" it runs on NDIF or with split layers: load the models here, {LEAVE_OUT}"
            )
    if models.compared:
        raise ValueError(
            f"a stitched model may write tokens that only {rest} has, and its front cannot read them: give models of"
            f" one vocabulary, {LEAVE_OUT}"
        )
    model = models.models[rest]
    arm = Answerer(model, plainly=_plainly(models, rest))
    drawn = ReasoningEvaluationSettings(temperature=0.0, new_tokens=settings.new_tokens, seed=settings.seed)
    problems = open_problems(settings.problems or (ORGANISM if is_embedded(models) else USUAL_PROBLEMS))
    try:
        asked = asking(drawn, [arm], problems[: settings.n_problems])
        _check_prompts(models, arm, asked)
    except ValueError as error:
        raise ValueError(f"{rest}: {str(error).rstrip('.')}; {LEAVE_OUT}") from error
    lexicon = categories(model.tokenizer, load_lexicon(settings.lexicon))
    counted = frozenset(hesitation(model.tokenizer, lexicon).token_ids)
    return replace(asked, writing=replace(asked.writing, hesitation_ids=counted))


def stitched_answers(
    asked: Asking, models: StitchableModels, front: str, rest: str, stitches: Mapping[str, Stitch]
) -> StitchedAnswers:
    """Let the receiver answer as it is, from its own front, and under every stitch; `stitches` are by map, of one cut.

    All arms get the receiver's prompts, so the model of the front is asked by itself as the receiver is.
    """
    model, plainly = models.models[rest], _plainly(models, rest)
    cut = next(iter(stitches.values())).layer
    arms = {rest: Answerer(model, plainly=plainly)}
    if models.reading(rest)[front] is models.models[front]:
        arms[front] = Answerer(models.models[front], plainly=plainly)
    arms[SELF] = Answerer(model, Stitch(model, identity_map(model.d_model), cut), plainly=plainly)
    arms |= {name: Answerer(model, stitch, plainly=plainly) for name, stitch in stitches.items()}
    measured = measure_arms(arms, asked.questions, asked.writing, budgets=())
    return StitchedAnswers(front=front, rest=rest, cut=cut, plainly=plainly, measured=measured)


def _check_prompts(models: StitchableModels, arm: Answerer, asked: Asking) -> None:
    """Raise `ValueError` for a prompt with ids that mean different things to the models, all of which must read it."""
    tokenizer = arm.model.tokenizer
    prompts = [arm.prompt(each.question, asked.writing.instruction) for each in asked.questions]
    for row in encode(tokenizer, prompts):
        ids = torch.tensor([row])
        check_meaning(ids, torch.ones_like(ids), models.clashing_ids, models.names, tokenizer.bos_token_id)


def _plainly(models: StitchableModels, rest: str) -> bool:
    return rest != models.names[-1]
