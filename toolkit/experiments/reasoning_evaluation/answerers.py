"""Makes arms of their words: which model answers, and under which edit; opens what an arm asks for and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from pathlib import Path

import torch
from torch import Tensor

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.latent_names import parse_latents
from toolkit.adapters.layerwise import check_layerwise
from toolkit.adapters.opening import adapter_files, open_adapter
from toolkit.answers.answering import Answerer
from toolkit.artifacts import digest
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.control import CONTROL, control_files, control_source, is_embedded, with_control
from toolkit.experiments.opening import crosscoder_of
from toolkit.experiments.origin import dictionary_file
from toolkit.experiments.reasoning_evaluation import ReasoningEvaluationConfig
from toolkit.experiments.reasoning_evaluation.arms import ADAPTED, Arm, ArmEdit, parse_arms
from toolkit.interventions.clamping import SetLatent
from toolkit.interventions.edits import mean_norm, shift, steer, stream_index
from toolkit.models.model.edits import Change
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.pair import ModelPair
from toolkit.models.sources import find_sources
from toolkit.settings.adapters import SHIPPED_ADAPTER
from toolkit.settings.findings import SHIPPED

PAIR_ALONE = ("distilled", "base")
EMBEDDED_ARMS = (
    *PAIR_ALONE,
    CONTROL,
    *(f"{model} plainly" for model in ("base", CONTROL)),
    "distilled + steer 623 0.1",
    *(f"distilled + random {number} 0.1" for number in range(3)),
    "distilled + ablate 623",
)
"""Of the embedded pair. Asked as the distilled model is, base and control say no answer, so that they are asked plainly
too. Latent 623 makes answers longer where it is added, as random directions should not."""


@dataclass(frozen=True, kw_only=True)
class OpenedArms:
    """All arms, ready to answer, and what was opened for them."""

    answerers: Mapping[str, Answerer]
    """By name, the one that the others are compared with first."""
    facts: Mapping[str, str]
    """What a report's head says of crosscoder and adapter."""
    files: Mapping[str, str]
    """Sha256 of the files of control, crosscoder and adapter, where an arm asked for them."""


def arms_of(settings: ReasoningEvaluationConfig, models: ModelPair) -> tuple[Arm, ...]:
    """The arms that are asked for, or the usual ones."""
    if settings.arms:
        return parse_arms(settings.arms)
    usual = (*PAIR_ALONE, CONTROL) if settings.models.control else PAIR_ALONE
    return parse_arms(EMBEDDED_ARMS if is_embedded(models) else usual)


def open_arms(settings: ReasoningEvaluationConfig, models: ModelPair) -> OpenedArms:
    """Open every arm that is asked for.

    Raises `ValueError`, with the arm, for a crosscoder, an adapter or a control that is missing or does not fit the
    models, for a latent that does not exist, and for an edit that cannot be made where the models run.
    """
    sources = _Sources(settings, models)
    return OpenedArms(
        answerers={arm.name: _answerer(sources, arm) for arm in arms_of(settings, models)},
        facts=sources.facts(),
        files=sources.files(),
    )


