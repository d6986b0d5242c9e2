"""The whole paper on one pair: every experiment, and its numbers beside the published ones or the truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
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
from toolkit.outputs import Claim
from toolkit.reports.findings import Findings
from toolkit.runs.control import ControlConfig
from toolkit.runs.evaluation import evaluate_crosscoder
from toolkit.runs.subject import FindingsConfig, Subject
from toolkit.runs.summary import headlines, planted_table

SHORTER = ("deductive",)
COMPARISON = Claim(files=("results.json", "comparison.html"), signs={"results.json": ("nrn", "provenance")})
STRENGTHS = (-0.2, -0.1, -0.025, 0.025, 0.1, 0.2)


@dataclass(frozen=True, kw_only=True)
class ReproductionConfig(FindingsConfig, ControlConfig):
    """Run every experiment of the paper on one pair, and set the numbers beside the published ones or the truth."""

    FINDINGS = (
        "reconstruction",
        "latent_classes",
        "ablation",
        "ablation_paper",
        "steering",
        "word_geometry",
        "layer_divergence",
    )
    OTHERS = (COMPARISON,)
    out: Path = Path("runs/reproduce_paper")
    """Folder for results.json, the page that compares, and a page for each experiment."""
    tokens: int = 131_072
    """Held-out tokens that each experiment reads."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: self-reflection, deductive, alternative, contrastive."""
    words: tuple[str, ...] = ()
    """Word pairs: embedded, everyday (shipped), files or folders of .json, .csv, .tsv; default: what fits the pair."""
    questions: Path | None = None
    """JSONL file of {"question", "answer"} for steering; default: the shipped ones for this pair."""
    undecided: tuple[float, float] = (0.05, 0.9)
    """Our ablation takes only words to which the distilled model gives a probability in this range; 0 1 takes all."""
    development: int = 20
    """Questions that steering directions are picked on."""
    test: int = 64
    """Questions that the picked directions are compared on."""


def experiments(config: ReproductionConfig) -> dict[str, Callable[[Subject], Findings]]:
    """Every experiment, ready to examine a subject; raises `ValueError` for settings that one of them refuses."""
    alike: dict[str, Any] = {"seed": config.seed} | config.access()
    read = alike | {"tokens": config.tokens, "lexicon": config.lexicon}
    ablation = AblationConfig(**read, undecided=config.undecided)
    paper = AblationConfig(**read, paper=True, shares=(ablation.reference,), control_draws=1)
    questions = {"questions": config.questions, "development": config.development, "test": config.test}
    steering = SteeringConfig(**read | questions, strengths=STRENGTHS)
    geometry = WordGeometryConfig(**alike, words=config.words, control=config.control)
    divergence = LayerDivergenceConfig(**alike, tokens=config.tokens, control=config.control)
    return {
        "reconstruction": find_reconstruction,
        "latent classes": partial(find_latent_classes, LatentClassesConfig(**read)),
        "ablation": partial(find_ablation, ablation),
        "ablation, the paper's way": partial(find_paper_ablation, paper),
        "steering": partial(find_steering, steering),
        "geometry": partial(find_geometry, geometry),
        "layer divergence": partial(find_layer_divergence, divergence),
    }


def find_reconstruction(subject: Subject) -> Findings:
    """How good the crosscoder is on held-out text, and how well it finds what was planted there."""
    evaluation = evaluate_crosscoder(subject.config, subject.pair, subject.corpus, subject.crosscoder)
    planted = planted_table(evaluation)
    return Findings(
        name="reconstruction",
        title="Reconstruction: what the crosscoder keeps of both models",
        question="How much of either model's residual stream does the crosscoder give back?",
        facts=subject.facts(),
        headline=headlines(evaluation, subject.pair),
        tables=[planted] if planted else [],
        charts=[],
        results=evaluation.metrics(subject.pair)
        | {"behaviours": [vars(found) for found in evaluation.behaviours or ()]},
    )


def find_latent_classes(asked: LatentClassesConfig, subject: Subject) -> Findings:
    """Whose the latents are."""
    return latent_classes_findings(asked, subject, measure_latent_classes(asked, subject))


def find_ablation(asked: AblationConfig, subject: Subject) -> Findings:
    """The categories at undecided positions, the crosscoder's error kept."""
    return ablation_findings(asked, subject, measure_ablation(asked, subject))


def find_paper_ablation(asked: AblationConfig, subject: Subject) -> Findings:
    """The same by the paper's protocol, at the reference share, against the unablated reconstruction."""
    findings = find_ablation(asked, subject)
    return replace(findings, name="ablation_paper", title=f"{findings.title}, the paper's protocol")


def find_steering(asked: SteeringConfig, subject: Subject) -> Findings:
    """A latent of each category, against the best random direction."""
    aims: dict[str, Toward] = {name: "shorter" if name in SHORTER else "longer" for name in load_lexicon(asked.lexicon)}
    return steering_findings(asked, subject, measure_steering(asked, subject, aims))


def find_geometry(asked: WordGeometryConfig, subject: Subject) -> Findings:
    """Word pairs in both models, at the site of edits."""
    pair = replace(subject.pair, layers=(subject.layer,))
    return word_geometry_findings(asked, pair, measure_word_geometry(asked, pair))


def find_layer_divergence(asked: LayerDivergenceConfig, subject: Subject) -> Findings:
    """Both models' distance at every layer."""
    found = measure_layer_divergence(asked, subject.pair, subject.config, subject.corpus)
    return layer_divergence_findings(subject.pair, subject.config, found)


def reproduction_results(parts: Mapping[str, Findings]) -> dict[str, Any]:
    """The numbers of all experiments, by experiment."""
    classes, geometry = parts["latent classes"].results, parts["geometry"].results
    return {
        "nrn": vars(classes["mean_nrn"]) | {"activation_weighted": classes["mean_nrn_activation_weighted"]},
        "survivors": classes["survivors"],
        "reconstruction": parts["reconstruction"].results,
        "ablation": parts["ablation"].results["ablation"],
        "off_target": parts["ablation"].results["off_target"],
        "ablation_paper": parts["ablation, the paper's way"].results["ablation"],
        "steering": parts["steering"].results["steering"],
        "steering_against_chance": parts["steering"].results["against_chance"],
        "geometry": {
            name: {
                model: _geometry_results(measured["dims"][DIMS], geometry["words"][name]["pairs"])
                for model, measured in found["models"].items()
            }
            for name, found in geometry["classes"].items()
        },
        "layer_divergence": parts["layer divergence"].results,
    }


def _geometry_results(found: Mapping[str, Any], n_pairs: int) -> dict[str, Any]:
    kept = {measure: found[measure] for measure in ("mean", "shuffled", "gap", "ratio", "n_quadruples")}
    return kept | {"n_pairs": n_pairs}
