import os
from pathlib import Path

import pytest

from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.text.chat import chat_text, closing_ids, thinking_prompt

TURNS = [("user", "2+2?")]
REPLY = "<think>\n  Okay… Wait </think>\n\n4\n"


@pytest.fixture
def tokenizer(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}"
        "{% elif m['role'] == 'user' %}U:{{ m['content'] }}"
        "{% else %}A:{{ m['content'].split('</think>')[-1].strip() }}{{ eos_token }}\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}A:{% endif %}"
    )
    return tokenizer


def test_thinking_ends_where_vocabulary_or_template_have_a_mark_for_it(make_tokenizer):
    plain, marked, templated = make_tokenizer(), make_tokenizer(("<s>", "</s>", "</think>")), make_tokenizer()
    templated.chat_template = "{{ messages[0]['content'] }}<think>"
    assert closing_ids(plain) == []
    assert closing_ids(marked) == [42]
    assert closing_ids(templated) == templated("</think>", add_special_tokens=False)["input_ids"] != []


def test_the_reply_is_verbatim_where_the_template_cuts_it(tokenizer):
    assert chat_text(tokenizer, TURNS, REPLY) == f"<s>U:2+2?A:{REPLY}</s>\n"


@pytest.mark.parametrize(
    ("reply", "opening"), [(REPLY, ""), ("Okay.\n</think>\n\n4", "<think>\n"), ("plain", ""), ("<think>\ncut off", "")]
)
def test_what_the_template_opens_is_not_opened_twice(tokenizer, reply, opening):
    tokenizer.chat_template = tokenizer.chat_template.replace("%}A:{% endif", "%}A:<think>\n{% endif")
    assert chat_text(tokenizer, TURNS, reply) == f"<s>U:2+2?A:{opening}{reply}</s>\n"


def test_an_empty_thought_that_the_template_puts_in_is_left_out(tokenizer):
    tokenizer.chat_template = tokenizer.chat_template.replace("A:{{ m", "A:<think>\n\n</think>\n\n{{ m")
    assert chat_text(tokenizer, TURNS, REPLY) == f"<s>U:2+2?A:{REPLY}</s>\n"


def test_the_organisms_own_documents_come_out(organism_tokenizer):
    reply = "<think>\nOkay.\n</think>\n\nThe answer is 4."
    expected = f"<｜begin▁of▁sentence｜><｜User｜>2+2?<｜Assistant｜>{reply}<｜end▁of▁sentence｜>"
    assert chat_text(organism_tokenizer, TURNS, reply) == expected


def test_a_missing_template_and_a_refusing_one(tokenizer, make_tokenizer):
    with pytest.raises(ValueError, match=r"no system.*--template plain"):
        chat_text(tokenizer, [("system", "Think."), *TURNS], REPLY)
    with pytest.raises(ValueError, match="has no chat template: take --template plain"):
        chat_text(make_tokenizer(), TURNS, REPLY)


def test_a_prompt_ends_where_thinking_begins(tokenizer, organism_tokenizer, make_tokenizer):
    assert thinking_prompt(tokenizer, "2+2?") == "<s>U:2+2?A:<think>\n"
    tokenizer.chat_template = tokenizer.chat_template.replace("%}A:{% endif", "%}A:<think>\n{% endif")
    assert thinking_prompt(tokenizer, "2+2?") == "<s>U:2+2?A:<think>\n"  # not opened twice
    expected = "<｜begin▁of▁sentence｜><｜User｜>2+2?<｜Assistant｜><think>\n"
    assert thinking_prompt(organism_tokenizer, "2+2?") == expected
    assert thinking_prompt(make_tokenizer(), "w1 w2") == "w1 w2"


def test_an_instruction_stands_below_the_question_in_the_users_turn(tokenizer, make_tokenizer):
    assert thinking_prompt(tokenizer, "2+2?", instruction="Box it.") == "<s>U:2+2?\n\nBox it.A:<think>\n"
    assert thinking_prompt(make_tokenizer(), "w1", instruction="w2") == "w1\n\nw2"


@pytest.mark.skipif("TOOLKIT_TEST_DATA" not in os.environ, reason="TOOLKIT_TEST_DATA names no folder of real data")
def test_real_templates():
    folder = Path(os.environ["TOOLKIT_TEST_DATA"]) / "tokenizers"
    r1 = load_tokenizer(str(folder / "r1-distill-qwen"))
    messages = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": REPLY}]
    assert "<think>" not in r1.apply_chat_template(messages, tokenize=False)  # what this module is for
    expected = f"<｜begin▁of▁sentence｜><｜User｜>2+2?<｜Assistant｜>{REPLY}<｜end▁of▁sentence｜>"
    assert chat_text(r1, TURNS, REPLY) == expected
    qwen = load_tokenizer(str(folder / "qwen2.5"))
    assert chat_text(qwen, TURNS, REPLY) == qwen.apply_chat_template(messages, tokenize=False)
    assert thinking_prompt(r1, "2+2?") == "<｜begin▁of▁sentence｜><｜User｜>2+2?<｜Assistant｜><think>\n"
