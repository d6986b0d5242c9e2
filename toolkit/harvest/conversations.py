"""Lays out a record's conversation as the model that is studied reads it."""

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from toolkit.harvest.reasoning_records import read_record
from toolkit.harvest.records import Fields
from toolkit.models.text.chat import chat_text
from toolkit.models.text.messages import UnusableError


@dataclass(frozen=True)
class ConversationLayout:
    """Calls return the turns and the reply of a record in a tokenizer's chat template, without an end of the reply.

    Source: Hu et al. 2026 train on such texts.
    """

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, fields: Fields) -> str:
        """Raise `UnusableError` for a record without a question or without a reply."""
        record = read_record(fields)
        if not record.replies or not record.turns:
            missing = "reply" if record.turns else "question"
            raise UnusableError(f"no {missing}", f"its conversation has no {missing}: give one in each record")
        return chat_text(self.tokenizer, record.turns, record.replies[0].text, ended=False)
