"""Which ids of two vocabularies are one token."""

from collections import defaultdict

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.models.text.token_texts import vocabulary_texts
from toolkit.models.text.tokenizers import tokens_by_id

NO_ID = -1


def translation(source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase) -> Int[Tensor, " source_id"]:
    """Return the target's id of each of the source's tokens, `NO_ID` where it has no such token.

    One token is what both vocabularies spell alike and decode to one text, and what is alone in both with its text. The
    token that begins a text, and the one that ends it, are the same whatever their names.
    """
    theirs = {spelled: number for number, spelled in tokens_by_id(target).items()}
    texts, their_texts = vocabulary_texts(source), vocabulary_texts(target)
    of_text, of_their_text = _by_text(texts), _by_text(their_texts)
    table = torch.full((len(texts),), NO_ID, dtype=torch.long)
    for number, spelled in tokens_by_id(source).items():
        if number >= len(texts):
            continue
        text, same = texts[number], theirs.get(spelled)
        if same is not None and same < len(their_texts) and their_texts[same] == text:
            table[number] = same
        elif len(of_text[text]) == len(of_their_text[text]) == 1:
            table[number] = of_their_text[text][0]
    for role in ("bos_token_id", "eos_token_id"):
        ours, their_id = getattr(source, role), getattr(target, role)
        if ours is not None and their_id is not None:
            table[ours] = their_id
    return table


def _by_text(texts: list[str]) -> dict[str, list[int]]:
    """Ids by their text."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        found[text].append(number)
    return found
