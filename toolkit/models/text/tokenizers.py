"""Checks that ids mean the same to several models, and encodes text."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

NO_TOKEN = "(no token)"

Clashes = dict[int, tuple[str, ...]]
"""Maps an id to its token in each of the models, in their order."""


def check_same_tokens(tokenizers: Mapping[str, PreTrainedTokenizerBase]) -> Clashes:
    """Find the special and added ids that mean different things to the models, given their tokenizers by name.

    An id that begins (or ends) a text in all tokenizers means the same whatever its name. An id that
    only some tokenizers have counts as a clash.
    Raises `ValueError` when ordinary tokens differ: then the models cannot read the same ids at all.
    """
    each, names = [tokens_by_id(tokenizer) for tokenizer in tokenizers.values()], list(tokenizers)
    added = {token_id for tokenizer in tokenizers.values() for token_id in tokenizer.added_tokens_decoder}
    begins, ends = ({getattr(each, f"{end}_token_id") for each in tokenizers.values()} for end in ("bos", "eos"))
    same_role = (begins if len(begins) == 1 else set()) | (ends if len(ends) == 1 else set())
    differing = {
        token_id: tuple(tokens.get(token_id, NO_TOKEN) for tokens in each)
        for token_id in sorted({token_id for tokens in each for token_id in tokens})
        if len({tokens.get(token_id) for tokens in each}) > 1
    }
    ordinary = {token_id: meanings for token_id, meanings in differing.items() if token_id not in added}
    if ordinary:
        sizes = ", ".join(f"{name} has {len(tokens)}" for name, tokens in zip(names, each, strict=True))
        raise ValueError(
            f"the vocabularies differ in {len(ordinary)} ordinary tokens ({sizes} ids), for example"
            f" {describe_clashes(ordinary, names)}. All models must read the same ids: choose models with one"
            " vocabulary."
        )
    return {token_id: meanings for token_id, meanings in differing.items() if token_id not in same_role}


def describe_clashes(clashes: Clashes, names: Sequence[str], limit: int = 8) -> str:
    """Name the first `limit` ids of `clashes` and what each means to the models, which have these names."""
    shown = []
    for token_id, meanings in list(clashes.items())[:limit]:
        said = ", ".join(f"{name} {meaning!r}" for name, meaning in zip(names, meanings, strict=True))
        shown.append(f"{token_id} ({said})")
    hidden = len(clashes) - len(shown)
    return ", ".join(shown) + (f" and {hidden} more" if hidden else "")


def check_embedded(
    input_ids: Int[Tensor, "row position"], n_embeddings: int, clashes: Clashes, names: Sequence[str]
) -> None:
    """Raise `ValueError` for tokens, by name, that were added to one model and have no embedding in another."""
    beyond = set(input_ids[input_ids >= n_embeddings].tolist())
    if added := {token_id: clashes[token_id] for token_id in sorted(beyond & clashes.keys())}:
        raise ValueError(
            f"the text uses ids that not all models have an embedding for: {describe_clashes(added, names)}. Leave"
            " them out"
        )


def check_meaning(
    input_ids: Int[Tensor, "row position"],
    attention_mask: Int[Tensor, "row past_and_position"],
    clashes: Clashes,
    names: Sequence[str],
    bos_id: int | None,
) -> None:
    """Raise `ValueError` for ids among the clashes, by name, but for padding and a BOS at the start of a row."""
    if not clashes:
        return
    here = slice(-input_ids.shape[1], None)
    used = torch.isin(input_ids, torch.tensor(list(clashes), device=input_ids.device)) & attention_mask[:, here].bool()
    if bos_id is not None:
        used &= (input_ids != bos_id) | (attention_mask.cumsum(dim=1)[:, here] > 1)
    if used.any():
        found = {token_id: clashes[token_id] for token_id in input_ids[used].unique().tolist()}
        raise ValueError(
            f"the text uses ids that mean different things to the models: {describe_clashes(found, names)}. Leave them"
            " out, or load the models with clashes='allow' to let each read them in its own way."
        )


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Turn each text into ids, with the BOS that the tokenizer adds by itself but never a second one."""
    texts = [well_formed(text) for text in texts]
    rows: list[list[int]] = tokenizer(texts, verbose=False)["input_ids"] if texts else []
    bos, bos_id = tokenizer.bos_token, tokenizer.bos_token_id
    if bos is None or tokenizer("")["input_ids"][:1] != [bos_id]:
        return rows
    return [row[1:] if text.startswith(bos) else row for text, row in zip(texts, rows, strict=True)]


def well_formed(text: str) -> str:
    """Return the text with U+FFFD for each half of a surrogate pair, which is not a character and has no token."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def tokens_by_id(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Return every token of a vocabulary by its id, added tokens too."""
    return {token_id: token for token, token_id in tokenizer.get_vocab().items()}
