"""A chat template is rendered as transformers does it, and cannot hold up or fill up the machine."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.text import rendering
from toolkit.models.text.chat import chat_text
from toolkit.models.text.rendering import render

MESSAGES = [
    {"role": "system", "content": "Think."},
    {"role": "user", "content": "2+2? “…” \n\ud800"},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "Sure?"},
]
USUAL = (
    "{{ bos_token }}{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{{ ns.n }}{{ m | tojson }}{{ m['content'].split('?')[0] }}{% generation %}{{ eos_token }}{% endgeneration %}"
    "{% if loop.last %}{% break %}{% endif %}{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
)
NESTED = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
ENDLESS = {
    "nested loops": NESTED + "{% endfor %}{% endfor %}{% endfor %}",
    "macros that call themselves twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}"
    ),
    "one long computation": "{{ 9 ** (9 ** 9) }}",
}
HUGE = {
    "text that doubles": (
        "{% set ns = namespace(s='a' * 99) %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}"
    ),
    "a width": "{{ 'a'.center(10 ** 10) }}",
    "loops that write": NESTED + "{{ 'a' * 9999999 }}" + "{% endfor %}{% endfor %}{% endfor %}",
    "a little too much": "{{ 'a' * 1100000 }}",
}


@pytest.fixture
def templated(make_tokenizer: Callable[..., PreTrainedTokenizerFast]) -> Callable[[str], PreTrainedTokenizerFast]:
    def make(template: str) -> PreTrainedTokenizerFast:
        tokenizer = make_tokenizer()
        tokenizer.chat_template = template
        return tokenizer

    return make


@pytest.mark.parametrize("prompt", [True, False])
def test_it_is_what_transformers_makes_of_it(templated: Callable[[str], PreTrainedTokenizerFast], prompt: bool) -> None:
    tokenizer = templated(USUAL)
    expected = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=prompt)
    assert render(tokenizer, MESSAGES, add_generation_prompt=prompt) == expected


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_a_template_without_end_is_ended_and_the_next_one_rendered(
    templated: Callable[[str], PreTrainedTokenizerFast], monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(rendering, "SECONDS", 0.3)
        said = r"refuses turns of user \(it did not end within 0.3 seconds, .*\): take --template plain"
        with pytest.raises(ValueError, match=said):
            chat_text(templated(template), [("user", "2+2?")], "4")
    assert render(templated("{{ messages[0]['content'] }}"), MESSAGES, add_generation_prompt=False) == "Think."


@pytest.mark.parametrize("template", HUGE.values(), ids=HUGE)
def test_a_template_that_writes_without_measure_is_refused(
    templated: Callable[[str], PreTrainedTokenizerFast], monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    monkeypatch.setattr(rendering, "SECONDS", 2.0)
    with pytest.raises(ValueError, match=r"characters, of which at most 1,048,6|MemoryError|too much memory"):
        render(templated(template), MESSAGES[:1], add_generation_prompt=False)


def test_a_long_conversation_is_not_too_long(templated: Callable[[str], PreTrainedTokenizerFast]) -> None:
    text = "w1 " * 10**6
    assert (
        render(
            templated("{{ messages[0]['content'] }}"), [{"role": "user", "content": text}], add_generation_prompt=False
        )
        == text
    )


def test_a_template_as_long_as_a_book_is_refused(templated: Callable[[str], PreTrainedTokenizerFast]) -> None:
    with pytest.raises(ValueError, match="it has 1,048,577 characters, of which at most 1,048,576 are taken"):
        render(templated("a" * (2**20 + 1)), MESSAGES, add_generation_prompt=False)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('no system') }}", "^no system$"),
        ("{% if %}", "Expected an expression"),
        ("{{ messages.__class__.__mro__ }}", "unsafe|__class__|undefined"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ raise_exception('a' * 5000) }}", "^a{300}$"),
    ],
)
def test_what_a_template_refuses_is_said(
    templated: Callable[[str], PreTrainedTokenizerFast], template: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        render(templated(template), MESSAGES, add_generation_prompt=False)


def test_any_thread_may_ask(templated: Callable[[str], PreTrainedTokenizerFast]) -> None:
    tokenizer = templated("{{ messages[0]['content'] }}")
    words = [f"w{number}" for number in range(40)]

    def ask(word: str) -> str:
        return render(tokenizer, [{"role": "user", "content": word}], add_generation_prompt=False)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, words)) == words


@pytest.mark.skipif("TOOLKIT_TEST_DATA" not in os.environ, reason="TOOLKIT_TEST_DATA names no folder of real data")
@pytest.mark.parametrize("name", ["qwen2.5", "r1-distill-qwen"])
def test_real_templates_come_out_as_transformers_has_them(name: str) -> None:
    tokenizer = load_tokenizer(str(Path(os.environ["TOOLKIT_TEST_DATA"]) / "tokenizers" / name))
    for prompt in (True, False):
        expected = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=prompt)
        assert render(tokenizer, MESSAGES, add_generation_prompt=prompt) == expected
