import pytest

from toolkit.harvest.conversations import ConversationLayout
from toolkit.models.text.messages import UnusableError

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<U>{{ m.content }}{% else %}<A>{{ m.content }}</s>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<A><think>\n{% endif %}"
)


@pytest.fixture
def layout(make_tokenizer):
    """That of a tokenizer whose template opens the thinking by itself, as R1's does."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return ConversationLayout(tokenizer)


def record(reply: str) -> dict[str, object]:
    return {"conversations": [{"from": "human", "value": "w1 w2"}, {"from": "gpt", "value": reply}]}


def test_a_record_is_laid_out_as_the_published_training_text(layout):
    reply = "<think>\nw3\n</think>\n\nw4"
    assert layout(record(reply)) == f"<s><U>w1 w2<A>{reply}", "no end token, and one <think> alone"


def test_a_reply_that_was_cut_off_is_kept(layout):
    assert layout(record("<think>\nw3 and no")) == "<s><U>w1 w2<A><think>\nw3 and no"


def test_a_record_without_a_question_is_left_out(layout):
    with pytest.raises(UnusableError, match="no question"):
        layout({"conversations": [{"from": "gpt", "value": "w1"}]})