class _Sources:
    """Models, crosscoder, adapter and control; each but the models is opened when it is first asked for."""

    def __init__(self, settings: ReasoningEvaluationConfig, models: ModelPair) -> None:
        self.settings, self.models = settings, models

    def model(self, arm: Arm) -> TracedModel:
        """The model that answers, without edits of its stream."""
        if arm.without:
            return self.adapted.without(parse_latents(arm.without, self.adapted.transcoders.config))
        if arm.model in ADAPTED:
            return self.adapted.hybrid if arm.model == "hybrid" else self.adapted.adapter
        return self.control if arm.model == CONTROL else self.models.models[arm.model]

    @cached_property
    def control(self) -> TracedModel:
        found = with_control(self.settings.models, self.settings.where, self.models)
        if CONTROL not in found:
            raise ValueError("this pair has no control: give --control a model trained further without distillation")
        return found[CONTROL]

    @cached_property
    def crosscoder(self) -> Crosscoder:
        other_models = self.settings.dictionaries.other_models
        return crosscoder_of(self.models, self.crosscoder_folder, other_models=other_models)

    @property
    def crosscoder_folder(self) -> Path:
        return self._folder("crosscoder", SHIPPED)

    @cached_property
    def adapted(self) -> AdaptedModel:
        adapter, where = open_adapter(self.adapter_folder), self.settings.where
        other_models = self.settings.dictionaries.other_models
        opened = AdaptedModel.open(self.models.found, adapter, where, other_models=other_models)
        check_layerwise(opened)
        return opened

    @property
    def adapter_folder(self) -> Path:
        return self._folder("adapter", SHIPPED_ADAPTER)

    def _folder(self, kind: str, shipped: Path) -> Path:
        given: Path | None = getattr(self.settings.dictionaries, kind)
        if given is None and not is_embedded(self.models):
            raise ValueError(f"this pair has no {kind}: give --{kind} the folder of one that was trained on it")
        return given or shipped

    @property
    def opened(self) -> frozenset[str]:
        """What was opened so far."""
        return frozenset(vars(self)) & {"control", "crosscoder", "adapted"}

    def facts(self) -> dict[str, str]:
        """What a report's head says of crosscoder and adapter."""
        said: dict[str, str] = {}
        if "crosscoder" in self.opened:
            about = self.crosscoder.config
            layers = ", ".join(map(str, about.layers))
            said["crosscoder"] = f"{about.n_latents:,} latents, {about.sparsity}, at the input of layer {layers}"
        if "adapted" in self.opened:
            shape = self.adapted.transcoders.config
            said["adapter"] = f"{shape.n_latents:,} latents in each of {shape.n_layers} layers"
        return said

    def files(self) -> dict[str, str]:
        """Sha256 of the files that were opened, the models' own left out."""
        found: dict[str, str] = {}
        if CONTROL in self.opened:
            found |= control_files(self.settings.models, self.settings.where, self.models)
        if "crosscoder" in self.opened:
            found |= dictionary_file(self.crosscoder_folder)
        if "adapted" in self.opened:
            found |= adapter_files(self.adapter_folder)
        return found

    def fingerprint(self, arm: Arm) -> str:
        """A word that changes with the weights of the model that answers; its edit is told apart by what it holds."""
        if arm.model in ADAPTED:
            files = adapter_files(self.adapter_folder)
            return digest({"of": self.fingerprints, "adapter": files, "mode": arm.model, "without": arm.without})
        if arm.model == CONTROL:
            source = control_source(self.settings.models.control, self.models)
            (found,) = find_sources({CONTROL: source})
            return found.fingerprint(remote=self.settings.where.remote)
        return self.fingerprints[arm.model]

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        return self.models.fingerprints()


def _answerer(sources: _Sources, arm: Arm) -> Answerer:
    try:
        model = sources.model(arm)
        changes = [_edit(sources, arm, each, model) for each in arm.edits]
    except ValueError as error:
        raise ValueError(f"arm {arm.name!r}: {error}") from error
    edit = reduce(add, changes) if changes else None
    return Answerer(model, edit, sources.fingerprint(arm), plainly=arm.plainly)


def _edit(sources: _Sources, arm: Arm, edit: ArmEdit, model: TracedModel) -> Change:
    crosscoder, layer = sources.crosscoder, sources.settings.dictionaries.layer
    # What is no stream of the crosscoder's is steered with the vector that steers the distilled model.
    name = arm.model if arm.model in crosscoder.config.models else "distilled"
    if edit.verb == "steer":
        return steer(crosscoder, latent=edit.numbers, strength=edit.amount, model=name, layer=layer)
    if edit.verb == "random":
        (number,) = edit.numbers
        stream = stream_index(crosscoder, name, layer)
        length = edit.amount * mean_norm(crosscoder, stream)
        site = crosscoder.config.layers[stream % len(crosscoder.config.layers)]
        return shift(site, length * random_direction(number, model.d_model, sources.settings.seed).to(crosscoder.W_dec))
    if not model.place.keeps_caches:
        raise ValueError(
            f"{edit.verb!r} reads both models at every token, which neither NDIF nor split layers allow: run it here,"
            " or steer"
        )
    stream_index(crosscoder, name, layer)  # which refuses a layer that the crosscoder does not read
    return SetLatent(sources.models, crosscoder, latent=edit.numbers, value=edit.amount, model=name)


def random_direction(number: int, d_model: int, seed: int) -> Tensor:
    """Return the unit vector [d_model] of this number; other numbers and other seeds have other ones."""
    chance = torch.Generator().manual_seed(seed * 1_000_003 + number)
    return torch.nn.functional.normalize(torch.randn(d_model, generator=chance), dim=0)
