"""The tables behind the verdicts: other words, other measures, other shares, and the words themselves."""

from toolkit.experiments.ablation import FEW_DRAWS, AblationSettings
from toolkit.experiments.ablation.results import where_undecided
from toolkit.experiments.ablation.study import AblationStudy
from toolkit.experiments.ablation.tables import latents_of, of_seeds, top
from toolkit.formatting import percent
from toolkit.interventions.targets import OTHER
from toolkit.latents.categories import Category
from toolkit.latents.selection import specific_latents
from toolkit.reports.findings import Cell, Table


def before_table(study: AblationStudy, settings: AblationSettings) -> Table:
    """The words before the edit, in both models; what base's effect is where the word is undecided for base."""
    share, first, last = settings.reference_name, study.models[0], study.last
    rows: list[list[Cell]] = []
    for name in study.names:
        effect, n = where_undecided(study, name, settings)
        probability = (study.effect(name, share, "chosen", model, "probability") for model in (last, first))
        rows.append([name, *probability, study.effect(name, share, "chosen", first), n, effect])
    low, high = settings.undecided
    return Table(
        title=f"The words before the edit, and {first}'s change where they are undecided for {first}",
        columns=("category", f"p, {last}", f"p, {first}", f"change, {first}", "undecided", f"change there, {first}"),
        rows=rows,
        note=(
            f"The words are those to which the {last} model gives a probability of {low:g} to {high:g}. A word that"
            f" {first} hardly expects can still fall: a change of logit is not bounded by its probability. undecided:"
            f" how many of the words have such a probability in {first} too."
        ),
        detail=True,
    )


def measures_table(study: AblationStudy, share: str) -> Table:
    """The same effects as log probability and as rank."""
    measures = {"log p (nats)": "log_probability", "rank": "rank"}
    arms = [(title, measure, arm) for title, measure in measures.items() for arm in ("chosen", "directions")]
    return Table(
        title=f"Change of the word's log probability and rank, {study.last}, {top(share)}",
        columns=("category", *(f"{title}, {arm}" for title, _, arm in arms)),
        rows=[
            [name, *(study.effect(name, share, arm, study.last, measure) for _, measure, arm in arms)]
            for name in study.names
        ],
        note="A positive change of rank is further from the top of the vocabulary.",
        detail=True,
    )


def share_table(study: AblationStudy, settings: AblationSettings) -> Table:
    """All shares, all arms; of the first model the chosen latents alone."""
    arms = [(arm, model) for model in reversed(study.models) for arm in study.arms(model)]
    return Table(
        title="By share of latents taken out",
        columns=("category, share", "latents", *(f"{arm}, {model}" for arm, model in arms)),
        rows=[
            [
                f"{name}, {share}",
                of_seeds(study, lambda seed, n=name, s=share: len(latents_of(study, seed, n, s))),
                *(study.effect(name, share, arm, model) for arm, model in arms),
            ]
            for name in study.names
            for share in study.own.categories[name].latents
        ],
        note=(
            "Change of logit. Where fewer latents can be chosen than a share asks for, all of them are taken. Controls"
            f" have {min(FEW_DRAWS, settings.control_draws)} draws, and {settings.control_draws} at"
            f" {settings.reference_name}."
        ),
        detail=True,
    )


def matrix_table(study: AblationStudy) -> Table:
    """What each category's latents do to every other's words."""
    return Table(
        title=f"Off target: the same edit on other words, {study.last}",
        columns=("latents of", *(f"on {on}" for on in study.words)),
        rows=[[edited, *(study.off_target(edited, on, study.last) for on in study.words)] for edited in study.names],
        note=(
            f"Change of logit. {OTHER.capitalize()}: positions of no category, drawn under the same rule of"
            " probability. Far from the diagonal an effect should be small if latents are specific to their category."
        ),
    )


def specific_table(study: AblationStudy) -> Table:
    """Latents of the run's own crosscoder that one category has to itself."""
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
                float(study.own.nrn[s.latent]),
            ]
            for s in specific_latents(study.own.counts)
        ],
        note=(
            "Of the run's own crosscoder. Specific: lift for its own category at least 3 times that for any other,"
            " firing on at least 5 % of the category's positions. best: the one that fires on most of them. Categories"
            " without one are not listed."
        ),
    )


def words_table(study: AblationStudy) -> Table:
    """Which tokens stand for which category."""
    return Table(
        title="Words",
        columns=("category", "tokens (ids)", "no single token"),
        rows=[
            [c.name, ", ".join(f"{t!r} ({i})" for t, i in zip(c.tokens, c.token_ids, strict=True)), _left_out(c)]
            for c in (each.category for each in study.own.categories.values())
        ],
        note="Forms that are single tokens of this tokenizer, over leading space and capital or small letter.",
        detail=True,
    )


def _left_out(category: Category) -> str:
    """The lexicon's words of which no form is a single token."""
    tokens = {token.strip().casefold() for token in category.tokens}
    return ", ".join(word for word in category.words if word.casefold() not in tokens) or "none"
