"""Two models are read as one tensor, or refused with a reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerFast

from toolkit.models import presets
from toolkit.models.pair import ModelPair

Folders = tuple[Path, Path]
Batch = tuple[Tensor, Tensor]


def load(folders: Folders, **options: object) -> ModelPair:
    return ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[1]), device_map="cpu", **options)


@pytest.fixture(scope="module")
def pair(folders: Folders) -> ModelPair:
    return load(folders, layers=[1, 3])


@pytest.fixture(scope="module")
def config(folders: Folders) -> Callable[..., PreTrainedConfig]:
    """The config of the pair's models with some fields changed."""
    return lambda **changes: AutoConfig.from_pretrained(folders[0], **changes)


@pytest.fixture(scope="module")
def clashing(
    config: Callable[..., PreTrainedConfig],
    save_model: Callable[..., Path],
    make_tokenizer: Callable[..., PreTrainedTokenizerFast],
) -> Folders:
    """A pair in which id 42 is <box> to one model and <think> to the other; BOS is only the second's."""
    base = make_tokenizer(("<b>", "</s>", "<box>"))
    base.bos_token = None
    return save_model(config(), tokenizer=base), save_model(
        config(), tokenizer=make_tokenizer(("<s>", "</s>", "<think>"))
    )


def truth(folder: Path, batch: Batch) -> tuple[Tensor, ...]:
    with torch.no_grad():
        output = AutoModelForCausalLM.from_pretrained(folder).eval()(
            input_ids=batch[0], attention_mask=batch[1], use_cache=False, output_hidden_states=True
        )
    return output.hidden_states


def test_streams_are_ordered_by_model_then_layer(pair: ModelPair, folders: Folders, batch: Batch) -> None:
    base, distilled = truth(folders[0], batch), truth(folders[1], batch)
    expected = torch.stack([base[1], base[3], distilled[1], distilled[3]], dim=2)
    torch.testing.assert_close(pair.residual(*batch), expected, rtol=0, atol=0)
    torch.testing.assert_close(pair.residual(*batch, layers=[3]), expected[:, :, [1, 3]], rtol=0, atol=0)


