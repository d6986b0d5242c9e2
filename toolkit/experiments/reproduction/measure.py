"""The whole paper on one pair: every experiment, and its numbers beside the published ones or the truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.answers.questions import load_questions
from toolkit.artifacts import code_hash, sha256
from toolkit.dictionaries.storage import weights_hash
from toolkit.experiments.ablation import AblationConfig
from toolkit.experiments.crosscoder.measure import Evaluation, evaluate_crosscoders
from toolkit.experiments.crosscoder.page import headlines, planted_tables, seeds_tables
from toolkit.experiments.examine import examine
from toolkit.experiments.found_behaviours import behaviour_results, information_results
from toolkit.experiments.latent_classes import LatentClassesConfig
from toolkit.experiments.layer_divergence import LayerDivergenceConfig
from toolkit.experiments.reproduction import COMPARISON, PARTS, ReproductionConfig
from toolkit.experiments.reproduction.kept_parts import KeptPart
from toolkit.experiments.reproduction.page import DIMS
from toolkit.experiments.reproduction.verdicts import all_claims, verdict_numbers
from toolkit.experiments.run import Run
from toolkit.experiments.steering import SteeringConfig, Toward
from toolkit.experiments.word_geometry import WordGeometryConfig
from toolkit.fields import leaves
from toolkit.harvest.word_pairs import load_word_pairs
from toolkit.latents.behaviours import behaviour_claims
from toolkit.latents.categories import load_lexicon
from toolkit.leaving_out import check_any
from toolkit.models.files.identity import fingerprint
from toolkit.models.model_set import ModelSet
from toolkit.models.presets import find_pair
from toolkit.outputs import OutputFolder
from toolkit.reports.console import RunConsole
from toolkit.reports.findings import Findings
from toolkit.settings.models import ControlledModels

SHORTER = ("deductive",)
STRENGTHS = (-0.2, -0.1, 0.1, 0.2)
"""Those that slopes are measured between, which verdicts are about, and what twice as much costs."""
CANDIDATES = 10
"""Latents of each category and crosscoder that steering picks from."""
SHARES = (0.005, 0.02, 0.1)
"""Of the latents that our ablation takes out; claims are about the middle one."""
PAPER_TARGETS = 50
"""Positions of each category in the paper's protocol, which claims nothing and edits whole prefixes."""


@dataclass(frozen=True)
class Experiment:
    """A part of the reproduction, ready to examine a run."""

    find: Callable[[Run], Findings]
    settings: Any = None
    """Its settings, where it has any of its own."""


def experiments(config: ReproductionConfig) -> dict[str, Experiment]:
    """Every experiment by name; raises `ValueError` for settings or files that one of them refuses."""
    aims: dict[str, Toward] = {
        name: "shorter" if name in SHORTER else "longer" for name in load_lexicon(config.lexicon)
    }
    if config.questions:
        load_questions(config.questions)
    if config.words:
        load_word_pairs(config.words)
    alike: dict[str, Any] = {"seed": config.seed, "where": config.where}
    of_run = alike | {"crosscoder": config.crosscoder, "tokens": config.tokens, "lexicon": config.lexicon}
    both = alike | {"models": ControlledModels(control=config.models.control)}
    ablation = AblationConfig(**of_run, undecided=config.undecided, shares=SHARES)
    paper = AblationConfig(**of_run, paper=True, shares=(ablation.reference,), control_draws=1, targets=PAPER_TARGETS)
    questions = {"questions": config.questions, "development": config.development, "test": config.test}
    steering = SteeringConfig(**of_run | questions, aims=aims, strengths=STRENGTHS, candidates=CANDIDATES)
    geometry = WordGeometryConfig(**both, words=config.words)
    divergence = LayerDivergenceConfig(**both, tokens=config.tokens)
    classes = LatentClassesConfig(**of_run)
    return {
        "reconstruction": Experiment(find_reconstruction),
        "latent classes": Experiment(partial(examine, classes), classes),
        "ablation": Experiment(partial(examine, ablation), ablation),
        "ablation, the paper's way": Experiment(partial(find_paper_ablation, paper), paper),
        "steering": Experiment(partial(examine, steering), steering),
        "geometry": Experiment(partial(find_geometry, geometry), geometry),
        "layer divergence": Experiment(partial(examine, divergence), divergence),
    }


def find_parts(
    config: ReproductionConfig, run: Run, origin: Mapping[str, Any], console: RunConsole
) -> tuple[dict[str, Findings], dict[str, str]]:
    """What the experiments find, each written when it is finished, and why some find nothing, by name.

    A part that an earlier call finished in the same folder, of the same settings, crosscoder, models, text and code, is
    taken up again. Raises `ValueError` where none finds anything.
    """
    asked = experiments(config)
    parts: dict[str, Findings] = {}
    left_out: dict[str, str] = {}
    outputs = OutputFolder(config.output.out, (COMPARISON,))
    same = made_of(config, run, origin)
    kept = {name: KeptPart.of(config.output.out / PARTS, name, same | _settings(each)) for name, each in asked.items()}
    for number, (name, experiment) in enumerate(asked.items(), start=1):
        label = f"{number} of {len(asked)}: {name}"
        before, why = kept[name].load()
        if before is not None and (page := config.output.out / f"{before.name}.html").exists():
            console.note(f"{label}: finished by an earlier call, {page}")
            parts[name] = before
            continue
        console.note(f"{label}: found again, for {why}" if why else label)
        try:
            with console.stage(name):
                found = experiment.find(run)
        except ValueError as error:
            left_out[name] = str(error)
            console.warn(f"{name} is left out: {error}")
            continue
        replace(found, provenance=origin).save(config.output.out)
        with outputs.writing(f"{PARTS}/{kept[name].path.name}"):
            parts[name] = kept[name].save(found)
    check_any(parts, left_out)
    return parts, left_out


