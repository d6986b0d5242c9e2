"""The whole paper on one pair: every experiment, and its numbers beside the published ones or the truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.findings.ablation import AblationConfig, measure_ablation
from toolkit.findings.ablation_report import ablation_findings
from toolkit.findings.comparison import DIMS
from toolkit.findings.latent_class_findings import latent_classes_findings
from toolkit.findings.latent_classes import LatentClassesConfig, measure_latent_classes
from toolkit.findings.layer_divergence import (
    LayerDivergenceConfig,
    layer_divergence_findings,
    measure_layer_divergence,
)
from toolkit.findings.steering import SteeringConfig, measure_steering
from toolkit.findings.steering_report import steering_findings
from toolkit.findings.word_geometry import WordGeometryConfig, measure_word_geometry
from toolkit.findings.word_geometry_report import word_geometry_findings
from toolkit.interventions.steering_study import Toward
from toolkit.latents.categories import load_lexicon
from toolkit.reports.findings import Findings
from toolkit.runs.evaluation import evaluate_crosscoder
from toolkit.runs.subject import FindingsConfig, Subject
from toolkit.runs.summary import headlines

SHORTER = ("deductive",)


@dataclass(frozen=True, kw_only=True)
class ReproductionConfig(FindingsConfig):
    """Run every experiment of the paper on one pair, and set the numbers beside the published ones or the truth."""

    out: Path = Path("runs/reproduce_paper")
    """Folder for results.json, the page that compares, and a page for each experiment."""
    development: int = 20
    """Questions that steering directions are picked on."""
    test: int = 64
    """Questions that the picked directions are compared on."""


def find_reconstruction(config: ReproductionConfig, subject: Subject) -> Findings:
    """How good the crosscoder is on held-out text."""
    evaluation = evaluate_crosscoder(subject.config, subject.pair, subject.corpus, subject.crosscoder)
    return Findings(
        name="reconstruction",
        title="Reconstruction: what the crosscoder keeps of both models",
        question="How much of either model's residual stream does the crosscoder give back?",
        facts=subject.facts(),
        headline=headlines(evaluation, subject.pair),
        tables=[],
        charts=[],
        results=evaluation.metrics(subject.pair),
    )


def find_latent_classes(config: ReproductionConfig, subject: Subject) -> Findings:
    """Whose the latents are."""
    asked = LatentClassesConfig(**_common(config))
    return latent_classes_findings(asked, subject, measure_latent_classes(asked, subject))


def find_ablation(config: ReproductionConfig, subject: Subject) -> Findings:
    """The four categories at undecided positions, the crosscoder's error kept."""
    asked = AblationConfig(**_common(config))
    return ablation_findings(asked, subject, measure_ablation(asked, subject))


def find_paper_ablation(config: ReproductionConfig, subject: Subject) -> Findings:
    """The same by the paper's protocol, at the reference share, against the unablated reconstruction."""
    asked = AblationConfig(**_common(config), paper=True, shares=(0.02,), control_draws=1)
    findings = ablation_findings(asked, subject, measure_ablation(asked, subject))
    return replace(findings, name="ablation_paper", title=f"{findings.title}, the paper's protocol")


def find_steering(config: ReproductionConfig, subject: Subject) -> Findings:
    """A latent of each category, against the best random direction."""
    asked = SteeringConfig(
        **_common(config),
        strengths=(-0.2, -0.1, -0.025, 0.025, 0.1, 0.2),
        development=config.development,
        test=config.test,
    )
    aims: dict[str, Toward] = {name: "shorter" if name in SHORTER else "longer" for name in load_lexicon()}
    return steering_findings(asked, subject, measure_steering(asked, subject, aims))


def find_geometry(config: ReproductionConfig, subject: Subject) -> Findings:
    """Word pairs in both models."""
    asked = WordGeometryConfig(**_common(config))
    return word_geometry_findings(asked, subject.pair, measure_word_geometry(asked, subject.pair))


def find_layer_divergence(config: ReproductionConfig, subject: Subject) -> Findings:
    """Both models' distance at every layer."""
    asked = LayerDivergenceConfig(**_common(config))
    found = measure_layer_divergence(asked, subject.pair, subject.config, subject.corpus)
    return layer_divergence_findings(subject.pair, subject.config, found)


EXPERIMENTS: Mapping[str, Callable[[ReproductionConfig, Subject], Findings]] = {
    "reconstruction": find_reconstruction,
    "latent classes": find_latent_classes,
    "ablation": find_ablation,
    "ablation, the paper's way": find_paper_ablation,
    "steering": find_steering,
    "geometry": find_geometry,
    "layer divergence": find_layer_divergence,
}


def reproduction_results(parts: Mapping[str, Findings]) -> dict[str, Any]:
    """The numbers of all experiments, by experiment."""
    classes = parts["latent classes"].results
    mean, low, high = classes["mean_nrn"]
    geometry = {
        name: {
            model: {measure: measured["dims"][DIMS][measure] for measure in ("mean", "shuffled", "gap", "ratio")}
            | {"n_quadruples": measured["dims"][DIMS]["n_quadruples"]}
            for model, measured in found["models"].items()
        }
        for name, found in parts["geometry"].results["classes"].items()
    }
    return {
        "nrn": {
            "value": mean,
            "low": low,
            "high": high,
            "activation_weighted": classes["mean_nrn_activation_weighted"],
        },
        "survivors": classes["survivors"],
        "reconstruction": parts["reconstruction"].results,
        "ablation": parts["ablation"].results["ablation"],
        "off_target": parts["ablation"].results["off_target"],
        "ablation_paper": parts["ablation, the paper's way"].results["ablation"],
        "steering": parts["steering"].results["steering"],
        "steering_against_chance": parts["steering"].results["against_chance"],
        "geometry": geometry,
        "layer_divergence": parts["layer divergence"].results,
    }


def _common(config: ReproductionConfig) -> dict[str, Any]:
    """What all experiments are asked alike."""
    return {"seed": config.seed}
