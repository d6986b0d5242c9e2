"""One tokenizer for both models of a pair: do the same ids mean the same thing?"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

NO_TOKEN = "(no token)"

Clashes = dict[int, tuple[str, str]]
"""Id -> (what it means to the base model, what it means to the distilled model)."""


def check_same_tokens(base: PreTrainedTokenizerBase, distilled: PreTrainedTokenizerBase) -> Clashes:
    """Find the special and added ids that mean different things to the two models of a pair.

    An id that begins (or ends) a text in both tokenizers means the same whatever its name. An id that
    only one tokenizer has counts as a clash.
    Raises `ValueError` when ordinary tokens differ: then the models cannot read the same ids at all.
    """
    base_tokens, distilled_tokens = tokens_by_id(base), tokens_by_id(distilled)
    added = base.added_tokens_decoder.keys() | distilled.added_tokens_decoder.keys()
    same_role = {base.bos_token_id} & {distilled.bos_token_id} | {base.eos_token_id} & {distilled.eos_token_id}
    differing = {
        token_id: (base_tokens.get(token_id, NO_TOKEN), distilled_tokens.get(token_id, NO_TOKEN))
        for token_id in sorted(base_tokens.keys() | distilled_tokens.keys())
        if base_tokens.get(token_id) != distilled_tokens.get(token_id)
    }
    ordinary = {token_id: names for token_id, names in differing.items() if token_id not in added}
    if ordinary:
        raise ValueError(
            f"the two vocabularies differ in {len(ordinary)} ordinary tokens (base has {len(base_tokens)} "
            f"ids, distilled {len(distilled_tokens)}), for example {describe_clashes(ordinary)}. "
            "Both models must read the same ids: choose a pair with one vocabulary."
        )
    return {token_id: names for token_id, names in differing.items() if token_id not in same_role}


def describe_clashes(clashes: Clashes, limit: int = 8) -> str:
    """Name the first `limit` ids of `clashes` and what each means to the base and the distilled model."""
    shown = [f"{i} (base {a!r}, distilled {b!r})" for i, (a, b) in list(clashes.items())[:limit]]
    hidden = len(clashes) - len(shown)
    return ", ".join(shown) + (f" and {hidden} more" if hidden else "")


def check_embedded(input_ids: Int[Tensor, "row position"], n_embeddings: int, clashes: Clashes) -> None:
    """Raise `ValueError` for tokens, by name, that were added to one model and have no embedding in the other."""
    beyond = set(input_ids[input_ids >= n_embeddings].tolist())
    if added := {token_id: clashes[token_id] for token_id in sorted(beyond & clashes.keys())}:
        raise ValueError(
            f"the text uses ids that not both models have an embedding for: {describe_clashes(added)}. Leave them out"
        )


def check_meaning(
    input_ids: Int[Tensor, "row position"],
    attention_mask: Int[Tensor, "row past_and_position"],
    clashes: Clashes,
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
        names = describe_clashes({token_id: clashes[token_id] for token_id in input_ids[used].unique().tolist()})
        raise ValueError(
            f"the text uses ids that mean different things to the two models: {names}. Leave them out, "
            "or load the pair with clashes='allow' to let each model read them in its own way."
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
    """The text with U+FFFD for each half of a surrogate pair, which is no character and has no token."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def tokens_by_id(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Every token of a vocabulary, added ones too."""
    return {token_id: token for token, token_id in tokenizer.get_vocab().items()}
