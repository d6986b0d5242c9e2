"""Explanations that can be applied without a model: on which tokens a latent fires, behind which, in what sentences."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from toolkit.annotation.labels import Category
from toolkit.annotation.markers import MARKERS, markers_over

Kind = Literal["any token", "numbers", "operators", "punctuation", "white space", "words of another language"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_OPERATORS = frozenset("+-*/=<>^%×÷±≤≥≠√∑")
_FOREIGN = frozenset(
    "el los las una con para por que der die das und ist ein eine mit nicht le les une avec pour est dans qui des"
    " sur".split()
)
"""Frequent words of Spanish, German and French that are no English words."""
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LIST = rf"{_QUOTED}(?:, {_QUOTED})*"
_SENTENCE = re.compile(
    rf"fires on (?P<on>{'|'.join(KINDS)}|{_LIST})(?: after (?P<after>{_LIST}))?"
    rf"(?: in sentences of (?P<under>{'|'.join(MARKERS)}))?"
)


@dataclass(frozen=True, kw_only=True)
class Predicate:
    """Tells of each token of a text whether a latent fires there; its sentence says the same."""

    on: frozenset[str] | Kind
    """These tokens, or all of a kind."""
    after: frozenset[str] = field(default=frozenset())
    """Only right after one of these tokens; after any where there are none."""
    under: Category | None = None
    """Only in sentences that a word of this category governs."""

    def __str__(self) -> str:
        """The sentence, which `parse_predicate` reads."""
        on = self.on if isinstance(self.on, str) else _listed(self.on)
        after = f" after {_listed(self.after)}" if self.after else ""
        return f"fires on {on}{after}{f' in sentences of {self.under}' if self.under else ''}"

    def holds(self, tokens: Sequence[str]) -> list[bool]:
        """Where it says that the latent fires."""
        held = self.holds_on(tokens)
        if self.after:
            held = [here and before in self.after for here, before in zip(held, (None, *tokens), strict=False)]
        if self.under:
            held = [here and word == self.under for here, word in zip(held, markers_over(tokens), strict=True)]
        return held

    def holds_on(self, tokens: Sequence[str]) -> list[bool]:
        """Where it says so by the token alone, whatever stands around it."""
        chosen = _IS[self.on] if isinstance(self.on, str) else self.on.__contains__
        return [chosen(token) for token in tokens]


def parse_predicate(explanation: str) -> Predicate | None:
    """Return the predicate that an explanation begins with; None where it is in other words."""
    found = _SENTENCE.match(explanation)
    if found is None:
        return None
    on, after, under = found["on"], found["after"], found["under"]
    return Predicate(
        on=_tokens(on) if on.startswith('"') else KINDS[KINDS.index(on)],
        after=_tokens(after) if after else frozenset(),
        under=next((category for category in MARKERS if category == under), None),
    )


def is_kind(token: str, kind: Kind) -> bool:
    """Whether a token is of a kind."""
    return _IS[kind](token)


def _is_foreign(token: str) -> bool:
    word = token.strip()
    letters = [letter for letter in word if letter.isalpha()]
    return bool(letters) and (word.lower() in _FOREIGN or any(not letter.isascii() for letter in letters))


def _is_of(characters: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda token: bool(token.strip()) and all(map(characters, token.strip()))


_IS: dict[str, Callable[[str], bool]] = {
    "any token": lambda _: True,
    "numbers": _is_of(str.isdigit),
    "operators": _is_of(_OPERATORS.__contains__),
    "punctuation": _is_of(lambda each: not each.isalnum() and each not in _OPERATORS),
    "white space": lambda token: not token.strip(),
    "words of another language": _is_foreign,
}


def _listed(tokens: frozenset[str]) -> str:
    return ", ".join(json.dumps(token, ensure_ascii=False) for token in sorted(tokens))


def _tokens(listed: str) -> frozenset[str]:
    return frozenset(json.loads(each) for each in re.findall(_QUOTED, listed))
