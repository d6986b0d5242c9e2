"""What happens to a category's words when its latents are taken out of the models?"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.geometry.bootstrap import bootstrap_mean
from toolkit.interventions.ablation import Method, Positions
from toolkit.interventions.ablation_study import (
    ARMS,
    AblationSettings,
    AblationStudy,
    CategoryAblation,
    ablation_study,
)
from toolkit.interventions.targets import OTHER
from toolkit.latents.categories import categories, load_lexicon
from toolkit.latents.firing import Place
from toolkit.latents.selection import Rule
from toolkit.latents.specificity import specific_latents
from toolkit.reports.findings import Cell, Chart, Estimate, Findings, Table
from toolkit.reports.findings_figures import effect_by_fraction, effect_matrix, logit_change_histogram
from toolkit.reports.formatting import percent
from toolkit.reports.run_report import Headline
from toolkit.runs.streams import open_mask, open_tokens
from toolkit.runs.subject import FindingsConfig, Subject

MODELS = ("base", "distilled")
PAPER = {"positions": "prefix", "select": "quantile", "place": "token", "undecided": (0.0, 1.0)}


@dataclass(frozen=True, kw_only=True)
class AblationConfig(FindingsConfig):
    """Take a category's latents out of both models and measure its words' logits, against two controls."""

    out: Path = Path("runs/ablate")
    """Folder for the page, its figures and the JSON of results."""
    lexicon: Path | None = None
    """JSON file {"category": ["word", ...]}; default: self-reflection, deductive, alternative, contrastive."""
    tokens: int = 131_072
    """Held-out tokens to look for positions in; every other document chooses the latents, the rest test them."""
    targets: int = 100
    """Positions a category, drawn without replacement."""
    shares: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    """Shares of the alive latents to take out."""
    reference: float = 0.02
    """The share that headline, histogram and matrix are about."""
    select: Rule = "lift"
    """How latents are chosen: lift, P(fire | category) / P(fire); rate, P(fire | category); or the paper's quantile."""
    place: Place = "predicting"
    """Where firings count for the choice: where the word is predicted, or on the word's token (the paper)."""
    min_nrn: float = 0.5
    """Only latents whose NRN is above this."""
    positions: Positions = "predict"
    """Where latents are taken out: at the predicting position, in the whole prefix (the paper), or all of it."""
    undecided: tuple[float, float] = (0.05, 0.9)
    """Only words to which the distilled model gives a probability in this range; 0 1 takes all."""
    paper: bool = False
    """The paper's protocol (quantile on the word's token, whole prefix, all occurrences, reconstruction spliced in),
    measured against the reconstruction without ablation."""
    control_draws: int = 3
    """Draws of each control, averaged position by position."""

    def settings(self) -> AblationSettings:
        """The study that is asked for."""
        chosen = {name: getattr(self, name) for name in PAPER} | (PAPER if self.paper else {})
        method = Method(positions=chosen.pop("positions"), spliced=self.paper)
        return AblationSettings(
            shares=self.shares, reference=self.reference, min_nrn=self.min_nrn, targets=self.targets,
            control_draws=self.control_draws, seed=self.seed, method=method, **chosen,
        )  # fmt: skip


