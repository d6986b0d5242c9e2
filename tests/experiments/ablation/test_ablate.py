"""Ablation in one call, with what stands in the package root alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toolkit import ablate
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.ablation import AblationSettings
from toolkit.models.model_set import ModelSet
from toolkit.models.pair import ModelPair

SETTINGS = AblationSettings(
    shares=(0.1,), reference=0.1, undecided=(0.0, 1.0), targets=100, control_draws=1, least_lift=0.0
)


@pytest.fixture(scope="module")
def texts(text_file: Path) -> list[str]:
    return [json.loads(line)["text"] for line in text_file.read_text().splitlines()[:40]]


@pytest.fixture(scope="module")
def organism(pair, random_crosscoder) -> tuple[ModelPair, Crosscoder]:
    """A tiny pair that knows the categories' words, and a random crosscoder of it."""
    return pair, random_crosscoder(d_model=16, layers=pair.layers, n_latents=40)


def test_a_shipped_category_in_one_line(organism, texts):
    long = [" ".join(texts[::-1]), " ".join(texts)]
    each = ablate(*organism, iter([*texts, *long]), category="contrastive", settings=SETTINGS)
    assert each.category.name == "contrastive"
    assert len(each.targets.prefixes) == each.targets.found > 5
    context = organism[0].distilled.context
    assert len(organism[0].tokenizer(long[0])["input_ids"]) > context
    assert context // 2 < max(map(len, each.targets.prefixes)) <= context  # longer texts are cut
    assert each["10 %", "chosen"]["distilled"].logit.abs().max() > 0
    assert repr(each).count("\n") == 1


def test_what_cannot_be_ablated_is_said(organism, tiny_pair, crosscoder):
    pair, _ = organism
    with pytest.raises(ValueError, match="no category is called 'doubt': choose from self-reflection, deductive"):
        ablate(*organism, ["Wait"], category="doubt")
    for texts in ("Wait, a bare string", [], ["one text"], iter(["one", None])):
        with pytest.raises(ValueError, match="give a list of texts, some to choose latents and others to test them"):
            ablate(*organism, texts, category="contrastive")
    with pytest.raises(ValueError, match=r"trained on width 32, the models .* have width 16"):
        ablate(pair, crosscoder, ["Wait"], category="contrastive")
    elsewhere = replace(pair, layers=(2,))
    with pytest.raises(ValueError, match=r"layers \(1,\), the pair is read at \(2,\)"):
        ablate(elsewhere, organism[1], ["Wait"], category="contrastive")


def test_own_words_with_a_name_or_without(organism, texts):
    plain = ablate(*organism, texts, category=["But", "However"], settings=SETTINGS)
    named = ablate(*organism, texts, category={"doubt": ["But", "However"]}, settings=SETTINGS)
    assert (plain.category.name, named.category.name) == ("words", "doubt")
    assert plain.category.token_ids == named.category.token_ids
    assert torch.equal(plain["10 %", "matched"].values, named["10 %", "matched"].values)
    for wrong in ([], "", {"a": ["b"], "c": ["d"]}, {"a": "b"}, {"a": []}, {}):
        with pytest.raises(ValueError, match=r"no category is called ''|give the words of one"):
            ablate(*organism, texts, category=wrong)


def test_given_latents_on_a_categorys_words(organism, texts):
    found = ablate(*organism, texts, category="contrastive", latents=[3, 5, 3], settings=SETTINGS)
    assert found.latents == {"given": [3, 5]}
    assert found["given", "chosen"]["distilled"].logit.shape == found["given", "matched"]["distilled"].logit.shape
    with pytest.raises(ValueError, match="latent 40 does not exist: the crosscoder has latents 0 to 39"):
        ablate(*organism, texts, category="contrastive", latents=40)


def test_one_latent_on_one_prompt(organism, texts):
    pair, crosscoder = organism
    codes = crosscoder.encode(pair.read(texts[0]))[-1]
    latent = int(codes.argmax())
    found = ablate(pair, crosscoder, texts[0], latents=latent)
    ids = pair.tokenizer(texts[0], return_tensors="pt")["input_ids"]
    clean = pair.distilled.logits(ids)[0, -1]
    assert found.category.token_ids == (int(clean.argmax()),)
    assert found["given", "chosen"]["distilled"].logit.shape == (1,)
    assert found["given", "chosen"]["distilled"].logit.abs() > 0
    several = ablate(pair, crosscoder, texts[:2], latents=latent)
    torch.testing.assert_close(several["given", "chosen"].values[..., :1], found["given", "chosen"].values)
    for prompts, latents in ((texts[0], None), ([], 3)):
        with pytest.raises(ValueError, match="without a category give prompts and the latents"):
            ablate(pair, crosscoder, prompts, latents=latents)


@pytest.mark.filterwarnings("ignore:.* are the same weights")
def test_of_any_models_the_last_ones_next_token_is_taken(pair, random_crosscoder, texts):
    base, distilled = pair.sources
    three = ModelSet.from_pretrained({"student": distilled, "later": distilled, "teacher": base}, layers=1, where="cpu")
    crosscoder = random_crosscoder(d_model=16, layers=(1,), models=three.names)
    found = ablate(three, crosscoder, texts[0], latents=range(12))
    clean = three.models["teacher"].logits(texts[0])[0, -1]
    assert found.category.token_ids == (int(clean.argmax()),)
    effects = found["given", "chosen"]
    assert effects.models == ("student", "later", "teacher")
