"""Latents that were read over a text: what the browser, the tables and the JSON show of them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, field
from functools import cached_property
from typing import Any

from jaxtyping import Float
from torch import Tensor

from toolkit.latents.classification import LatentClasses
from toolkit.latents.examples import LatentExample, TopExamples
from toolkit.latents.firing import FiringCounts, Place
from toolkit.latents.logit_lens import TokenLens
from toolkit.leaving_out import TooFewError, measurable
from toolkit.reports.findings import Cell, Table, left_out_tables
from toolkit.reports.formatting import percent
from toolkit.reports.latent_browser import Example, LatentEntry, LatentStatistics
from toolkit.statistics import Estimate, wilson

PLACES: dict[Place, str] = {"token": "on {}", "predicting": "before {}"}
"""A category's lift on its own tokens, and on the tokens before them, where the model decides for it."""
LEAST_FIRINGS = 5
LISTED, DETAILED, EXAMPLES = 3, 8, 5


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentRecords:
    """All that was found about some latents; `lens` has a line for each of `latents`, the rest knows all latents."""

    latents: tuple[int, ...]
    """Those that are shown."""
    examples: TopExamples
    firing: FiringCounts
    classes: LatentClasses
    nu: Float[Tensor, " latent"]
    """The larger of ν^ε and ν^r; NaN for a latent that did not fire where they were measured."""
    lens: dict[str, TokenLens]
    """By model."""
    pieces: list[str]
    """Every token as text."""
    left_out: Mapping[int, str] = field(default_factory=dict)
    """Why a latent that was asked for is not shown."""

    @cached_property
    def frequency(self) -> Float[Tensor, " latent"]:
        """Share of tokens on which each latent fires."""
        return self.firing.fired / self.firing.tokens

    @cached_property
    def tags(self) -> list[str]:
        """Every latent's tag by NRN."""
        return list(self.classes.nrn_tags())

    @cached_property
    def lifts(self) -> dict[str, Float[Tensor, " latent"]]:
        """Every latent's lift for each category, on its tokens and before them."""
        return {
            name.format(category.name): self.firing.lift(place)[index]
            for index, category in enumerate(self.firing.categories)
            for place, name in PLACES.items()
        }

    def entries(self) -> Iterator[LatentEntry]:
        """What the browser shows, latent by latent."""
        return (self._entry(line, latent) for line, latent in enumerate(self.latents))

    def tokens(self, line: int, model: str, *, promoted: bool) -> list[tuple[str, float]]:
        """The tokens that a model's row of the `line`-th latent promotes or suppresses most, with their logits."""
        lens = self.lens[model]
        ids, logits = (lens.promoted, lens.promoted_logits) if promoted else (lens.suppressed, lens.suppressed_logits)
        return [
            (self.pieces[token], logit) for token, logit in zip(ids[line].tolist(), logits[line].tolist(), strict=True)
        ]

    def shown(self, example: LatentExample) -> Example:
        """An example in words."""
        return Example(
            tokens=[self.pieces[token] for token in example.token_ids],
            activations=example.activations,
            peak=example.peak,
            document=str(example.document),
        )

    def summaries(self) -> list[dict[str, Any]]:
        """The numbers of every latent, as JSON; examples are in the store."""
        return [asdict(self._statistics(latent)) for latent in self.latents]

    def _statistics(self, latent: int) -> LatentStatistics:
        return LatentStatistics(
            latent=latent,
            tag=self.tags[latent],
            nrn=float(self.classes.nrn[latent]),
            cosine=float(self.classes.cosine[latent]),
            nu=float(self.nu[latent]),
            frequency=float(self.frequency[latent]),
            lifts={name: float(lift[latent]) for name, lift in self.lifts.items()},
        )

    def _entry(self, line: int, latent: int) -> LatentEntry:
        return LatentEntry(
            statistics=self._statistics(latent),
            examples=[*map(self.shown, self.examples.strongest(latent))],
            quantile_samples=[(name, [*map(self.shown, part)]) for name, part in self.examples.quarters(latent)],
            promoted={model: self.tokens(line, model, promoted=True) for model in self.lens},
            suppressed={model: self.tokens(line, model, promoted=False) for model in self.lens},
        )


def category_tables(records: LatentRecords) -> list[Table]:
    """For each category the latents whose lift is surely large, and which categories have none."""
    seen, left_out = records.firing.seen()
    rows, without_latents = measurable(seen, lambda name: _category_rows(records, name, seen[name]))
    table = Table(
        title="Latents that fire most on each category's tokens",
        columns=("category, tokens", "latent", "lift", "P(fire | it)", "P(fire)", "NRN"),
        rows=[row for of_category in rows.values() for row in of_category],
        note="Lift is P(fire | category) / P(fire), 1 by chance, with the 95 % Wilson interval of its numerator. That"
        " takes tokens as independent, and is somewhat narrow where those of one document are alike. Of"
        f" {len(records.latents):,} shown latents at most {LISTED} a category, by low ends, chosen on these tokens.",
    )
    return [table, *left_out_tables("category", left_out | without_latents)]


def _category_rows(records: LatentRecords, name: str, index: int) -> list[list[Cell]]:
    """The best latents of a category, by the low end of the lift's interval; raises `TooFewError` where none fires."""
    firing = records.firing
    n = int(firing.n["token"][index])
    hits = {latent: int(firing.counts["token"][index, latent]) for latent in records.latents}
    shares = {latent: wilson(count, n) for latent, count in hits.items() if count >= LEAST_FIRINGS}
    if not shares:
        raise TooFewError(
            f"{name}: none of the {len(records.latents):,} shown latents fired on {LEAST_FIRINGS} of its {n:,} tokens:"
            " read more --tokens"
        )
    frequency, nrn = records.frequency, records.classes.nrn
    lifts = {
        latent: Estimate(*(bound / float(frequency[latent]) for bound in astuple(share)))
        for latent, share in shares.items()
    }
    best = sorted(lifts, key=lambda latent: lifts[latent].low or 0.0, reverse=True)[:LISTED]
    return [[f"{name}, n {n:,}", str(k), lifts[k], shares[k].value, float(frequency[k]), float(nrn[k])] for k in best]


def detail_tables(records: LatentRecords) -> list[Table]:
    """The first latents' strongest examples, with what their rows promote."""
    return [_detail_table(records, line, latent) for line, latent in enumerate(records.latents[:DETAILED])]


def _detail_table(records: LatentRecords, line: int, latent: int) -> Table:
    examples = records.examples.strongest(latent)[:EXAMPLES]
    return Table(
        title=f"Latent {latent}: {records.tags[latent]}, NRN {float(records.classes.nrn[latent]):.3f},"
        f" fires on {percent(float(records.frequency[latent]))} of tokens",
        columns=("strongest examples", "code"),
        rows=[(_marked(records.shown(example)), example.score) for example in examples],
        note="; ".join(f"{model} promotes {_words(records, line, model)}" for model in records.lens),
    )


def _words(records: LatentRecords, line: int, model: str) -> str:
    tokens = records.tokens(line, model, promoted=True)[:EXAMPLES]
    return ", ".join(token.strip() or repr(token) for token, _ in tokens)


def _marked(example: Example) -> str:
    """The example on one line, the firing token between « and »."""
    token = example.tokens[example.peak]
    space = token[: len(token) - len(token.lstrip())]
    before, after = (example.tokens[: example.peak], example.tokens[example.peak + 1 :])
    return " ".join(f"{''.join(before)}{space}«{token.strip()}»{''.join(after)}".split())