def measure_ablation(config: AblationConfig, subject: Subject) -> AblationStudy:
    """Run the study on the subject's held-out text."""
    lexicon = categories(subject.pair.tokenizer, load_lexicon(config.lexicon))
    run = subject.config
    tokens = open_tokens(run, subject.pair, subject.corpus.held_out, batch_tokens=_batch_tokens(subject))
    batches = islice(tokens, max(1, config.tokens // _batch_tokens(subject)))
    mask = open_mask(run, subject.pair)
    return ablation_study(subject.pair, subject.crosscoder, batches, mask, lexicon, config.settings())


def _batch_tokens(subject: Subject) -> int:
    """Whole logits of half a batch are held at once, so with a large vocabulary a batch has few rows."""
    run = subject.config
    return max(2 * run.row_length, min(run.forward_tokens, 2**26 // subject.pair.vocab_size))


def ablation_results(study: AblationStudy, settings: AblationSettings) -> dict[str, Any]:
    """Every mean with its interval, as JSON: the reference share by category, then all shares."""
    share = settings.reference
    return {
        "ablation": {
            each.category.name: {
                "distilled": _value(each, share, "chosen", 1),
                "base": _value(each, share, "chosen", 0),
                "control_distilled": _value(each, share, "matched", 1),
                "random_distilled": _value(each, share, "random", 1),
                "n": len(each.targets.prefixes),
                "found": each.targets.found,
                "latents": each.latents[share],
                "matched_code": each.matched_code[share],
                "distilled_minus_control": vars(_difference(each, share, "matched")),
                "by_share": {
                    f"{s:g}": {arm: {m: vars(_estimate(each, s, arm, i)) for i, m in enumerate(MODELS)} for arm in ARMS}
                    for s in settings.shares
                },
            }
            for each in study.categories
        },
        "off_target": {
            f"{edited} on {measured}": dict(zip(MODELS, effects.logit[0].mean(dim=1).tolist(), strict=True))
            for (edited, measured), effects in study.off_target.items()
        },
    }


def ablation_findings(config: AblationConfig, subject: Subject, study: AblationStudy) -> Findings:
    """The page's content."""
    settings = config.settings()
    return Findings(
        name="ablation",
        title="Ablation: what a category's latents do for its words",
        question=(
            "Latents that fire where a category's word is predicted are taken out of the residual stream, in either"
            " model. How far does the word's logit fall, and how far for as many other latents?"
        ),
        facts=subject.facts() | _protocol(settings),
        headline=[_headline(each, settings.reference) for each in study.categories],
        tables=[
            _main_table(study, settings.reference),
            _share_table(study, settings),
            _matrix_table(study),
            _specific_table(study),
            _words_table(study),
        ],
        charts=_charts(study, settings),
        results=ablation_results(study, settings) | {"settings": _protocol(settings)},
    )


def _protocol(settings: AblationSettings) -> dict[str, str]:
    low, high = settings.undecided
    what = "the reconstruction, against the unablated one" if settings.method.spliced else "the stream, error kept"
    return {
        "chosen by": f"{settings.select} on the {settings.place} position, NRN above {settings.min_nrn:g}",
        "taken out": f"{settings.method.positions} positions, of {what}",
        "words": "all occurrences" if (low, high) == (0, 1) else f"distilled probability {low:g} to {high:g}",
        "seed": str(settings.seed),
    }


def _estimate(each: CategoryAblation, share: float, arm: str, model: int, measure: str = "logit") -> Estimate:
    changes = getattr(each.effects[share, arm], measure)[0, model]
    return Estimate(*bootstrap_mean(changes, torch.Generator().manual_seed(0)))


def _value(each: CategoryAblation, share: float, arm: str, model: int) -> float:
    return _estimate(each, share, arm, model).value


def _difference(each: CategoryAblation, share: float, control: str) -> Estimate:
    """Chosen minus control in the distilled model, position by position."""
    chosen, other = (each.effects[share, arm].logit[0, 1] for arm in ("chosen", control))
    return Estimate(*bootstrap_mean(chosen - other, torch.Generator().manual_seed(0)))


def _headline(each: CategoryAblation, share: float) -> Headline:
    change = _estimate(each, share, "chosen", 1)
    base, control = _value(each, share, "chosen", 0), _value(each, share, "matched", 1)
    return Headline(
        name=f"{each.category.name}, distilled",
        value=change.value,
        low=change.low,
        high=change.high,
        n=len(each.targets.prefixes),
        unit="positions",
        note=f"logits, top {percent(share)} of latents; base {base:.2f}, matched control {control:.2f}",
    )


def _main_table(study: AblationStudy, share: float) -> Table:
    rows: list[list[Cell]] = [
        [
            each.category.name,
            len(each.latents[share]),
            _estimate(each, share, "chosen", 1),
            _estimate(each, share, "chosen", 0),
            _estimate(each, share, "matched", 1),
            _estimate(each, share, "random", 1),
            _difference(each, share, "matched"),
            each.matched_code[share],
            _estimate(each, share, "chosen", 1, "log_probability"),
            _estimate(each, share, "chosen", 1, "rank"),
            len(each.targets.prefixes),
            each.targets.found,
        ]
        for each in study.categories
    ]
    return Table(
        title=f"Change of the word's logit, top {percent(share)} of latents",
        columns=(
            "category", "latents", "distilled", "base", "matched", "random", "chosen − matched", "match",
            "log p (nats)", "rank", "n", "found",
        ),
        rows=rows,
        note=(
            "Edited minus unedited, with 95 % bootstrap intervals over positions. matched and random: as many other"
            " alive latents, in the distilled model; matched ones fire about as strongly at these positions (match:"
            " their mean code over the chosen ones'). n positions drawn of those found."
        ),
    )  # fmt: skip


def _share_table(study: AblationStudy, settings: AblationSettings) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{each.category.name}, {percent(share)}",
            len(each.latents[share]),
            *(_estimate(each, share, arm, model) for arm in ("chosen", "matched", "random") for model in (1, 0)),
        ]
        for each in study.categories
        for share in settings.shares
    ]
    columns = [f"{arm}, {model}" for arm in ("chosen", "matched", "random") for model in ("distilled", "base")]
    return Table(
        title="By share of latents taken out",
        columns=("category, share", "latents", *columns),
        rows=rows,
        note="Change of logit. Where fewer latents are eligible than a share asks for, all of them are taken.",
    )


def _matrix_table(study: AblationStudy) -> Table:
    names = [each.category.name for each in study.categories]
    measured = [*names, OTHER]
    return Table(
        title="Off target: the same edit on other words, distilled",
        columns=("latents of", *(f"on {name}" for name in measured)),
        rows=[[edited, *(_off_target(study, edited, name) for name in measured)] for edited in names],
        note=(
            "Change of logit. Other words: positions of no category, drawn under the same rule of probability. Far from"
            " the diagonal an effect should be small if latents are specific to their category."
        ),
    )


def _off_target(study: AblationStudy, edited: str, measured: str) -> Estimate:
    changes = study.off_target[edited, measured].logit[0, 1]
    return Estimate(*bootstrap_mean(changes, torch.Generator().manual_seed(0)))


def _specific_table(study: AblationStudy) -> Table:
    found = specific_latents(study.counts)
    return Table(
        title="Latents specific to a category",
        columns=("category", "counted on", "specific", "best", "lift", "other lift", "fires on", "NRN"),
        rows=[
            [
                s.category,
                s.place,
                s.n,
                f"#{s.latent}",
                s.lift,
                s.other_lift,
                percent(s.rate),
                float(study.nrn[s.latent]),
            ]
            for s in found
        ],
        note=(
            "Specific: lift for its own category at least 3 times that for any other, firing on at least 5 % of the"
            " category's positions. best: the one that fires on most of them. Categories without one are not listed."
        ),
    )


def _words_table(study: AblationStudy) -> Table:
    return Table(
        title="Words",
        columns=("category", "tokens (ids)"),
        rows=[
            [c.name, ", ".join(f"{t!r} ({i})" for t, i in zip(c.tokens, c.token_ids, strict=True))]
            for c in (each.category for each in study.categories)
        ],
        note="Forms that are single tokens of this tokenizer, over leading space and capital or small letter.",
    )


def _charts(study: AblationStudy, settings: AblationSettings) -> list[Chart]:
    share = settings.reference
    charts = []
    for each in study.categories:
        name, stem = each.category.name, each.category.name.replace(" ", "-")
        chosen, matched = (each.effects[share, arm].logit[0] for arm in ("chosen", "matched"))
        histogram = logit_change_histogram(_array(chosen[0]), _array(chosen[1]), _array(matched[1]), name)
        by_share = {
            model: {arm: [_estimate(each, s, arm, index) for s in settings.shares] for arm in ARMS}
            for index, model in enumerate(MODELS)
        }
        caption = (
            f"{name}: change of the word's logit, top {percent(share)} of latents; the control is the matched one."
        )
        charts.append(Chart(name=f"histogram_{stem}", figure=histogram, caption=caption))
        caption = f"{name}: mean change by share of latents taken out, bands 95 % intervals."
        charts.append(
            Chart(name=f"by_share_{stem}", figure=effect_by_fraction(settings.shares, by_share, name), caption=caption)
        )
    names = [each.category.name for each in study.categories]
    matrix = np.array([[_off_target(study, edited, on).value for on in [*names, OTHER]] for edited in names])
    figure = effect_matrix(matrix, names, [*names, OTHER], "Change of logit, distilled")
    charts.append(Chart(name="off_target", figure=figure, caption="Rows: whose latents are out; columns: whose words."))
    return charts


def _array(values: Tensor) -> np.ndarray:
    return values.numpy()
