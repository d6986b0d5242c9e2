"""The tables that say what shows: effects, margins, controls, crosscoders, the null pair."""

from collections.abc import Callable, Sequence

from toolkit.experiments.ablation import GIVEN, AblationSettings
from toolkit.experiments.ablation.claims import CONTROL_NAMES, binding
from toolkit.experiments.ablation.study import CONTROLS, AblationStudy
from toolkit.formatting import number
from toolkit.latents.selection import LIKE, LIKE_NRN
from toolkit.reports.findings import Cell, Table
from toolkit.statistics.verdicts import Claim


def top(share: str) -> str:
    """What is said of the latents at a share."""
    return "the given latents" if share == GIVEN else f"top {share} of latents"


def main_table(study: AblationStudy, settings: AblationSettings) -> Table:
    """The reference share's effects, beside every control."""
    share, last = settings.reference_name, study.last
    rows: list[list[Cell]] = [
        [
            name,
            of_seeds(study, lambda seed, name=name: len(study.seeds[seed].categories[name].latents[share])),
            *(study.effect(name, share, "chosen", model) for model in reversed(study.models)),
            *(study.effect(name, share, arm, last) for arm in CONTROLS),
            len(study.words[name].prefixes),
            len(study.words[name].documents.unique()),
            study.words[name].found,
        ]
        for name in study.names
    ]
    return Table(
        title=f"Change of the word's logit, {top(share)}",
        columns=("category", "latents", *reversed(study.models), *CONTROLS, "n", "documents", "found"),
        rows=rows,
        note=(
            f"Edited minus unedited, with 95 % intervals over {_over(study)} documents. {_chosen_by(settings)}"
            f" Controls, in the {last} model, {settings.control_draws} draws each, which are in the interval: random"
            f" vectors as long as what the chosen latents add at each position (directions), latents alike in mean code"
            f" and NRN (matched), other {'' if share == GIVEN else 'eligible '}latents (random). n positions, drawn of"
            f" those found.{_fewer(study, settings.targets)}"
        ),
    )


def _over(study: AblationStudy) -> str:
    return f"{len(study.seeds)} crosscoders and" if len(study.seeds) > 1 else "one crosscoder's"


def _chosen_by(settings: AblationSettings) -> str:
    if settings.latents or settings.select == "quantile":
        return ""
    return f"Only latents of lift {settings.least_lift:g} and more are taken, so they may be fewer than the share says."


def of_seeds(study: AblationStudy, of_seed: Callable[[int], int]) -> Cell:
    """A count, or the counts of all crosscoders in the order of their seeds."""
    found = [of_seed(seed) for seed in study.seeds]
    return found[0] if len(found) == 1 else ", ".join(map(str, found))


def _fewer(study: AblationStudy, asked: int) -> str:
    """Which categories have fewer positions than were asked for, so that their intervals are wider."""
    few = [
        f"{name}: {n} positions found of the {asked} asked for"
        for name in study.names
        if (n := study.words[name].found) < asked
    ]
    return f" {'; '.join(few)}; all are used. Raise --tokens to find more." if few else ""


def margins_table(study: AblationStudy, claimed: Sequence[Claim], share: str) -> Table:
    """All margins of all claims; a claim needs every one."""
    rows: list[list[Cell]] = [
        [claim.name, margin.over, margin.difference, margin.least, margin.difference.p_above(margin.least)]
        for claim in claimed
        for margin in claim.margins
    ]
    unmatched = [name for name in study.names if "matched" not in binding(study, name, share)]
    said = (
        f" {', '.join(unmatched)}: no latents are alike in code and NRN (mean code {LIKE[0]:g} to {LIKE[1]:g} times"
        f" the chosen ones', NRN within {LIKE_NRN:g}), so this control cannot be matched and does not count;"
        f" {CONTROL_NAMES['directions']} stand in its place."
        if unmatched
        else ""
    )
    return Table(
        title="What a fall must exceed",
        columns=("claim", "over", "margin", "least", "p"),
        rows=rows,
        note=(
            "margin: the fall less that thing, paired by position, or by document where the words differ. It must be"
            f" above the least, which was set before anything was measured.{said}"
        ),
    )


