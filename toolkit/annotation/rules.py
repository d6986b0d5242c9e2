"""An annotator without a model: fixed rules choose a category, and an explanation that they can apply themselves.

A category of reasoning is given to a latent much of whose activation is under that category's words, and far more than
of all text. Else the kind of its tokens decides. What remains is uninterpretable.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product

from toolkit.annotation.evidence import Evidence, Passage
from toolkit.annotation.labels import CATEGORIES, Category, Label, Unscored
from toolkit.annotation.markers import MARKERS, markers_over
from toolkit.annotation.predicates import KINDS, Kind, Predicate, is_kind, parse_predicate

LEAST_SHARE = 0.25
"""Of a latent's activation, at least so much must be where a category is, for the category to be its own."""
LEAST_LIFT = 2.0
"""And so many times as much as of all text."""
MOST = 0.5
"""More than half of a latent's activation on tokens of one kind, or on few tokens, makes it one of that kind."""
FEW_TOKENS = 6
"""Tokens that count as few."""
LISTED_TOKENS = 12
"""Tokens that an explanation lists at most."""
LEAST_GAIN = 0.02
"""F1 that each further condition of an explanation must add."""
REGION_SHARE = 0.8
"""A part of answers that holds so much of the activation is named."""
_RATES = (0.1, 0.25, 0.5, 0.75)
"""A list in an explanation has tokens on which the latent fires in at least such a share of cases; the best is kept."""
_KIND_CATEGORIES: dict[Kind, Category] = {
    "numbers": "domain",
    "operators": "domain",
    "punctuation": "formatting",
    "white space": "formatting",
    "words of another language": "language",
}


@dataclass(frozen=True, kw_only=True)
class RulesAnnotator:
    """Labels latents by rules; the same evidence always gets the same label."""

    background: Mapping[Category, float]
    """Share of all tokens that are under a word of each category of reasoning, from `MarkerCounts`."""
    spans: Mapping[int | str, Category] = field(default_factory=dict)
    """Of latents whose firings are known to lie in labelled spans, the category of these; it goes before all rules."""
    name: str = "rules"

    def explain(self, evidence: Evidence) -> Label:
        """Label a latent from the passages that explain it, its lifts, and the regions where it fires."""
        seen = _Seen.of(evidence.explaining)
        category = self.spans.get(evidence.latent) or self._reasoning(seen, evidence.lifts or {}) or _kind_of(seen)
        region = max((evidence.regions or {}).items(), key=lambda each: each[1], default=("", 0.0))
        where = f"; {region[1]:.0%} of its activation is in the {region[0]}" if region[1] >= REGION_SHARE else ""
        return Label(category=category, explanation=f"{best_predicate(seen)}{where}")

    def detect(self, explanation: str, passages: Sequence[Passage]) -> list[bool] | Unscored:
        """Tell in which passages the explanation's predicate holds somewhere."""
        predicate = parse_predicate(explanation)
        if predicate is None:
            return _in_other_words(explanation)
        return [any(predicate.holds(passage.tokens)) for passage in passages]

    def fuzz(self, explanation: str, marked: Sequence[tuple[Passage, frozenset[int]]]) -> list[bool] | Unscored:
        """Tell for which passages the explanation's predicate holds at half of the marked tokens or more."""
        predicate = parse_predicate(explanation)
        if predicate is None:
            return _in_other_words(explanation)
        held = ((predicate.holds(passage.tokens), tokens) for passage, tokens in marked)
        return [sum(holds[token] for token in tokens) >= len(tokens) / 2 for holds, tokens in held]

    def _reasoning(self, seen: "_Seen", lifts: Mapping[str, float]) -> Category | None:
        """The category of reasoning whose words stand out most, if any does."""
        shares = {category: seen.mass_where(seen.under, category) for category in MARKERS}
        by_words = {category: shares[category] / max(self.background.get(category, 0.0), 1e-6) for category in MARKERS}
        # A lexicon's category is counted on all text, so it is the better known lift where it is the larger.
        known = {category: max(by_words[category], lifts.get(category, 0.0)) for category in MARKERS}
        standing = [c for c in MARKERS if shares[c] >= LEAST_SHARE and known[c] >= LEAST_LIFT]
        return max(standing, key=known.__getitem__, default=None)


