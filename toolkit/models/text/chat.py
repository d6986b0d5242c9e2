"""Lays out a conversation with a chat template, and keeps the reply verbatim."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from toolkit.models.text.rendering import render

OPENING, CLOSING = "<think>", "</think>"
PLACEHOLDER = "the reply stands here"


def chat_text(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[tuple[str, str]], reply: str, *, ended: bool = True
) -> str:
    """Lay out `turns`, (role, content) each, and the assistant's reply to them with the tokenizer's chat template.

    Templates of reasoning models cut the reasoning out of a reply, or put an empty one in. So the template supplies
    only the text before a reply and, if the reply has `ended`, the text after it. A `<think>` that the template puts
    before replies stays only if the reply closes a `<think>` that it does not open.
    Raises `ValueError` for a tokenizer without a template, and for turns that its template refuses.
    """
    head = _apply(tokenizer, turns, add_generation_prompt=True)
    tail = _apply(tokenizer, [*turns, ("assistant", PLACEHOLDER)]).rpartition(PLACEHOLDER)[2] if ended else ""
    if head.rstrip().endswith(OPENING) and (CLOSING not in reply or OPENING in reply):
        head = head.rstrip().removesuffix(OPENING)
    return head + reply + tail


def turns_text(tokenizer: PreTrainedTokenizerBase, turns: Sequence[tuple[str, str]], *, answering: bool) -> str:
    """Lay out a conversation; with `answering` up to where the assistant writes, at the end of its last turn.

    Raises `ValueError` as `chat_text`.
    """
    *before, (role, last) = turns
    if role == "assistant" and before:
        return chat_text(tokenizer, before, last, ended=not answering)
    return _apply(tokenizer, turns, add_generation_prompt=answering)


def _apply(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[tuple[str, str]], *, add_generation_prompt: bool = False
) -> str:
    if not tokenizer.chat_template:
        raise ValueError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template: take --template plain, in Python lay"
            " messages out as text"
        )
    messages = [{"role": role, "content": content} for role, content in turns]
    try:
        return render(tokenizer, messages, add_generation_prompt=add_generation_prompt)
    except ValueError as error:
        roles = ", ".join(role for role, _ in turns)
        raise ValueError(f"the chat template refuses turns of {roles} ({error}): take --template plain") from error


def closing_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of `</think>`; none where neither the vocabulary nor the chat template has that mark."""
    known = CLOSING in tokenizer.get_vocab() or any(mark in f"{tokenizer.chat_template}" for mark in (OPENING, CLOSING))
    return tokenizer(CLOSING, add_special_tokens=False)["input_ids"] if known else []


def thinking_prompt(tokenizer: PreTrainedTokenizerBase, question: str, *, instruction: str = "") -> str:
    """Lay out a question, and an instruction below it in the same turn, up to where the model begins to think.

    Without a chat template it is the question itself, with the instruction below it.
    """
    asked = f"{question}\n\n{instruction}" if instruction else question
    if not tokenizer.chat_template:
        return asked
    head = _apply(tokenizer, [("user", asked)], add_generation_prompt=True)
    return head if head.rstrip().endswith(OPENING) else f"{head}{OPENING}\n"