def removed_table(study: AblationStudy, share: str) -> Table:
    """How much of the stream the edit takes out, and what the same edit does to words that it is not about."""
    rows: list[list[Cell]] = []
    for name in study.names:
        match = study.own.categories[name].matches[share]
        elsewhere = [study.off_target(name, on, study.last) for on in study.elsewhere(name)]
        rows.append(
            [
                name,
                *(study.effect(name, share, arm, study.last, "removed") for arm in ("chosen", "matched", "random")),
                study.effect(name, share, "chosen", study.models[0], "removed"),
                study.effect(name, share, "chosen", study.last),
                min(elsewhere, key=lambda each: each.value) if elsewhere else None,
                study.effect(name, share, "directions", study.last),
                match.code_ratio,
                match.nrn_difference,
            ]
        )
    return Table(
        title=f"What is taken out, {study.last}, {top(share)}",
        columns=(
            "category", "share of the stream", "matched", "random", f"share, {study.models[0]}", "fall here",
            "largest fall elsewhere", "directions", "match, code", "match, NRN",
        ),
        rows=rows,
        note=(
            "Share of the stream: norm of what is taken out over that of the stream, where the word is predicted."
            " Where it is large, the latents are what the position is made of, and any word falls. match: mean code of"
            " the matched latents over that of the chosen ones, and their difference of NRN, with the run's own"
            " crosscoder."
        ),
    )  # fmt: skip


def seeds_table(study: AblationStudy, share: str) -> Table:
    """What each crosscoder gives, without intervals: how far they agree."""
    rows: list[list[Cell]] = []
    for name in study.names:
        for seed, one in study.seeds.items():
            each = one.categories[name]
            changes = {on: float(one.off_target[name, on][study.last].logit.mean()) for on in study.elsewhere(name)}
            rows.append(
                [
                    f"{name}, {seed}",
                    len(each.latents[share]),
                    *(float(each[share, "chosen"][model].logit.mean()) for model in reversed(study.models)),
                    *(float(each.best(share, arm, study.last).mean()) for arm in CONTROLS),
                    min(changes.values()) if changes else None,
                    min(changes, key=lambda on: changes[on]) if changes else "–",
                    float(each[share, "chosen"][study.last].removed.mean()),
                ]
            )
    return Table(
        title=f"Each crosscoder, {top(share)}",
        columns=(
            "category, seed", "latents", *reversed(study.models), *(f"best {arm}" for arm in CONTROLS), "elsewhere",
            "on", "share of the stream",
        ),
        rows=rows,
        note=(
            "Mean change of the word's logit with one crosscoder's latents, all on the same words. best: the draw of"
            f" the control in which the {study.last} model's logit falls furthest. elsewhere: the largest fall of other"
            " words."
        ),
    )  # fmt: skip


def overlap_table(study: AblationStudy, share: str) -> Table:
    """How many of a category's latents are other categories' too."""

    def shared(name: str, other: str) -> Cell:
        return of_seeds(
            study, lambda seed: len(latents_of(study, seed, name, share) & latents_of(study, seed, other, share))
        )

    return Table(
        title=f"Latents that categories share, {top(share)}",
        columns=("latents of", *(f"also of {other}" for other in study.names)),
        rows=[[name, *(shared(name, other) for other in study.names)] for name in study.names],
        note="By crosscoder, in the order of seeds. On the diagonal stand all latents of a category. Categories with"
        " the same latents cannot both show: the fall of one's words is not above that of the other's.",
    )


def latents_of(study: AblationStudy, seed: int, name: str, share: str) -> set[int]:
    """One crosscoder's latents of a category."""
    return set(study.seeds[seed].categories[name].latents[share])


def null_table(null: AblationStudy, claimed: Sequence[Claim], share: str, shown: int) -> Table:
    """The same claims on the pair that was not distilled, where none should show."""
    rows: list[list[Cell]] = [
        [
            name,
            *(null.effect(name, share, "chosen", model) for model in reversed(null.models)),
            null.effect(name, share, "directions", null.last),
            claim.n,
            claim.p,
        ]
        for name, claim in zip(null.names, claimed, strict=True)
    ]
    return Table(
        title=f"The null pair: the same on a model that was trained on without distillation, {top(share)}",
        columns=("category", "the model trained on", "base", "directions", "n", "p"),
        rows=rows,
        note=(
            f"{shown} of {len(rows)} show; none should. p: the largest of the claim's margins, not adjusted."
            f"{''.join(f' Left out: {why}.' for why in null.left_out.values())}"
        ),
    )


def removed_warning(study: AblationStudy, share: str, most: float) -> str:
    """What must be said where the latents are what the position is made of; empty where they are not."""
    shares = {name: study.effect(name, share, "chosen", study.last, "removed").value for name in study.names}
    large = [f"{name} {number(value)}" for name, value in shares.items() if value > most]
    if not large:
        return ""
    return (
        f"The edit takes out more than {most:g} of the stream's norm ({', '.join(large)}): the latents are what the"
        " position is made of, and the fall of the word says nothing of its category"
    )