def made_of(config: ReproductionConfig, run: Run, origin: Mapping[str, Any]) -> dict[str, Any]:
    """What all parts depend on; files that some of them are given count for those."""
    given = {sha256(path) for path in (config.lexicon, config.questions) if path}
    inputs = {name: value for name, value in origin["sha256"].items() if value not in given}
    return {
        "run": run.reading.settings(),
        "crosscoders": _weights(run),
        "null run": _null_run(run.null) if run.null else {},
        "layer": run.named_layer,
        "code": code_hash(),
        **{name: value for name, value in origin.items() if name not in ("command", "commit", "machine")},
        "sha256": inputs,
    }


def _weights(run: Run) -> dict[str, str]:
    """Hash of each seed's crosscoder."""
    return {str(seed): weights_hash(crosscoder.state_dict()) for seed, crosscoder in run.crosscoders.items()}


def _null_run(null: Run) -> dict[str, Any]:
    """The null pair's models and crosscoders; its text is that of the run."""
    named, remote = null.settings.models, null.settings.where.remote
    sources = find_pair(named.pair, named.base, named.distilled).models
    return {
        "models": [fingerprint(source, remote=remote) for source in sources],
        "crosscoders": _weights(null),
    }


def _settings(experiment: Experiment) -> dict[str, Any]:
    """The part's own settings, and the content of files that they name."""
    settings = dict(leaves(experiment.settings)) if experiment.settings else {}
    files = [path for path in settings.values() if isinstance(path, Path) and path.is_file()]
    files += [each.source for each in load_word_pairs(settings["words"])] if settings.get("words") else []
    own = {name: value for name, value in settings.items() if name not in ("out", "run", "other_models", "layer")}
    return {"settings": own, "files": {str(path): sha256(path) for path in files}}


def find_reconstruction(run: Run) -> Findings:
    """How good the crosscoder is on held-out text, and how well it finds what was planted there."""
    read = run.reading
    evaluation = evaluate_crosscoders(read.text, read.mask, run.models, run.corpus, run.crosscoders, seed=read.seed)
    return Findings(
        name="reconstruction",
        title="Reconstruction: what the crosscoder keeps of both models",
        question="How much of either model's residual stream does the crosscoder give back?",
        facts=run.facts(),
        headline=headlines(evaluation, run.models),
        tables=[*planted_tables(evaluation), *seeds_tables(evaluation, run.models)],
        charts=[],
        claims=behaviour_claims(evaluation.behaviours or ()),
        results=_reconstruction_results(evaluation, run.models),
    )


def _reconstruction_results(evaluation: Evaluation, models: ModelSet) -> dict[str, Any]:
    """Every number of the evaluation; `seeds` holds each crosscoder's own figures, and what it finds of behaviours."""
    measured, found = evaluation.metrics(models), behaviour_results(evaluation.behaviours or ())
    of_seed = {
        seed: each | {"behaviours": {of["behaviour"]: of["seeds"][seed] for of in found["behaviours"]}}
        for seed, each in measured["seeds"].items()
    }
    information = information_results(evaluation.information) if evaluation.information else {}
    return measured | found | information | {"seeds": of_seed}


def find_paper_ablation(asked: AblationConfig, run: Run) -> Findings:
    """The same by the paper's protocol, at the reference share, against the unablated reconstruction.

    It claims nothing: its words are those of our ablation, and its controls do not bind.
    """
    findings = examine(asked, run)
    return replace(findings, name="ablation_paper", title=f"{findings.title}, the paper's protocol", claims=())


def find_geometry(asked: WordGeometryConfig, run: Run) -> Findings:
    """Word pairs in both models, at the site of edits."""
    return examine(asked, replace(run.models, layers=(run.layer,)))


def reproduction_results(parts: Mapping[str, Findings]) -> dict[str, Any]:
    """The numbers of all experiments that found something, by experiment; those of each crosscoder under `seeds`."""
    found = {name: part.results for name, part in parts.items()}
    results: dict[str, Any] = {
        "seeds": {name: each["seeds"] for name, each in found.items() if "seeds" in each},
        "verdicts": verdict_numbers(all_claims(parts)),
    }
    if classes := found.get("latent classes"):
        mean = {name: getattr(classes["mean_nrn"], name) for name in ("value", "low", "high", "note")} | {
            "activation_weighted": classes["mean_nrn_activation_weighted"],
            "neutral": classes["neutral"],
            "training_units": classes["mean_nrn_training_units"],
        }
        results |= {"nrn": mean, "survivors": classes["survivors"]}
    if reconstruction := found.get("reconstruction"):
        results["reconstruction"] = reconstruction
    if ablation := found.get("ablation"):
        results |= {"ablation": ablation["ablation"], "off_target": ablation["off_target"]}
    if paper := found.get("ablation, the paper's way"):
        results["ablation_paper"] = paper["ablation"]
    if steering := found.get("steering"):
        results |= {"steering": steering["steering"], "steering_against_chance": steering["against_chance"]}
    if geometry := found.get("geometry"):
        results["geometry"] = {
            name: {
                model: _geometry_results(measured["dims"][DIMS], geometry["words"][name]["pairs"])
                for model, measured in of_class["models"].items()
            }
            for name, of_class in geometry["classes"].items()
        }
    if divergence := found.get("layer divergence"):
        results["layer_divergence"] = divergence
    return results


def _geometry_results(found: Mapping[str, Any], n_pairs: int) -> dict[str, Any]:
    kept = {measure: found[measure] for measure in ("mean", "shuffled", "gap", "ratio", "n_quadruples")}
    return kept | {"n_pairs": n_pairs}