def test_read_lays_texts_end_to_end_without_padding(pair: ModelPair) -> None:
    texts = ["w1 w2 w3 w4", "w5 w6"]
    together = pair.read(texts, layers=[2])
    alone = torch.cat([pair.read(text, layers=[2]) for text in texts])
    assert together.shape == (6, 2, 32)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_text_and_its_ids_read_the_same(pair: ModelPair) -> None:
    torch.testing.assert_close(pair.read("w1 w2 w3"), pair.read([1, 2, 3]), rtol=0, atol=0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_a_tokenizer_returns_reads_as_its_texts_do(pair: ModelPair, side: str) -> None:
    texts = ["w1 w2 w3 w4", "w5 w6"]
    returned = pair.tokenizer(texts, padding=True, padding_side=side, return_tensors="pt")
    ids, mask = returned["input_ids"], returned["attention_mask"]
    expected = pair.read(texts)
    for given in (returned, dict(returned), pair.tokenizer(texts)):
        torch.testing.assert_close(pair.read(given), expected, rtol=0, atol=0)
    torch.testing.assert_close(pair.read(ids.int(), attention_mask=mask.bool().numpy()), expected, rtol=0, atol=0)
    whole = pair.residual(ids, mask)
    for given in ((returned,), (ids.numpy(), mask.numpy()), (ids.tolist(), mask.tolist())):
        torch.testing.assert_close(pair.residual(*given), whole, rtol=0, atol=0)
    torch.testing.assert_close(pair.selected(returned, None, mask), whole[mask.bool()], rtol=0, atol=0)


def test_messages_read_as_the_template_lays_them_out(pair: ModelPair, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{% for m in messages %}{{ m['content'] }} w9 {% endfor %}"
    monkeypatch.setattr(pair.tokenizer, "chat_template", template)
    read = pair.read([{"role": "user", "content": "w1 w2"}])
    torch.testing.assert_close(read, pair.read("w1 w2 w9"), rtol=0, atol=0)


def test_text_beyond_the_context_of_either_model_is_refused_by_every_entrance(
    pair: ModelPair, folders: Folders, config: Callable[..., PreTrainedConfig], save_model: Callable[..., Path]
) -> None:
    shorter = load((save_model(config(max_position_embeddings=32)), folders[1]))
    assert (pair.context, shorter.context) == (64, 32)
    assert pair.read("w1 " * 64).shape[0] == 64
    for each, tokens in ((pair, 65), (shorter, 33)):
        ids = torch.ones(2, tokens, dtype=torch.long)
        rows = (ids, ids, ids.bool())
        reads: list[Callable[[], object]] = [
            lambda: each.read("w1 " * tokens),  # noqa: B023
            lambda: each.residual(ids),  # noqa: B023
            lambda: each.selected(*rows),  # noqa: B023
            lambda: list(each.selected_each([rows])),  # noqa: B023
        ]
        for read in reads:
            with pytest.raises(
                ValueError, match=f"a text of {tokens} tokens exceeds the model's context of {tokens - 1}"
            ):
                read()


def test_a_preset_gives_both_models_and_the_site(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "tiny", presets.Preset(str(folders[0]), str(folders[1]), layers=(1, 2)))
    pair = ModelPair.from_pretrained("tiny", device_map="cpu")
    assert pair.layers == (1, 2)
    assert pair.names == ("base", "distilled")


def test_facts_about_the_pair(folders: Folders, save_model: Callable, config: Callable) -> None:
    pair = load((save_model(config(vocab_size=70)), folders[1]), dtype="bfloat16")
    assert (pair.d_model, pair.n_layers, pair.vocab_size, pair.layers) == (32, 4, 50, (2,))
    assert pair.device == torch.device("cpu")
    assert pair.read("w1").dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 64}, r"width \(d_model\): base has 32, distilled 64"),
        (
            {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3},
            r"depth \(decoder layers\): base has 4, distilled 3",
        ),
        ({"vocab_size": 41}, r"vocabulary: the tokenizer has 42 tokens, but base has 50 .*distilled 41"),
    ],
)
def test_models_of_different_shape_are_refused(
    folders: Folders, config: Callable, save_model: Callable, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load((folders[0], save_model(config(**changes))))


def test_models_of_different_vocabulary_are_refused(
    folders: Folders, config: Callable, save_model: Callable, make_tokenizer: Callable
) -> None:
    other = save_model(config(), tokenizer=make_tokenizer(words=[f"v{i}" for i in range(40)]))
    with pytest.raises(ValueError, match=r"differ in 40 ordinary tokens.*base 'w0', distilled 'v0'"):
        load((folders[0], other))


def test_a_layer_out_of_range_is_refused(folders: Folders, pair: ModelPair) -> None:
    with pytest.raises(ValueError, match="layer 4 is out of range: the model has 4 decoder layers"):
        load(folders, layers=[4])
    with pytest.raises(ValueError, match="layer 4 is out of range"):
        pair.read("w1", layers=[4])


@pytest.mark.parametrize("layers", [0, np.int64(0), torch.tensor(0), [0], range(1), torch.tensor([0])], ids=repr)
def test_layer_0_is_a_layer_and_one_need_not_be_in_a_list(folders: Folders, pair: ModelPair, layers: Any) -> None:
    opened = load(folders, layers=layers, depth=0)
    assert opened.layers == (0,)
    embeddings = opened.read("w1 w2")
    for read in (pair.read("w1 w2", layers), pair.read("w1 w2", layers=0), pair.residual([[1, 2]], layers=layers)[0]):
        torch.testing.assert_close(read, embeddings, rtol=0, atol=0)


def test_no_layer_and_one_named_twice_are_refused(folders: Folders, pair: ModelPair) -> None:
    for read in (
        lambda: load(folders, layers=[]),
        lambda: pair.read("w1", []),
        lambda: pair.residual([[1]], layers=()),
    ):
        with pytest.raises(ValueError, match="no layer given: name at least one site"):
            read()
    with pytest.raises(ValueError, match="layer 2 is named twice"):
        load(folders, layers=[2, 2])


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no pair is called 'qwen-2b': choose from organism, qwen-1.5b"):
        ModelPair.from_pretrained("qwen-2b")


@pytest.mark.parametrize("sources", [{}, {"base": "a"}, {"preset": "qwen-7b", "base": "a", "distilled": "b"}])
def test_a_preset_or_two_models_never_a_mixture(sources: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="or both base= and distilled="):
        ModelPair.from_pretrained(**sources)


def test_an_id_without_an_embedding_is_refused(pair: ModelPair) -> None:
    for token_id in (50, -100):
        with pytest.raises(ValueError, match=f"token id {token_id} is out of range: both models have 50 embeddings"):
            pair.read([1, token_id])


def test_clashing_ids_warn_at_load_and_are_refused_in_use(clashing: Folders, batch: Batch) -> None:
    with pytest.warns(UserWarning, match=r"42 \(base '<box>', distilled '<think>'\)"):
        pair = load(clashing)
    assert pair.clashing_ids == {40: ("<b>", "<s>"), 42: ("<box>", "<think>")}
    assert pair.read("w1 w2").shape == (2, 2, 32)
    with pytest.raises(ValueError, match=r"two models: 42 \(base '<box>', distilled '<think>'\)\. .*clashes='allow'"):
        pair.read("w1 <think> w2")
    with pytest.raises(ValueError, match="42"):
        pair.residual(torch.tensor([[1, 42]]), torch.tensor([[1, 1]]))


def test_a_clashing_id_may_stand_under_padding_or_open_a_row_as_bos(clashing: Folders) -> None:
    with pytest.warns(UserWarning, match="mean different things"):
        pair = load(clashing)
    ids, mask = torch.tensor([[40, 1, 42], [42, 40, 1]]), torch.tensor([[1, 1, 0], [0, 1, 1]])
    assert pair.residual(ids, mask).shape == (2, 3, 2, 32)
    for later in ({"input_ids": [[1, 40]], "mask": [[1, 1]]}, {"input_ids": [[40]], "mask": [[1, 1]]}):
        with pytest.raises(ValueError, match=r"40 \(base '<b>', distilled '<s>'\)"):
            pair.check_ids(torch.tensor(later["input_ids"]), torch.tensor(later["mask"]))


def test_clashing_ids_may_be_allowed(clashing: Folders) -> None:
    with pytest.warns(UserWarning, match="mean different things"):
        pair = load(clashing, clashes="allow")
    assert pair.read("w1 <think> w2").shape == (3, 2, 32)
