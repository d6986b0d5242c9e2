"""Two models are read as one tensor, or refused with a reason."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnsight.modeling.transformers import TransformersModel
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    BertModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from toolkit.models import presets
from toolkit.models.files.model_files import Checkpoint
from toolkit.models.pair import ModelPair
from toolkit.models.sources import find_sources
from toolkit.models.where import Where

pytestmark = pytest.mark.filterwarnings("ignore:base and distilled are the same weights")  # one model will do here

Folders = tuple[Path, Path]
Batch = tuple[Tensor, Tensor]
SMALL = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
SMALL |= {"num_key_value_heads": 1}


def load(folders: Folders, *, where: Where | str = "cpu", **options: Any) -> ModelPair:
    sources = find_sources({"base": str(folders[0]), "distilled": str(folders[1])})
    return ModelPair.open(sources, where=where, **options)


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
        config(), seed=1, tokenizer=make_tokenizer(("<s>", "</s>", "<think>"))
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
            lambda: list(each.selected_each([(0, rows)])),  # noqa: B023
        ]
        for read in reads:
            with pytest.raises(
                ValueError, match=f"a text of {tokens} tokens exceeds the model's context of {tokens - 1}"
            ):
                read()


def test_a_preset_gives_both_models_and_the_site(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "tiny", presets.Preset(str(folders[0]), str(folders[1]), layers=(1, 2)))
    pair = ModelPair.from_pretrained("tiny", where="cpu")
    assert pair.layers == (1, 2)
    assert pair.names == ("base", "distilled")


def test_facts_about_the_pair(folders: Folders, save_model: Callable, config: Callable) -> None:
    pair = load((save_model(config(vocab_size=70)), folders[1]), where=Where(device_map="cpu", dtype="bfloat16"))
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
        ({"vocab_size": 39}, r"vocabulary: the tokenizer has 42 tokens, but base has 50, distilled has 39 embeddings"),
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
        with pytest.raises(ValueError, match="no layer is given: name at least one, as layers=3"):
            read()
    with pytest.raises(ValueError, match="layer 2 is named twice"):
        load(folders, layers=[2, 2])


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"no pair is called 'qwen-2b': choose from organism, organism-control, qwen-1.5b"
    ):
        ModelPair.from_pretrained("qwen-2b")


@pytest.mark.parametrize("sources", [{}, {"base": "a"}, {"preset": "qwen-7b", "base": "a", "distilled": "b"}])
def test_a_preset_or_two_models_never_a_mixture(sources: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="or both base= and distilled="):
        ModelPair.from_pretrained(**sources)


@pytest.mark.parametrize(
    ("keyword", "remedy"),
    [
        ({"dtype": "bf16"}, r"unknown keyword 'dtype': give where=Where\(dtype='bf16'\)"),
        ({"device_map": "cpu"}, "unknown keyword 'device_map': give where='cpu'"),
        ({"device": "cuda:1"}, "give where='cuda:1'"),
        ({"remote": True}, 'give where="ndif"'),
        ({"revision": "main"}, r'give base=Checkpoint\("org/name", revision=...\)'),
        ({"depth": 2}, r"give it to open\(\)"),
        ({"layer": 2}, "unknown keyword 'layer': it takes layers, where, tokenizer and clashes"),
    ],
)
def test_a_keyword_that_belongs_elsewhere_says_where(keyword: dict[str, Any], remedy: str) -> None:
    with pytest.raises(TypeError, match=remedy):
        ModelPair.from_pretrained("organism", **keyword)


def test_an_id_without_an_embedding_is_refused(pair: ModelPair) -> None:
    for token_id in (50, -100):
        with pytest.raises(ValueError, match=f"token id {token_id} is out of range: all models have 50 embeddings"):
            pair.read([1, token_id])


def test_clashing_ids_warn_at_load_and_are_refused_in_use(clashing: Folders, batch: Batch) -> None:
    with pytest.warns(UserWarning, match=r"42 \(base '<box>', distilled '<think>'\)"):
        pair = load(clashing)
    assert pair.clashing_ids == {40: ("<b>", "<s>"), 42: ("<box>", "<think>")}
    assert pair.read("w1 w2").shape == (2, 2, 32)
    with pytest.raises(ValueError, match=r"the models: 42 \(base '<box>', distilled '<think>'\)\. .*clashes='allow'"):
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


@pytest.fixture(scope="module", params=["in distilled", "in base", "between"])
def added(
    request: pytest.FixtureRequest, config: Callable, save_model: Callable, make_tokenizer: Callable
) -> tuple[Folders, int, tuple[str, str]]:
    """A pair of which one model has a token more, by its id, and what it means; its embeddings end there or later."""
    plain, more = ("<s>", "</s>"), ("<s>", "</s>", "<step>")
    bare = save_model(config(vocab_size=60 if request.param == "between" else 42), tokenizer=make_tokenizer(plain))
    with_it = save_model(config(vocab_size=43), tokenizer=make_tokenizer(more))
    folders = (with_it, bare) if request.param == "in base" else (bare, with_it)
    lacking = "(no token)" if request.param == "between" else "(no embedding)"
    return folders, 42, ("<step>", lacking) if request.param == "in base" else (lacking, "<step>")


def test_a_token_that_was_added_to_one_model_is_refused_by_name(
    added: tuple[Folders, int, tuple[str, str]],
) -> None:
    folders, token_id, (ours, theirs) = added
    for clashes in ("refuse", "allow"):
        with pytest.warns(UserWarning, match=r"1 ids mean different things"):
            pair = load(folders, clashes=clashes)
        assert pair.clashing_ids == {token_id: (ours, theirs)}
        assert pair.read("w1 w2 </s>").shape == (3, 2, 32)
        if clashes == "allow" and "(no token)" in (ours, theirs):  # both models have an embedding of it
            assert pair.read([1, token_id]).shape == (2, 2, 32)
            continue
        with pytest.raises(
            ValueError, match=rf"{token_id} \(base '{re.escape(ours)}', distilled '{re.escape(theirs)}'\)"
        ):
            pair.read([1, token_id])


def test_a_token_without_an_embedding_in_either_model_is_refused_by_name(
    config: Callable, save_model: Callable, make_tokenizer: Callable
) -> None:
    folder = save_model(config(vocab_size=42), tokenizer=make_tokenizer(("<s>", "</s>", "<new>")))
    with pytest.warns(UserWarning, match="mean different things"):
        pair = load((folder, folder), clashes="allow")
    with pytest.raises(ValueError, match=r"not all models have an embedding for: 42 \(base '\(no embedding\)'"):
        pair.read("w1 <new>")


def test_a_negative_id_is_refused(pair: ModelPair) -> None:
    with pytest.raises(ValueError, match="token id -100 is out of range"):
        pair.read([1, -100])


def loaded(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder)


def infinite(model: PreTrainedModel) -> PreTrainedModel:
    model.get_parameter("lm_head.weight").data[0, 0] = float("inf")
    return model


def test_loaded_models_are_taken_as_they_are(
    folders: Folders, pair: ModelPair, make_tokenizer: Callable, batch: Batch
) -> None:
    base, distilled, tokenizer = loaded(folders[0]), loaded(folders[1]), make_tokenizer()
    wrapped = TransformersModel(distilled, task="text-generation", tokenizer=tokenizer)
    for options in ({"distilled": distilled}, {"distilled": wrapped, "tokenizer": tokenizer}):
        taken = ModelPair.from_pretrained(base=base, layers=[1, 3], **options)
        assert (taken.base.model._module, taken.distilled.model._module) == (base, distilled)
        assert taken.sources == tuple(map(str, folders))
        assert torch.equal(taken.residual(*batch), pair.residual(*batch))
    assert taken.tokenizer is tokenizer
    half = ModelPair.from_pretrained(base=pair.base, distilled=str(folders[1]), layers=[1, 3], where="cpu")
    assert torch.equal(half.residual(*batch), pair.residual(*batch))


def test_one_model_may_stand_for_both(folders: Folders, batch: Batch) -> None:
    model = loaded(folders[0])
    first, second = ModelPair.from_pretrained(base=model, distilled=model, layers=2).residual(*batch).unbind(dim=2)
    assert torch.equal(first, second)


class Peft(torch.nn.Module):
    peft_config, merge_and_unload = {}, None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda folder: infinite(loaded(folder)), r"base, a Qwen2ForCausalLM, holds NaN or infinity .* lm_head"),
        (lambda folder: loaded(folder).train(), r"base is in training mode.*call its eval\(\)"),
        (lambda folder: AutoModel.from_pretrained(folder), "base, a Qwen2Model, has no LM head"),
        (lambda _: torch.nn.Linear(1, 1), "base is a Linear: give a folder, a hub name, or a model that transformers"),
        (lambda _: Peft(), r"base is a Peft of PEFT: give base=model.merge_and_unload\(\)"),
        (lambda _: BertModel(BertConfig(**SMALL)), "model type 'bert' are not known"),
        (lambda _: 3, "base is a int"),
    ],
)
def test_loaded_models_that_cannot_be_read_are_refused(folders: Folders, model: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelPair.from_pretrained(base=model(folders[0]), distilled=loaded(folders[0]))


def test_a_loaded_models_fingerprint_is_of_its_tensors(folders: Folders) -> None:
    model, same = loaded(folders[0]), loaded(folders[0])
    pair = ModelPair.from_pretrained(base=model, distilled=same)
    before, other = pair.fingerprints().values()
    assert before == other
    with torch.no_grad():
        model.lm_head.weight[3, 4] += 1
    changed, other = pair.fingerprints().values()
    assert changed != before == other


def test_a_model_made_here_has_no_tokenizer_of_its_own(make_tokenizer: Callable) -> None:
    made = AutoModelForCausalLM.from_config(Qwen2Config(**SMALL)).eval()
    with pytest.raises(ValueError, match=r"base does not say where it was loaded from: give tokenizer="):
        ModelPair.from_pretrained(base=made, distilled=made)
    pair = ModelPair.from_pretrained(base=made, distilled=made, tokenizer=make_tokenizer())
    assert pair.read("w1 w2").shape == (2, 2, 8)


@pytest.mark.parametrize(
    ("settings", "both"),
    [
        ({"sequential": True}, False),
        ({"remote": True}, False),
        ({"dtype": "bf16"}, True),
        ({"max_memory": "2GB"}, True),
    ],
)
def test_settings_of_loading_are_refused_beside_loaded_models(
    folders: Folders, pair: ModelPair, settings: dict[str, Any], both: bool
) -> None:
    other = pair.distilled if both else str(folders[1])
    said = rf"{next(iter(settings))}: about models to be loaded, unused by those in memory"
    with pytest.raises(ValueError, match=said):
        ModelPair.from_pretrained(base=pair.base, distilled=other, where=Where(**settings))


def test_a_revision_is_of_the_hub(folders: Folders) -> None:
    with pytest.raises(ValueError, match=r"revision 'main' is a version on the hub, and '.*' is not from there"):
        ModelPair.from_pretrained(base=Checkpoint(folders[0], revision="main"), distilled=str(folders[1]))


def test_a_revision_of_each_model_is_found_in_the_hubs_cache(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: ModelPair, batch: Batch
) -> None:
    hub = tmp_path / "models--lab--model"
    for name, folder in zip(("old", "new"), folders, strict=True):
        shutil.copytree(folder, hub / "snapshots" / f"{name}00")
        (hub / "refs").mkdir(exist_ok=True)
        (hub / "refs" / name).write_text(f"{name}00")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    versions = ModelPair.from_pretrained(
        base=Checkpoint("lab/model", revision="old"),
        distilled=Checkpoint("lab/model", revision="new"),
        where="cpu",
        layers=[1, 3],
    )
    assert torch.equal(versions.residual(*batch), pair.residual(*batch))


def test_tokens_and_code_reach_the_hub_and_attention_the_model(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    before = AutoConfig.from_pretrained
    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *names, **how: asked.append(how) or before(*names, **how))
    base, distilled = (Checkpoint(folder, token="secret", trust_remote_code=True) for folder in folders)
    eager = ModelPair.from_pretrained(
        base=base, distilled=distilled, where=Where(device_map="cpu", attn_implementation="eager")
    )
    assert {(each["token"], each["trust_remote_code"]) for each in asked} == {("secret", True)}
    assert eager.base.model._module.config._attn_implementation == "eager"
    asked.clear()
    load(folders)
    assert {each["trust_remote_code"] for each in asked} == {False}  # None would ask the user


def test_types_sizes_and_sites_in_the_words_of_a_notebook(folders: Folders) -> None:
    pair = load(folders, where=Where(device_map="cpu", dtype="bf16", max_memory={"cpu": "2GB"}), layers=2)
    assert (pair.layers, pair.read("w1").dtype) == ((2,), torch.bfloat16)
