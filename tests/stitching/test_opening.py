"""Models of other depth, width and vocabulary, stitched on the texts that both tokenizers cut alike."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import IterableDataset
from transformers import PreTrainedTokenizerFast, Qwen2Config

from toolkit.harvest.tokens import TokenStream, describe_documents
from toolkit.library_warnings import ToolkitWarning
from toolkit.models.model.sampling import Sampling
from toolkit.models.pair import ModelPair
from toolkit.models.sources import find_sources
from toolkit.models.where import Where
from toolkit.stitching.maps import AffineMap
from toolkit.stitching.opening import StitchableModels
from toolkit.stitching.stitch import Stitch

WORDS = [f"w{i}" for i in range(40)]
OTHERS = ["w0", *(f"w{i}" for i in reversed(range(5, 40))), "v1", "v2", "v3", "v4"]
"""All words but w1 to w4, in another order, and four more."""
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
SMALL |= {"num_key_value_heads": 1, "max_position_embeddings": 48, "vocab_size": 50}
TEXTS = ["w5 w6 w7 w8 w9 w20", "w5 w1 w7", "w10 w11 w12", "v1 w5"]
SHARED_ONLY = [30]
"""A prompt behind which the stitched model writes words of both."""
Make = Callable[..., PreTrainedTokenizerFast]


@pytest.fixture(scope="module")
def sources(folders: tuple[Path, Path], save_model: Callable[..., Path], make_tokenizer: Make) -> dict[str, str]:
    """A base model that is smaller than the distilled one, and has other words."""
    small = save_model(Qwen2Config(**SMALL), seed=5, tokenizer=make_tokenizer(words=OTHERS))
    return {"base": str(small), "distilled": str(folders[1])}


@pytest.fixture(scope="module")
def unlike(sources: dict[str, str]) -> StitchableModels:
    return StitchableModels.open(find_sources(sources))


@pytest.fixture
def widening() -> AffineMap:
    generator = torch.Generator().manual_seed(0)
    weight, bias, first_bias = (torch.randn(*shape, generator=generator) for shape in ((16, 32), (32,), (32,)))
    return AffineMap(weight=weight / 4, bias=0.01 * bias, first_bias=0.1 * first_bias)


def as_documents(texts: Sequence[str]) -> IterableDataset:
    return IterableDataset.from_generator(lambda: ({"text": text} for text in texts))


def test_the_front_reads_its_own_ids_of_the_same_tokens(unlike: StitchableModels, widening: AffineMap) -> None:
    base, rest = unlike.models["base"], unlike.models["distilled"]
    reader = unlike.reading("distilled")["base"]
    assert unlike.reading("distilled")["distilled"] is rest
    ids, own = ([unlike.tokenizers[name](TEXTS[0])["input_ids"]] for name in ("distilled", "base"))
    assert ids != own
    assert torch.equal(reader.residual(ids, None, 2)[0], base.residual(own, None, 2)[0])
    assert torch.equal(reader.residual([TEXTS[0]], None, 2)[0], base.residual(own, None, 2)[0])
    stream = base.residual(own, None, 2)[0][0].cpu()
    expected = stream @ widening.weight + torch.stack([widening.first_bias, *[widening.bias] * 5])
    edited = rest.residual(ids, None, 3, edit=Stitch(reader, widening, 3, front_layer=2))[0]
    torch.testing.assert_close(edited[0].cpu(), expected)


def test_generation_with_another_vocabulary_equals_reading_the_text_anew(
    unlike: StitchableModels, widening: AffineMap
) -> None:
    rest = unlike.models["distilled"]
    stitch = Stitch(unlike.reading("distilled")["base"], widening, 2)
    (written,) = rest.generate_ids([SHARED_ONLY], edit=stitch, new_tokens=4)
    ids = list(SHARED_ONLY)
    for token in written:
        assert token == int(rest.logits([ids], edit=stitch, last=1).argmax())
        ids.append(token)
    with pytest.raises(ValueError, match=r"2 \('w2'\).* a stitched model that writes such a token cannot go on"):
        rest.generate_ids([[5, 6, 7]], edit=stitch, new_tokens=4)


def test_documents_that_are_cut_otherwise_are_left_out_and_counted(unlike: StitchableModels) -> None:
    found = unlike.comparable(as_documents(TEXTS), row_length=8)
    assert [bool(record["text"]) for record in found] == [True, False, True, False]
    (batch,) = TokenStream(found, unlike.tokenizer, row_length=8, batch_tokens=64, seed=0)
    assert len(batch.input_ids) == 2
    assert describe_documents(batch.counts) == "read 2 whole; left out 2 cut otherwise by another tokenizer"
    assert unlike.cut_alike("w5 w6 w1", row_length=2)  # what comes behind a row does not count
    assert "base and distilled cut into the same tokens, of which they share 38" in unlike.compared


def test_models_of_one_vocabulary_read_the_same_ids_themselves(tiny_pair: ModelPair) -> None:
    models, documents = StitchableModels.of(tiny_pair), as_documents(TEXTS)
    assert models.reading("base") == tiny_pair.models
    assert models.compared == ""
    assert models.comparable(documents, row_length=8) is documents
    assert (models.files(), models.fingerprints()) == (tiny_pair.files(), tiny_pair.fingerprints())
    assert models.origins == tiny_pair.origins
    assert models.context == tiny_pair.context


def test_ids_that_mean_other_things_are_refused_unless_they_pad(tiny_pair: ModelPair) -> None:
    models = StitchableModels.of(replace(tiny_pair, clashing_ids={6: ("a", "b")}))
    base = models.reading("distilled")["base"]
    with pytest.raises(ValueError, match=r"does not have, or means otherwise: 6 \('w6'\). Give text"):
        base.residual([[5, 6]], None, 2)
    stream = base.residual([[5, 6]], [[1, 0]], 2)[0]
    assert torch.equal(stream[0, 0], tiny_pair.base.residual([[5, 6]], [[1, 0]], 2)[0][0, 0])
    allowed = replace(tiny_pair, clashing_ids={6: ("a", "b")}, clashes="allow")
    assert StitchableModels.of(allowed).reading("distilled")["base"] is tiny_pair.base


def test_what_cannot_be_compared_is_refused(
    unlike: StitchableModels, sources: dict[str, str], save_model: Callable[..., Path], make_tokenizer: Make
) -> None:
    with pytest.raises(ValueError, match=r"does not have, or means otherwise: 1 \('w1'\), 3 \('w3'\). Give text"):
        unlike.reading("distilled")["base"].residual([[5, 1, 3]], None, 2)
    with pytest.raises(ValueError, match="cut none of the first 2 texts into the same tokens"):
        unlike.comparable(as_documents(["w1", "w2 w5"]), row_length=8)
    with pytest.raises(ValueError, match="generate with the model itself"):
        unlike.reading("distilled")["base"].generate_ids([[5]], sampling=Sampling(new_tokens=1))
    strangers = [f"x{i}" for i in range(20)]
    tokenizer = make_tokenizer(("<x>", "</x>"), words=strangers)
    apart = replace(unlike, tokenizers={"base": tokenizer, "distilled": unlike.tokenizer})
    with pytest.raises(ValueError, match="distilled and base have no ordinary token in common"):
        apart.reading("distilled")


def test_models_by_turns_and_weights_on_the_disk_are_stitched_as_those_in_memory(
    unlike: StitchableModels, sources: dict[str, str], widening: AffineMap
) -> None:
    ids = [unlike.tokenizer(TEXTS[0])["input_ids"]]
    expected = unlike.models["distilled"].logits(ids, edit=Stitch(unlike.reading("distilled")["base"], widening, 2))
    for where in (Where(sequential=True), Where(max_memory="60KB")):
        models = StitchableModels.open(find_sources(sources), where=where)
        stitch = Stitch(models.reading("distilled")["base"], widening, 2)
        assert torch.equal(models.models["distilled"].logits(ids, edit=stitch), expected)
        written = models.models["distilled"].generate_ids([SHARED_ONLY], edit=stitch, new_tokens=3)
        assert written == unlike.models["distilled"].generate_ids([SHARED_ONLY], edit=stitch, new_tokens=3)


def test_two_that_have_the_same_weights_are_refused(sources: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match=r"are the same weights, .*: give two models; each of them is stitched to itse"
    ):
        StitchableModels.open(find_sources({"base": sources["base"], "distilled": sources["base"]}))


def test_models_on_a_server_are_opened_with_their_own_tokenizers(
    ndif: object, folders: tuple[Path, Path], tiny_pair: ModelPair
) -> None:
    base, distilled = map(str, folders)
    where = Where(remote=True, wire="fp32")
    models = StitchableModels.open(find_sources({"base": base, "distilled": distilled}), where=where)
    identity = AffineMap(weight=torch.eye(32), bias=torch.zeros(32), first_bias=torch.zeros(32))
    there, here = (
        pair.models["distilled"].logits([[5, 6, 7]], edit=Stitch(pair.models["base"], identity, 2)).cpu()
        for pair in (models, tiny_pair)
    )
    torch.testing.assert_close(there, here)
    assert set(models.fingerprints()) == {"base", "distilled"}


def test_added_tokens_of_one_vocabulary_that_differ_are_told_of_and_refused(
    save_model: Callable[..., Path], make_tokenizer: Make
) -> None:
    specials = {"base": ("<s>", "</s>", "<box>"), "distilled": ("<s>", "</s>", "<think>")}
    folders = {
        name: str(save_model(Qwen2Config(**SMALL), seed=len(name), tokenizer=make_tokenizer(each)))
        for name, each in specials.items()
    }
    with pytest.warns(ToolkitWarning, match=r"42 \(base '<box>', distilled '<think>'\)"):
        models = StitchableModels.open(find_sources(folders))
    assert models.compared == ""
    front = models.reading("distilled")["base"]
    assert torch.equal(front.residual([[5, 6]], None, 2)[0], models.models["base"].residual([[5, 6]], None, 2)[0])
    with pytest.raises(ValueError, match=r"does not have, or means otherwise: 42 \('<think>'\)"):
        front.residual([[5, 42]], None, 2)
    with pytest.warns(ToolkitWarning, match="1 ids mean different things"):
        allowed = StitchableModels.from_pretrained(folders, clashes="allow")
    assert allowed.reading("distilled") == allowed.models
