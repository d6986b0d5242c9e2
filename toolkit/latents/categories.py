"""Categories of reasoning, such as self-reflection: the words that mark each, as single tokens of a tokenizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from toolkit.artifacts import read_json
from toolkit.latents.choices import HESITATION
from toolkit.leaving_out import TooFewError, check_any, measurable

LEXICON = Path(__file__).parents[1] / "data" / "categories.json"


@dataclass(frozen=True, kw_only=True)
class Category:
    """A category with every form of its words that is one token; it may have none."""

    name: str
    words: tuple[str, ...]
    """The words as the lexicon lists them."""
    tokens: tuple[str, ...]
    """The forms that are single tokens, with a mark for a leading space."""
    token_ids: tuple[int, ...]
    """The ids of these forms."""

    def check_tokens(self) -> None:
        """Raise `TooFewError` where no form of its words is a single token."""
        if not self.token_ids:
            forms = ", ".join(map(repr, _forms(self.words)))
            raise TooFewError(
                f"category {self.name!r}: none of {forms} is a single token of this tokenizer; give other words"
            )


def load_lexicon(path: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Read category words from a JSON file `{"category": ["word", …]}`; by default those of Baek & Tegmark 2025.

    Raises `ValueError` for a file that holds anything else.
    """
    source = path or LEXICON
    try:
        content = read_json(source, unique=True)
    except (OSError, ValueError) as error:
        raise ValueError(f'{source} cannot be read as JSON ({error}): give {{"category": ["word", …]}}') from error
    return as_lexicon(content, str(source))


def as_lexicon(content: Any, source: str = "categories") -> dict[str, tuple[str, ...]]:
    """Check category words, a list of words for each name, and return them.

    Raises `ValueError` for anything else, with `source` as the place where it stands.
    """
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f'{source} holds no categories: give {{"category": ["word", …]}}')
    lexicon = {}
    for name, words in content.items():
        if not isinstance(words, list | tuple) or not words or not all(map(_is_word, words)):
            raise ValueError(f"{source}: category {name!r} holds {words!r}: give a list of at least one word")
        lexicon[name] = tuple(dict.fromkeys(word.strip() for word in words))
    return lexicon


def _is_word(word: Any) -> bool:
    return isinstance(word, str) and bool(word.strip())


def categories(tokenizer: PreTrainedTokenizerBase, lexicon: Mapping[str, tuple[str, ...]]) -> list[Category]:
    """Expand each word over a leading space and a capital or small first letter, and keep what is a single token.

    "Wait," is two tokens in Qwen's vocabulary, " Wait" one. Raises `TooFewError` where no category has any.
    """
    found = expand(tokenizer, lexicon)
    check_any(*with_tokens(found))
    return found


def hesitation(tokenizer: PreTrainedTokenizerBase, lexicon: Sequence[Category] = ()) -> Category:
    """Return the category of a lexicon whose words count as hesitation; the shipped one where it has none.

    Raises `TooFewError` where none of its words is a single token.
    """
    own = [category for category in lexicon if category.name == HESITATION and category.token_ids]
    return (own or categories(tokenizer, {HESITATION: load_lexicon()[HESITATION]}))[0]


def expand(tokenizer: PreTrainedTokenizerBase, lexicon: Mapping[str, tuple[str, ...]]) -> list[Category]:
    """Expand words as `categories` does, but without an error where no category has a token."""
    return [_category(tokenizer, name, words) for name, words in lexicon.items()]


def with_tokens(given: Sequence[Category]) -> tuple[dict[str, Category], dict[str, str]]:
    """Return the categories that have tokens, and for each other one the reason why it cannot be measured, by name."""
    by_name = {category.name: category for category in given}

    def check(name: str) -> Category:
        by_name[name].check_tokens()
        return by_name[name]

    return measurable(by_name, check)


def _forms(words: tuple[str, ...]) -> list[str]:
    stems = dict.fromkeys(form for word in words for form in (word[0].upper() + word[1:], word[0].lower() + word[1:]))
    return [space + stem for stem in stems for space in (" ", "")]


def _category(tokenizer: PreTrainedTokenizerBase, name: str, words: tuple[str, ...]) -> Category:
    forms = _forms(words)
    encoded = tokenizer(forms, add_special_tokens=False)["input_ids"]
    single = {
        ids[0]: form
        for form, ids in zip(forms, encoded, strict=True)
        if len(ids) == 1 and ids != [tokenizer.unk_token_id]
    }
    return Category(name=name, words=words, tokens=tuple(single.values()), token_ids=tuple(single))
