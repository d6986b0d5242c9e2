"""An annotator made of prompts and replies, wherever the replies come from."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from toolkit.annotation.evidence import Evidence, Passage
from toolkit.annotation.labels import Label, Unscored
from toolkit.annotation.prompts import detection_prompt, explanation_prompt, fuzzing_prompt, prompt_after_unusable
from toolkit.annotation.replies import ANOTHER_TRY_HELPS, Reply, answer_of, read_answers, read_label

Found = TypeVar("Found")


class PromptedAnnotator(ABC):
    """Labels latents and judges passages by what replies to prompts say; all passages of a call are in one prompt."""

    @abstractmethod
    def _reply(self, prompt: str, typical: str) -> Reply | Unscored:
        """Return the reply to a prompt, of which `typical` is an example that can be read."""

    def explain(self, evidence: Evidence) -> Label | Unscored:
        """Label a latent from its passages to explain and the tokens that it promotes."""
        # Each latent's differs, as explanations do: an explanation is tested beside another one.
        sentence = f"Latent {evidence.latent} fires on {'some word ' * 12}."
        typical = json.dumps({"explanation": sentence, "category": "uninterpretable"})
        return self._asked(explanation_prompt(evidence), typical, read_label)

    def detect(self, explanation: str, passages: Sequence[Passage]) -> list[bool] | Unscored:
        """Tell in which of the passages a latent of this explanation fires."""
        return self._judged(detection_prompt(explanation, passages), len(passages))

    def fuzz(self, explanation: str, marked: Sequence[tuple[Passage, frozenset[int]]]) -> list[bool] | Unscored:
        """Tell for each passage whether the marked tokens are those on which a latent of this explanation fires."""
        return self._judged(fuzzing_prompt(explanation, marked), len(marked))

    def _judged(self, prompt: str, n: int) -> list[bool] | Unscored:
        return self._asked(prompt, str([0] * n), partial(read_answers, n=n))

    def _asked(self, prompt: str, typical: str, read: Callable[[str], Found | Unscored]) -> Found | Unscored:
        """Return what a reply says, or a second one where the first cannot be used and another may be."""
        found = _read(self._reply(prompt, typical), read)
        if isinstance(found, Unscored) and found.reason in ANOTHER_TRY_HELPS:
            found = _read(self._reply(prompt_after_unusable(prompt, found.reason), typical), read)
        return found


def _read(reply: Reply | Unscored, read: Callable[[str], Found | Unscored]) -> Found | Unscored:
    answer = answer_of(reply) if isinstance(reply, Reply) else reply
    return answer if isinstance(answer, Unscored) else read(answer)
