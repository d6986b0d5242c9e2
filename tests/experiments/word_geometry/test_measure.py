import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from toolkit.experiments.word_geometry import WordGeometryConfig
from toolkit.experiments.word_geometry.measure import DIMS, measure
from toolkit.harvest.word_pairs import prefix_token
from toolkit.models.pair import ModelPair
from toolkit.settings.models import ControlledModels

pytestmark = pytest.mark.filterwarnings("ignore:base and distilled are the same weights")  # one model will do here

COLOURS = [("red", "blue"), ("green", "black"), ("white", "brown"), ("yellow", "pink"), ("gray", "purple")]
COLOURS += [("blue", "gold"), ("brown", "gray"), ("orange", "red")]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Two classes of word pairs: eight of single tokens among nine, and one."""
    folder = tmp_path_factory.mktemp("words")
    rows = [{"input": a, "output": b} for a, b in [*COLOURS, ("not one token", "orange")]]
    (folder / "colours.json").write_text(json.dumps(rows))
    (folder / "few.csv").write_text("dog,cat\n")
    return (str(folder),)


def states(folder: str, pair: ModelPair, words: list[str], layer: int, before: str) -> torch.Tensor:
    """The model's own hidden states of each word, centred."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = pair.tokenizer([before + word for word in words], add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        read = model(ids, output_hidden_states=True).hidden_states[layer][:, -1].double()
    return read - read.mean(dim=0)


def naive_loss(centred: torch.Tensor, dims: int) -> float:
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    a_to_b = (centred @ vectors.flip(1)[:, :dims]).view(-1, 2, min(dims, centred.shape[1]))
    losses = [
        (a - b - c + d).norm() / torch.stack([a, b, c, d]).norm()
        for (a, b), (c, d) in itertools.combinations(a_to_b, 2)
    ]
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize("paper", [False, True])
def test_losses_are_those_of_the_models_own_states(pair, organism_folders, words, paper: bool):
    found = measure(WordGeometryConfig(words=words, paper=paper), pair)
    before = "" if paper else pair.tokenizer.decode([prefix_token(pair.tokenizer)])
    assert found.prefix == (before or None)
    assert list(found.classes) == ["colours"]
    assert list(found.classes["colours"]) == ["base", "distilled"]
    for folder, geometry in zip(organism_folders, found.classes["colours"].values(), strict=True):
        centred = states(folder, pair, [word for pair in COLOURS for word in pair], pair.layers[0], before)
        for dims in DIMS:
            assert geometry.by_dims[dims].loss == pytest.approx(naive_loss(centred, dims), rel=1e-3)


def test_embeddings_are_compared_on_one_scale(pair, organism_folders, words):
    found = measure(WordGeometryConfig(words=words), pair)
    centred = states(organism_folders[0], pair, [word for pair in COLOURS for word in pair], 0, "")
    steps = centred[::2] - centred[1::2]
    expected = torch.pdist(steps).square().mean() / centred.square().sum(dim=1).mean()  # 16 components are all
    assert found.classes["colours"]["base"].embedded.loss == pytest.approx(float(expected), rel=1e-4)


def test_few_pairs_are_left_out_and_counted(pair, words):
    found = measure(WordGeometryConfig(words=words), pair)
    assert [(given.name, len(given.pairs), given.n_given) for given in found.given] == [
        ("colours", 8, 9),
        ("few", 1, 1),
    ]
    assert list(found.classes) == ["colours"]
    assert list(found.left_out) == ["few"]
    why = r"few: of 1 of 1 pairs both words are one token of this tokenizer, and 8 are needed: .*--spaced"
    assert re.match(why, found.left_out["few"])
    with pytest.raises(ValueError, match=why):
        measure(WordGeometryConfig(words=(f"{words[0]}/few.csv",)), pair)


def test_models_share_their_draws(organism_folders, words):
    twins = ModelPair.from_pretrained(base=organism_folders[0], distilled=organism_folders[0], where="cpu")
    base, distilled = measure(WordGeometryConfig(words=words), twins).classes["colours"].values()
    assert base.by_dims[5].gap_estimate == distilled.by_dims[5].gap_estimate
    assert base.by_dims[5].gap_beyond(distilled.by_dims[5]).value == 0


def test_components_are_fitted_anew_without_each_pair(pair, organism_folders, words):
    found = measure(WordGeometryConfig(words=words), pair)
    chosen = [word for pair in COLOURS for word in pair]
    expected = []
    for place in range(0, len(chosen), 2):
        kept = chosen[:place] + chosen[place + 2 :]
        expected.append(naive_loss(states(organism_folders[0], pair, kept, pair.layers[0], found.prefix), 5))
    without = found.classes["colours"]["base"].by_dims[5].without
    assert sorted(without.tolist()) == pytest.approx(sorted(expected), rel=1e-3)
    shared = measure(WordGeometryConfig(words=words, shared_components=True), pair)
    assert sorted(shared.classes["colours"]["base"].by_dims[5].without.tolist()) != pytest.approx(
        sorted(expected), rel=1e-3
    )


def test_the_seed_decides(pair, words):
    gaps = [
        measure(WordGeometryConfig(words=words, seed=seed), pair).classes["colours"]["base"].by_dims[2].gap
        for seed in (1, 1, 2)
    ]
    assert gaps[0] == gaps[1] != gaps[2]


def test_components_of_all_classes(pair, tmp_path: Path):
    for name, chosen in (("colours", COLOURS), ("turned", [(b, a) for a, b in COLOURS])):
        (tmp_path / f"{name}.csv").write_text("\n".join(map(",".join, chosen)))
    config = {"words": (str(tmp_path),)}
    own, shared = (measure(WordGeometryConfig(**config, shared_components=on), pair).classes for on in (False, True))
    for name in ("colours", "turned"):  # both classes have the same words, so all words have the same components
        losses = [of[name]["base"].by_dims[5].loss for of in (own, shared)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    (tmp_path / "turned.csv").write_text(
        "\n".join(
            ["dog,cat", "king,river", "house,tree", "star,ship", "cow,key", "egg,shoe", "bird,door", "book,chair"]
        )
    )
    other = measure(WordGeometryConfig(**config, shared_components=True), pair).classes
    assert other["colours"]["base"].by_dims[2].loss != pytest.approx(losses[1], rel=1e-3)


def test_a_control_is_measured_beside_them(pair, save_organism_model, words):
    config = WordGeometryConfig(words=words, models=ControlledModels(control=save_organism_model(seed=3)))
    found = measure(config, pair)
    models = found.classes["colours"]
    assert list(models) == ["base", "distilled", "control"]
    assert models["control"].by_dims[20].loss not in {models[name].by_dims[20].loss for name in ("base", "distilled")}
    origins = found.origin()
    assert sorted(map(len, origins["words"].values())) == [64, 64]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"paper": True, "prefix": "\n"}, "give one of them"),
        ({"prefix": "several tokens here"}, "the prefix 'several tokens here' is"),
        ({"words": ("nowhere.csv",)}, "no word pairs at 'nowhere.csv'"),
    ],
)
def test_bad_settings(pair, words, settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        measure(WordGeometryConfig(**{"words": words} | settings), pair)
