"""The text of single tokens: of the whole vocabulary, and of a stretch, as parts of the text that all of them make."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase


def vocabulary_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the text of every token of the vocabulary alone, by id."""
    texts: list[str] = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return texts


def token_texts(tokenizer: PreTrainedTokenizerBase, pieces: Sequence[str], token_ids: Sequence[int]) -> tuple[str, ...]:
    """Return the text of each token; joined, they are the text of all.

    `pieces` are `vocabulary_texts`. A character that is spread over several tokens
    stands at the last of them; the others have an empty text.
    """
    alone = tuple(pieces[token] for token in token_ids)
    whole = tokenizer.decode(list(token_ids))
    if "".join(alone) == whole:
        return alone
    texts, done = [""] * len(token_ids), ""
    for index in range(len(token_ids)):
        so_far = tokenizer.decode(list(token_ids[: index + 1]))
        if so_far.startswith(done) and whole.startswith(so_far):
            texts[index], done = so_far[len(done) :], so_far
    texts[-1] += whole.removeprefix(done)
    return tuple(texts)