def _in_other_words(explanation: str) -> Unscored:
    return Unscored(reason=f"the rules can apply only explanations of their own form, not {explanation[:40]!r}")


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """The tokens of all passages, one after the other."""

    tokens: tuple[str, ...]
    before: tuple[str | None, ...]
    """The token before each; None at the start of a passage."""
    under: tuple[Category | None, ...]
    codes: tuple[float, ...]

    @classmethod
    def of(cls, passages: Sequence[Passage]) -> "_Seen":
        return cls(
            tokens=tuple(chain.from_iterable(each.tokens for each in passages)),
            before=tuple(chain.from_iterable((None, *each.tokens[:-1]) for each in passages)),
            under=tuple(chain.from_iterable(markers_over(each.tokens) for each in passages)),
            codes=tuple(chain.from_iterable(each.codes for each in passages)),
        )

    def mass_where(self, values: Sequence[object], wanted: object) -> float:
        """Share of the summed codes at tokens that have a value."""
        found = sum(code for code, value in zip(self.codes, values, strict=True) if value == wanted)
        return found / (sum(self.codes) or 1.0)

    def f1(self, held: Sequence[bool]) -> float:
        """How well the tokens where a predicate holds are those that fire; stronger firings count for more."""
        chosen = [code for code, here in zip(self.codes, held, strict=True) if here]
        if not any(chosen):
            return 0.0
        precision = sum(code > 0 for code in chosen) / len(chosen)
        recall = sum(chosen) / sum(self.codes)
        return 2 * precision * recall / (precision + recall)


def best_predicate(seen: _Seen) -> Predicate:
    """Return the predicate with the largest F1 over the tokens, less `LEAST_GAIN` for each further condition."""
    return max(_candidates(seen), key=lambda each: each[1])[0]


def _candidates(seen: _Seen) -> Iterator[tuple[Predicate, float]]:
    everywhere = [True] * len(seen.tokens)
    under = max(MARKERS, key=lambda category: seen.mass_where(seen.under, category))
    tokens: list[frozenset[str] | Kind] = [*_token_sets(seen, seen.tokens, everywhere), *KINDS]
    for on in tokens:
        plain = Predicate(on=on)
        held = _holds(seen, plain)
        after = [frozenset[str](), *_token_sets(seen, seen.before, held)]
        for behind, sentence in product(after, (None, under)):
            if on == "any token" and not behind and not sentence:
                continue  # it would say nothing
            predicate = replace(plain, after=behind, under=sentence)
            conditions = bool(behind) + bool(sentence)
            yield predicate, seen.f1(_holds(seen, predicate, held)) - LEAST_GAIN * conditions


def _holds(seen: _Seen, predicate: Predicate, held: Sequence[bool] | None = None) -> list[bool]:
    """Where a predicate holds; `held` is where its first condition does."""
    on = held if held is not None else predicate.holds_on(seen.tokens)
    return [
        here
        and (not predicate.after or before in predicate.after)
        and (predicate.under is None or predicate.under == under)
        for here, before, under in zip(on, seen.before, seen.under, strict=True)
    ]


def _token_sets(seen: _Seen, values: Sequence[str | None], where: Sequence[bool]) -> list[frozenset[str]]:
    """Tokens with which the latent fires in at least so large a share of cases, for each of some shares."""
    here = [(value, code > 0) for value, code, is_in in zip(values, seen.codes, where, strict=True) if is_in and value]
    n, fired = Counter(value for value, _ in here), Counter(value for value, fires in here if fires)
    # One more case without a firing: a token that was seen once says little.
    sets = (
        [value for value, count in fired.most_common() if count / (n[value] + 1) >= rate][:LISTED_TOKENS]
        for rate in _RATES
    )
    return list(dict.fromkeys(frozenset(each) for each in sets if each))


def _kind_of(seen: _Seen) -> Category:
    """The category by the tokens alone."""
    for kind, category in _KIND_CATEGORIES.items():
        if seen.mass_where([is_kind(token, kind) for token in seen.tokens], True) > MOST:
            return category
    masses: defaultdict[str, float] = defaultdict(float)
    for token, code in zip(seen.tokens, seen.codes, strict=True):
        masses[token] += code
    few = sum(sorted(masses.values(), reverse=True)[:FEW_TOKENS])
    return "domain" if few > MOST * sum(masses.values()) else "uninterpretable"


assert set(_KIND_CATEGORIES.values()) | set(MARKERS) < set(CATEGORIES)
