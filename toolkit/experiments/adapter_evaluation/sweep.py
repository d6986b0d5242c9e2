"""Adapters of one pair that were trained with other λ, in a few numbers each."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.artifacts import read_section
from toolkit.experiments.adapter_evaluation.answers import ModeAnswers
from toolkit.experiments.adapter_evaluation.closeness import Closeness
from toolkit.models.presets import in_checkout
from toolkit.statistics.estimates import Estimate


@dataclass(frozen=True, kw_only=True)
class Swept:
    """One adapter."""

    name: str
    """Where it lies."""
    coefficient: float | None
    """The λ that it was trained with; None where its folder does not say."""
    l0: Estimate
    dead: int
    """Latents of all layers that fired on no token that was read."""
    n_latents: int
    """Latents of all layers."""
    kl: Estimate
    means: dict[str, Estimate]
    """Of its answers, by measure."""
    recovered: Estimate
    """Share of the accuracy that the distilled model has beyond the hybrid."""
    length_ratio: Estimate

    @classmethod
    def of(cls, folder: Path, near: Closeness, answered: ModeAnswers) -> "Swept":
        """From what was measured of it."""
        return cls(
            name=in_checkout(folder),
            coefficient=_coefficient(folder),
            l0=near.l0,
            dead=sum(near.dead),
            n_latents=near.firings.by_latent.numel(),
            kl=near.kl,
            means=answered.means("adapter"),
            recovered=answered.recovered("correct"),
            length_ratio=answered.length_ratio,
        )


def _coefficient(folder: Path) -> float | None:
    """Return the λ that `config.json` of a run folder names; None where it names none."""
    path = folder / "config.json"
    training = read_section(path, "run").get("training", {}) if path.is_file() else {}
    value = training.get("sparsity_coefficient") if isinstance(training, dict) else None
    return float(value) if isinstance(value, int | float) else None
