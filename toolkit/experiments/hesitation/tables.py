"""The tables of the hesitation page."""

from toolkit.adapters.latent_names import latent_name
from toolkit.answers.means import means
from toolkit.experiments.hesitation import HesitationConfig
from toolkit.experiments.hesitation.interventions import MATCHED, RANDOM, UNCHANGED, Intervention
from toolkit.experiments.hesitation.measure import PLANTED_DOCUMENTS, Measured
from toolkit.formatting import percent
from toolkit.reports.findings import Cell, Share, Table
from toolkit.statistics.estimates import GIVEN_ONE_ADAPTER

TITLES: dict[Intervention, str] = {
    "off": "Necessary? The adapter without the latents",
    "added": "Sufficient? The hybrid with the latents added",
    "transfer": "Transferred? The distilled model with the latents at",
}
CONTROL_NOTE = (
    f"{RANDOM}: as many other latents that fire. {MATCHED}: for each latent another one of its layer that adds about as"
    " much to the stream on average over tokens."
)


def threshold_table(settings: HesitationConfig, found: Measured) -> Table:
    """What a score must exceed, and how many latents' scores do."""
    kinds = {"output": found.latents.output, "template": found.latents.template}
    nulls = list(dict.fromkeys(name for chosen in kinds.values() for name in chosen.thresholds))
    output = (
        "mean logit of the words less that of the vocabulary, of the decoder row alone"
        if settings.rule == "lens"
        else "nats of log odds of a hesitation word where one comes next, activation × gradient"
    )
    return Table(
        title="Thresholds",
        columns=("latents", "could be chosen", *nulls, "chosen", "by chance"),
        rows=[
            [
                kind,
                chosen.n_eligible,
                *(_small(chosen.thresholds.get(name)) for name in nulls),
                len(chosen.latents),
                chosen.expected_false,
            ]
            for kind, chosen in kinds.items()
        ],
        note=(
            f"{settings.quantile:g} quantiles of the scores that latents would have if their decoder rows were other"
            f" vectors as long; a score must exceed each of them, and 0. Score of output latents: {output}; of"
            " template latents: the same by way of output latents' activations at formatting positions. by chance: how"
            " many latents with random rows would be chosen. Where no more are chosen than by chance, a single one"
            " means nothing, and only what all of them do is tested, against controls."
            f" {found.latents.tokens:,} tokens, {found.latents.words:,} hesitation words,"
            f" {found.latents.formatting:,} formatting positions."
        ),
    )


def _small(value: float | None) -> str | None:
    return None if value is None else f"{value:.2g}"


def layer_table(found: Measured) -> Table:
    """How many latents of each layer were chosen."""
    latents = found.latents
    alive = latents.alive.sum(dim=1).tolist()
    counts = [
        [sum(layer == at for at, _ in chosen.latents) for layer in range(len(alive))]
        for chosen in (latents.output, latents.template)
    ]
    rows: list[list[Cell]] = [[str(layer), *cells] for layer, cells in enumerate(zip(alive, *counts, strict=True))]
    n = latents.alive.numel()
    rows.append(["all", sum(alive), *(Share(part=f"{sum(column):,}", share=sum(column) / n) for column in counts)])
    return Table(
        title="Hesitation latents by layer",
        columns=("layer", "alive", "output", "template"),
        rows=rows,
        note=f"alive: latents that fire on any of {latents.tokens:,} held-out tokens. Shares are of all {n:,} latents.",
    )


def intervention_table(name: Intervention, settings: HesitationConfig, found: Measured) -> Table:
    """Every arm's answers, with their changes from the unchanged mode's."""
    done = found.interventions[name]
    unchanged = means(done.unchanged, 0)
    rows: list[list[Cell]] = [
        [UNCHANGED[name], 0, unchanged["hesitation"], None, unchanged["length"], None, unchanged["correct"], None]
    ]
    rows += [
        [
            arm,
            len(found.arms[arm][0]),
            *(
                cell
                for measure in ("hesitation", "length", "correct")
                for cell in (done.mean(measure, arm), done.change(measure, arm))
            ),
        ]
        for arm in done.arms
    ]
    return Table(
        title=TITLES[name] + (f" {settings.transfer:g}" if name == "transfer" else ""),
        columns=("arm", "latents", "hesitation", "change", "length", "change", "accuracy", "change"),
        rows=rows,
        note=(
            f"Means over {len(found.questions)} questions with 95 % intervals, of controls over their"
            f" {settings.control_draws} draws too, {GIVEN_ONE_ADAPTER}; changes are from {UNCHANGED[name]}, question by"
            " question. hesitation: hesitation words per 1,000 tokens; length: tokens until </think>. " + CONTROL_NOTE
        ),
    )


def text_table(found: Measured) -> list[Table]:
    """What predictions of held-out text become without the latents; no table where no such text is left."""
    on_text = found.on_text
    if on_text is None:
        return []
    rows: list[list[Cell]] = [
        [arm, len(found.arms[arm][0]), on_text.mean_probability(arm), on_text.cut(arm), on_text.cost(arm)]
        for arm in on_text.arms
    ]
    documents, words = on_text.loss.shape[1], on_text.probability.shape[1]
    return [
        Table(
            title="On text: the adapter without the latents",
            columns=("arm", "latents", "P(hesitation)", "cut", "loss elsewhere"),
            rows=rows,
            note=(
                f"P(hesitation): mean probability of hesitation words at the {words:,} tokens of {documents:,} held-out"
                " documents that one follows; of the unchanged adapter"
                f" {float(on_text.probability[0].mean()):.3f}. cut: share of that. loss elsewhere: rise of −log p of"
                " all other next tokens, in nats. No latent was chosen on these documents. Answers can differ: a"
                " wrong step that follows gives other occasions to hesitate."
            ),
        )
    ]


def latent_table(found: Measured) -> Table:
    """Each chosen latent, with what its row promotes."""
    latents = found.latents
    rows: list[list[Cell]] = [
        [
            latent_name(latent),
            kind,
            _small(float(chosen.scores[latent])),
            _small(float(latents.attribution[latent])),
            percent(float(latents.rate[latent])),
            percent(float(latents.at_words[latent])),
            " ".join(map(repr, found.promoted[latent])),
        ]
        for kind, chosen in (("output", latents.output), ("template", latents.template))
        for latent in chosen.latents
    ]
    return Table(
        title="Hesitation latents",
        columns=("latent", "kind", "score", "attribution", "fires", "before hesitation", "promotes"),
        rows=rows,
        note=(
            "latent: layer/index. attribution: nats of log odds that it adds to a hesitation word where one comes next."
            " fires: share of tokens; before hesitation: share of the tokens that such a word follows. promotes: tokens"
            " with the largest logits of its decoder row alone."
        ),
        detail=True,
    )


def planted_table(found: Measured) -> list[Table]:
    """How well the latents tell the planted spans; no table where there are none."""
    planted = found.planted
    if planted is None:
        return []
    rows: list[list[Cell]] = [
        [name, each.auroc, each.floor, each.margin, planted.ceiling]
        for name, each in (("best latent", planted.one), ("several together", planted.together))
    ]
    return [
        Table(
            title="Planted self-reflection",
            columns=("hesitation latents", "AUROC", "random directions", "margin", "linear probe"),
            rows=rows,
            note=(
                f"AUROC of activations for tokens of planted self-reflection ({planted.n_tokens:,} tokens,"
                f" {planted.n_documents:,} documents that test, of {PLANTED_DOCUMENTS}); latents are chosen among the"
                " hesitation latents on other documents. random directions: the best of as many, that fire as often."
            ),
        )
    ]
