"""The words in which arms are named: a model, and what is done to it, as "distilled + steer 623 0.1"."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

Verb = Literal["steer", "ablate", "set", "random"]
MODELS = ("base", "distilled", "control", "hybrid", "adapter")
ADAPTED = ("hybrid", "adapter")
"""Modes of an adapted model."""
READ = ("base", "distilled")
"""The models that a crosscoder reads, so that its codes are known of them."""
WITHOUT, PLAINLY = "without", "plainly"
FORMS: dict[Verb, str] = {
    "steer": "steer 623 0.1",
    "ablate": "ablate 623",
    "set": "set 623 2.0",
    "random": "random 0 0.1",
}
"""An example of each edit: its verb, latents joined by commas or the number of a random direction, and how much."""

COUNTS = {0: "no number", 1: "one number", 2: "two numbers"}


@dataclass(frozen=True)
class ArmEdit:
    """One edit of an arm, as it is written."""

    verb: Verb
    numbers: tuple[int, ...]
    """Latents of the crosscoder; for `random` the number of the direction alone."""
    amount: float = 0.0
    """Strength as a share of the stream's mean norm; for `set` the value that codes become; 0 where they are ablated.
    """


@dataclass(frozen=True)
class Arm:
    """A model that answers, and what is done to it."""

    name: str
    """As it is written, with single spaces."""
    model: str
    plainly: bool = False
    """Whether it is asked for a worked solution in plain text, without a chat's marks and `<think>`."""
    without: tuple[str, ...] = ()
    """Latents that the adapter does without, as `layer/index`."""
    edits: tuple[ArmEdit, ...] = ()
    """Edits of the stream; at one site they are made in this order."""


def parse_arms(written: Sequence[str]) -> tuple[Arm, ...]:
    """Return the arms; raises `ValueError` as `parse_arm`, and for one that is given twice."""
    arms = tuple(map(parse_arm, written))
    names = [arm.name for arm in arms]
    if again := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"arm {again[0]!r} is given twice: give each arm once")
    return arms


def parse_arm(written: str) -> Arm:
    """Return the arm that is written as `MODEL`, `MODEL plainly` or `adapter without LAYER/INDEX …`, with or without
    edits: `MODEL + EDIT + EDIT`.

    Raises `ValueError`, with the arm and the word, for anything else.
    """
    head, *edits = (part.split() for part in written.split("+"))
    name = " + ".join(" ".join(part) for part in (head, *edits))
    if not head or head[0] not in MODELS:
        said = repr(head[0]) if head else "nothing"
        raise _refusal(name, f"{said} stands where a model should: begin with {_either(MODELS)}")
    model, *rest = head
    plainly = rest[:1] == [PLAINLY]
    return Arm(
        name=name,
        model=model,
        plainly=plainly,
        without=_without(name, model, rest[plainly:]),
        edits=tuple(_edit(name, model, words) for words in edits),
    )


def _without(name: str, model: str, rest: list[str]) -> tuple[str, ...]:
    if not rest:
        return ()
    if rest[0] != WITHOUT:
        raise _refusal(
            name, f"{rest[0]!r} follows {model!r}: put + before each edit, as in '{model} + {FORMS['steer']}'"
        )
    if model != "adapter":
        raise _refusal(name, f"{model!r} has no latents to do without: write 'adapter without 3/17', or '+ ablate 623'")
    if not rest[1:]:
        raise _refusal(name, "'without' names no latent: give layer/index, as in 'adapter without 3/17'")
    if wrong := [each for each in rest[1:] if not re.fullmatch(r"\d+/\d+", each)]:
        raise _refusal(name, f"{wrong[0]!r} is no latent of an adapter: give layer/index, as in 'adapter without 3/17'")
    return tuple(rest[1:])


def _edit(name: str, model: str, words: list[str]) -> ArmEdit:
    verb = words[0] if words else ""
    if verb not in FORMS:
        said = repr(verb) if verb else "nothing"
        raise _refusal(name, f"{said} stands where an edit should: after + write {_either(get_args(Verb))}")
    form = FORMS[verb]
    if len(words) != len(form.split()):
        found, wanted = (COUNTS.get(len(each) - 1, "more numbers") for each in (words, form.split()))
        raise _refusal(name, f"{verb!r} has {found} after it, and takes {wanted.split()[0]}: {_as(form)}")
    if verb in ("ablate", "set") and model not in READ:
        raise _refusal(name, f"{verb!r} needs codes, which are read of {_either(READ)} alone: steer {model!r} instead")
    numbers = _numbers(name, words[1], form)
    if verb == "random" and len(numbers) > 1:
        raise _refusal(name, f"{words[1]!r} names several random directions: give one number, {_as(form)}")
    return ArmEdit(verb, numbers, _amount(name, words[2], form) if len(words) > 2 else 0.0)


def _numbers(name: str, word: str, form: str) -> tuple[int, ...]:
    parts = word.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise _refusal(name, f"{word!r} is no number from 0 up, or several joined by commas: {_as(form)}")
    return tuple(dict.fromkeys(map(int, parts)))


def _amount(name: str, word: str, form: str) -> float:
    with suppress(ValueError):
        if math.isfinite(amount := float(word)):
            return amount
    raise _refusal(name, f"{word!r} is no finite number: {_as(form)}")


def _refusal(name: str, why: str) -> ValueError:
    return ValueError(f"arm {name!r}: {why}")


def _as(form: str) -> str:
    return f"write it as in '{form}'"


def _either(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"
