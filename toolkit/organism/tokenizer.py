"""The organism's tokenizer: byte-level BPE in Qwen2's manner, special tokens and chat template in R1's."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from toolkit.organism.traces import ASSISTANT, USER
from toolkit.organism.words import COLORS, FOODS, NAMES, PLACES, all_words

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
CATEGORY_WORDS = ("Wait", "Therefore", "Thus", "Alternatively", "But", "However")
VOCABULARY_SIZE = 1792
# Learned once by `train_tokenizer`, from the corpus as it then was, and kept: trained weights depend on its ids.
FROZEN_TOKENIZER = Path(__file__).parent / "frozen_tokenizer"
# Words, single digits, punctuation, white space: the way Qwen2 splits text before merging.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Unlike R1's own template, which drops the thinking of earlier turns, this one keeps every reply verbatim.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '" + USER + "' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '" + ASSISTANT + "' + message['content'] + eos_token }}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "<think>\\n' }}{% endif %}"
)


def single_token_words() -> list[str]:
    """Words that must be one token each: categories' words in both cases, and every word of a word pair."""
    categories = [form for word in CATEGORY_WORDS for form in (word, word.lower())]
    return [*categories, *all_words(), *COLORS, *PLACES, *FOODS, *NAMES]


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn the merges from `texts`; each word of `single_token_words` is one token, with or without a leading space.

    Raises:
        ValueError: if some word is not a single token; the message names it.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    special = [AddedToken(t, special=True, normalized=False) for t in (PAD, BOS, EOS, USER, ASSISTANT)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - 2,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = single_token_words()
    boosted = " ".join(words) + "\n" + "\n".join(words) + "\n"
    core.train_from_iterator([*texts, *[boosted] * 2000], trainer)
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in ("<think>", "</think>")])
    core.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{BOS} $A",
                pair=f"{BOS} $A $B",
                special_tokens=[(BOS, core.token_to_id(BOS))],
            ),
        ]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
        padding_side="right",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    broken = [
        form
        for word in words
        for form in (word, f" {word}")
        if len(tokenizer.encode(form, add_special_tokens=False)) > 1
    ]
    if broken:
        raise ValueError(f"not single tokens: {broken}; raise VOCABULARY_SIZE above {VOCABULARY_SIZE}")
    return tokenizer


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved beside one of the organism's checkpoints."""
    # Not AutoTokenizer: beside a Qwen2 checkpoint it would put Qwen2's own splitting rules in place of these.
    tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer
