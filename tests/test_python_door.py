"""The Python door: what a notebook asks takes three lines at most each, with names of `toolkit` alone."""

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import toolkit
from toolkit.dictionaries.adapter_storage import save_adapter
from toolkit.dictionaries.transcoders import AdapterConfig
from toolkit.models.model_set import ModelSet

ROOT = Path(__file__).parents[1]
SETTINGS = [
    "AblationConfig", "AdapterEvaluationConfig", "AdapterLatentsConfig", "AttributionConfig", "CompareMethodsConfig",
    "CrosscoderAttributionConfig", "GenEFTConfig", "HarmonicProbesConfig", "HesitationConfig", "LatentAnnotationConfig",
    "LatentClassesConfig", "LayerDivergenceConfig", "PrepareConfig", "ReasoningEvaluationConfig", "RunCostsConfig",
    "SteeringConfig", "StitchingConfig", "TokenizerEvaluationConfig", "TopExamplesConfig", "TrainingConfig",
    "WordGeometryConfig",
]  # fmt: skip
PARTS = [
    "AblationSettings", "AdapterChoice", "ArmDictionaries", "CentreSteering", "Checkpoint", "ControlledModels",
    "CrosscoderChoice", "FindingsOutput", "ModelChoice", "ReasoningEvaluationSettings", "Sampling", "ServerChoice",
    "TextChoice", "Where",
]  # fmt: skip
THINGS = [
    "AdaptedModel",
    "Adapter",
    "AdapterRun",
    "AttributionGraph",
    "Crosscoder",
    "HarmonicLinear",
    "ModelPair",
    "ModelSet",
    "Run",
    "SetLatent",
    "Stitch",
    "StitchableModels",
]
CALLS = [
    "ablate", "annotate", "attribute", "classify", "evaluate", "evaluate_reasoning", "examine", "export_lm_eval",
    "fit_harmonic", "fit_logistic", "fit_stitch", "harvest_chunks", "harvest_texts", "latent_scaling",
    "load_steering_vector", "logit_lens", "move_toward", "open_adapter", "read_latents", "save_adapter",
    "save_steering_vector", "shift", "stability", "steer", "train_adapter", "train_crosscoder",
]  # fmt: skip

TEXTS = [" ".join(f"w{(7 * text + 3 * place) % 40}" for place in range(4 + text % 9)) for text in range(40)]
CHAT = [{"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "w3 w4 w5"}]
WISHES = {
    "activations of texts, with ids and document numbers": """
found = toolkit.harvest_texts(models, texts, layers=[1, 2], row_length=8, keep_position_0=True)
assert found["base_layer1"].shape == (len(found.ids), 32) and found.documents[-1] == len(texts) - 1
""",
    "activations of chat messages": """
assert len(toolkit.harvest_texts(models, chat)) == len(models.read(chat)) - 1
""",
    "a crosscoder's codes of texts, piece by piece": """
codes = [crosscoder.encode(chunk) for chunk in toolkit.harvest_chunks(models, iter(texts), chunk_tokens=50)]
assert len(codes) > 1
""",
    "how answers change under an edit, and by how much": """
edited = (organism.distilled, toolkit.SetLatent(organism, its_crosscoder, latent=3, value=1.0))
found = toolkit.evaluate_reasoning({"plain": organism.base, "set": edited}, [("1?", "1"), ("2?", "2")], new_tokens=8)
assert found.results["arms"]["plain"]["accuracy"] <= 1 and "log_length" in found.results["paired"]["set"]
""",
    "a crosscoder trained on texts": """
harvest = toolkit.harvest_texts(models, texts)
small = toolkit.train_crosscoder([harvest] * 3, n_latents=64, k=4, batch_tokens=64)
assert (small.config.layers, small.config.sources) == ((2,), models.origins)
""",
    "a crosscoder of three models trained on a tensor, with metrics as they come": """
names, steps = ["base", "control", "distilled"], []
small = toolkit.train_crosscoder(x, models=names, n_latents=64, k=4, batch_tokens=64, on_step=steps.append)
assert small.config.models == tuple(names) and len(steps) == len(x) // 64
""",
    "a sparse autoencoder trained on an iterator": """
parts = (part[:, :1] for part in x.split(100))
small = toolkit.train_crosscoder(parts, tokens=400, n_latents=64, k=4, batch_tokens=64)
assert list(toolkit.evaluate(small, x[:, :1]).fve) == ["model_0"]
""",
    "how good a crosscoder is, whose its latents are, and which only look exclusive": """
harvest = toolkit.harvest_texts(models, texts)
for measured in (toolkit.evaluate, toolkit.classify, toolkit.latent_scaling):
    assert len(repr(measured(crosscoder, harvest)).splitlines()) == 2
""",
    "which latents another seed's crosscoder has too": """
one, other = (toolkit.train_crosscoder(x, n_latents=64, k=4, batch_tokens=64, seed=seed) for seed in (0, 1))
found = toolkit.stability(one, other)
assert found.best.median() > found.chance.median() and len(repr(found).splitlines()) == 2
""",
    "how often latents fire, and whose they are": """
read = toolkit.read_latents(models, crosscoder, texts)
assert read.frequency.max() > 0 and read.classes.nrn_tags().count("shared") > 0
""",
    "the strongest examples of some latents, as text": """
examples = toolkit.read_latents(models, crosscoder, texts, examples=2).examples([3, 8])
assert all("«w" in example.text for example in examples) and len(examples) == 4
""",
    "the latents of a category by its name": """
best = toolkit.read_latents(models, crosscoder, texts, categories={"threes": ["w3", "w13"]}).of("threes", n=1)
assert best[0].lift > 1
""",
    "the tokens that a latent speaks for": """
lens = toolkit.logit_lens(models, crosscoder, 3)
(token, logit), *_ = lens["distilled"].tokens(3)
assert isinstance(token, str) and logit > 0
""",
    "ablation of a shipped category": """
found = toolkit.ablate(organism, its_crosscoder, its_texts, category="contrastive", **brief)
assert found["10 %", "chosen"]["distilled"].logit.abs().max() > 0
""",
    "ablation for words of one's own": """
found = toolkit.ablate(organism, its_crosscoder, its_texts, category={"but": ["But"]}, **brief)
assert found.category.name == "but" and len(repr(found).splitlines()) == 2
""",
    "ablation of given latents": """
found = toolkit.ablate(organism, its_crosscoder, its_texts, category=["But"], latents=[3], undecided=(0.0, 1.0))
assert found.latents == {"given": [3]}
""",
    "ablation of one latent on one prompt": """
found = toolkit.ablate(organism, its_crosscoder, its_texts[0], latents=3)
assert found["given", "chosen"]["base"].logit.shape == (1,)
""",
    "an answer under a steered and a clamped latent": """
both = toolkit.steer(scaled, latent=3, strength=0.5) + toolkit.SetLatent(models, scaled, latent=8, value=4.0)
assert models.distilled.generate("w1 w2", edit=both, new_tokens=5) != models.distilled.generate("w1 w2", new_tokens=5)
""",
    "a steering vector for later, and for lm-evaluation-harness": """
edit = toolkit.steer(scaled, latent=3, strength=0.5) + toolkit.shift(1, x[0, 0].repeat(2))
toolkit.save_steering_vector(edit, folder / "vector.safetensors", models.distilled, latent=3, strength=0.5)
toolkit.export_lm_eval(toolkit.load_steering_vector(folder / "vector.safetensors"), folder / "v.pt", models.distilled)
""",
    "logits and activations under an edit": """
edit = toolkit.SetLatent(models, crosscoder, latent=8, value=4.0)
assert models.distilled.logits(texts[:2], edit=edit).shape[0] == 2
assert models.read(texts[0], edit=edit).shape == models.read(texts[0]).shape
""",
    "answers of every model, drawn": """
how = {"new_tokens": 5, "temperature": 0.6, "top_p": 0.95, "seed": 1}
assert models.generate(["w1", "w2 w3"], **how)["base"] == models.base.generate(["w1", "w2 w3"], **how)
assert models.distilled.generate(chat[:1], sampling=toolkit.Sampling(**how)) != ""
""",
    "an answer of a model's later layers behind another model's first ones": """
joined = toolkit.fit_stitch(models.base, models.distilled, texts, layer=2)
assert models.distilled.generate("w1 w2", edit=joined, new_tokens=5) and joined.map.weight.shape == (32, 32)
""",
    "the same for models of other depths, widths or vocabularies": """
reading = toolkit.StitchableModels.from_pretrained({"base": base, "distilled": distilled}, where="cpu").reading("base")
joined = toolkit.fit_stitch(reading["distilled"], reading["base"], texts, layer=1, front_layer=2)
assert reading["base"].logits("w1 w2", edit=joined).shape[1] == 2
""",
    "a probe with a point for each class, and an answer that is moved toward one": """
read = toolkit.harvest_texts(models, texts)
probe = toolkit.fit_harmonic(read["distilled"], read.ids % 2, read.documents, classes=("even", "odd"))
assert models.distilled.generate("w1 w2", edit=toolkit.move_toward(2, probe.centres[1], share=0.1), new_tokens=5)
""",
    "a last layer of points in a network of one's own": """
layer = toolkit.HarmonicLinear(16, 3, exponent=4.0)
assert torch.allclose(layer(x[:, 0]).exp().sum(dim=1), torch.ones(len(x)))
""",
    "geometry of word pairs": """
found = toolkit.examine(toolkit.WordGeometryConfig(words=(words,)), organism)
assert found.name == "word_geometry"
""",
    "divergence of models layer by layer, shown, saved": """
found = toolkit.examine(toolkit.LayerDivergenceConfig(tokens=300, text=toolkit.TextChoice(data=data)), organism)
assert found.title in found._repr_html_() or "svg" in found._repr_html_()
assert found.save(folder / "page").is_file()
""",
    "answers of a distilled model with the base model's MLPs, without an adapter and with it": """
adapted = toolkit.AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter, where="cpu")
answers = {mode: getattr(adapted, mode).generate("w1 w2", new_tokens=5) for mode in ("hybrid", "adapter", "distilled")}
assert len(repr(adapted).splitlines()) == 2 and all(answers.values())
""",
    "latents of an adapter taken out, added to the hybrid, transferred to the distilled model": """
off, added = adapted.without([(1, 3), (2, 5)]), adapted.with_latents([(1, 3)], mlp="base")
transferred = adapted.with_latents([(1, 3)], mlp="distilled", scale=-0.5)
assert len({model.generate("w1 w2", new_tokens=9) for model in (off, added, transferred)}) > 1
""",
    "a mode under an edit of the stream": """
edit = toolkit.steer(scaled, latent=3, strength=0.5)
assert adapted.adapter.logits(texts[:2], edit=edit).shape[0] == 2
""",
    "the codes of an adapter's latents": """
codes = adapted.transcoders[1].encode(adapted.mlp_inputs(texts[:2])[1])
assert codes.shape[-1] == 24 and (codes > 0).any()
""",
    "which words and latents made a logit, and how completely the graph says so": """
graph = toolkit.attribute(adapted, "w1 w2 w3", logit_ids=[5])
assert graph.logit_ids == (5,) and 0 < graph.completeness()[-1] < 2 and len(repr(graph).splitlines()) == 2
""",
    "an adapter trained on texts, with figures as they come, and saved": """
trained = toolkit.train_adapter(texts, base=base, distilled=distilled, row_length=40, n_latents=8, on_step=steps.append)
toolkit.save_adapter(trained.transcoders, folder / "mine")
assert len(steps) == len(texts) and toolkit.open_adapter(folder / "mine").config == trained.transcoders.config
""",
    "an adapter trained on an iterator of texts": """
how = {"base": base, "distilled": models.distilled, "row_length": 40, "n_latents": 8, "batch_sequences": 2}
trained = toolkit.train_adapter(iter(texts), sequences=4, **how)
assert trained.adapter.generate("w1 w2", new_tokens=3)
""",
    "an adapter's folder opened, with its models": """
run = toolkit.AdapterRun.open(adapter_folder, models=toolkit.ModelChoice(base=base, distilled=distilled), where="cpu")
assert run.adapter.config == toolkit.open_adapter(adapter_folder).config and run.models.n_layers == 4
""",
    "a folder opened": """
run = toolkit.Run.open(folder, where="cpu")
assert (run.crosscoder.config.n_latents, run.models.names, run.metrics) == (64, ("base", "distilled"), {"l0": 1.0})
""",
}


def random_adapter() -> toolkit.Adapter:
    chance = torch.Generator().manual_seed(0)
    made = toolkit.Adapter.initialised(AdapterConfig(d_model=32, n_layers=4, n_latents=24), chance)
    for each in made.transcoders:
        each.W_dec.data.copy_(torch.randn(each.W_dec.shape, generator=chance))
    return made


@pytest.fixture
def at_hand(
    folders,
    tiny_pair,
    crosscoder,
    pair,
    random_crosscoder,
    text_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """What a wish names: tiny models with texts, a crosscoder and its folder; the organism's kind with its own."""
    monkeypatch.setattr(tiny_pair.tokenizer, "chat_template", "{% for m in messages %}{{ m.content }} {% endfor %}")
    scaled = random_crosscoder(n_latents=64, scale=(1.0, 1.0), sources=tiny_pair.origins)
    scaled.save_pretrained(tmp_path)
    (tmp_path / "metrics.json").write_text('{"l0": 1.0}')
    base, distilled = map(str, folders)
    adapter = random_adapter()
    save_adapter(adapter, tmp_path / "adapter")
    pairs = [
        "dog,dogs",
        "cat,cats",
        "house,houses",
        "tree,trees",
        "book,books",
        "horse,horses",
        "bird,birds",
        "key,keys",
    ]
    (tmp_path / "words.csv").write_text("\n".join(pairs))
    return {
        "models": tiny_pair,
        "crosscoder": crosscoder,
        "scaled": scaled,
        "folder": tmp_path,
        "texts": TEXTS,
        "chat": CHAT,
        "x": torch.randn(512, 3, 16, generator=torch.Generator().manual_seed(0)),
        "organism": pair,
        "its_crosscoder": random_crosscoder(d_model=16, layers=pair.layers, n_latents=40),
        "its_texts": [json.loads(line)["text"] for line in text_file.read_text().splitlines()[:40]],
        "brief": {"shares": (0.1,), "reference": 0.1, "control_draws": 1, "targets": 20, "undecided": (0.0, 1.0)}
        | {"least_lift": 0.0},
        "words": str(tmp_path / "words.csv"),
        "base": base,
        "distilled": distilled,
        "steps": [],
        "torch": torch,
        "adapter": adapter,
        "adapted": toolkit.AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter, where="cpu"),
        "adapter_folder": str(tmp_path / "adapter"),
        "data": str(text_file),
    }


@pytest.mark.parametrize("wish", WISHES)
def test_a_wish_takes_three_lines_and_no_import_beside_toolkit(at_hand: dict[str, Any], wish: str):
    lines = WISHES[wish].strip().splitlines()
    assert len(lines) <= 3
    told = "\n".join(lines)
    assert "import" not in told
    exec(f"import toolkit\n{told}", at_hand)


def test_the_names_are_these():
    assert sorted([*SETTINGS, *PARTS, *THINGS, *CALLS]) == toolkit.__all__
    assert dir(toolkit) == toolkit.__all__
    lazily = f"import toolkit, sys; sys.exit('torch' in sys.modules or dir(toolkit) != {toolkit.__all__})"
    assert subprocess.run([sys.executable, "-c", lazily], check=False, cwd=ROOT).returncode == 0


@pytest.mark.parametrize("name", toolkit.__all__)
def test_a_name_is_explained_and_typed(name: str):
    public = getattr(toolkit, name)
    assert public.__name__ == name
    said = inspect.getdoc(public)
    assert said
    assert not said.startswith(f"{name}(")  # what dataclass writes for want of words
    made_by = public.__init__ if inspect.isclass(public) else public
    parameters = list(inspect.signature(made_by).parameters.values())[inspect.isclass(public) :]
    assert [each.name for each in parameters if each.annotation is each.empty] == []
    if not inspect.isclass(public):
        assert inspect.signature(public).return_annotation is not inspect.Signature.empty
    if dataclasses.is_dataclass(public):
        assert [each.name for each in dataclasses.fields(public) if each.type is None] == []


def test_a_name_that_is_not_there_is_told_with_one_that_is():
    with pytest.raises(AttributeError, match="module 'toolkit' has no attribute 'Crosscoders'") as said:
        _ = toolkit.Crosscoders
    assert (said.value.name, said.value.obj) == ("Crosscoders", toolkit)  # from which Python finds the likely one


MISTAKES = {
    "toolkit.evaluate('artifacts/crosscoder', x)": "the crosscoder is a str: give one that Crosscoder.from_pretrained",
    "toolkit.examine('ablation')": "'ablation' are no settings of an experiment: give some, such as AblationConfig()",
    "toolkit.examine(toolkit.AblationConfig)": "are no settings of an experiment: give some, such as AblationConfig()",
    "toolkit.train_crosscoder(x, n_latent=8)": "train_crosscoder has no setting 'n_latent': give n_latents",
    "toolkit.ablate(pair, crosscoder, texts, latents=3, share=(0.02,))": "ablate has no setting 'share': give shares",
    "toolkit.ModelSet.from_pretrained('organism')": "models 'organism': give them by name, as {'base': folder,",
    "reading.of(['Wait'])": "no category \"['Wait']\": give one of ",
    "toolkit.ablate(pair, crosscoder, texts, category={'but': 1})": "give the words of one, as a list of strings",
    "toolkit.ablate(pair, crosscoder, texts, latents=3)['5 %']": "give [share, arm], of 'given' and of 'chosen'",
    "toolkit.ablate(pair, crosscoder, texts, category='contrastive')": "are needed: read more text, or widen undecided",
    "toolkit.evaluate_reasoning(pair.base, 'organism')": "give models by name, as {'distilled': pair.distilled}",
    "toolkit.evaluate_reasoning({'it': 'base'}, 'organism')": "arm 'it' is a str: give a model, such as pair.distilled",
    "toolkit.evaluate_reasoning({'it': pair.base}, [('1?', '1'), ('Why?', None)])": "question 1 ('Why?') has no answer",
    "toolkit.evaluate_reasoning({'it': pair.base}, [('1?', '1'), ('2?', ' ')])": "question 2 of the list has an empty",
    "toolkit.evaluate_reasoning({'it': pair.base}, [('1?', [1]), ('2?', '2')])": "list has [1] as its answer: give a",
    "toolkit.evaluate_reasoning({'it': pair.base}, [('1?', '1'), ('1?', '2')])": "'1?' came before with another answer",
    "toolkit.evaluate_reasoning({'it': pair.base}, [('', '1'), ('1?', '2')])": "question 1 of the list has no question",
    "toolkit.evaluate_reasoning({'it': pair.base}, 5)": "questions 5: give a list of (question, answer), a file, or",
    "toolkit.evaluate_reasoning({1: pair.base}, 'organism')": "an arm is named 1: give each arm a name in words",
    "toolkit.evaluate_reasoning({'it': pair.base}, 'organism', budgets=[8, 0])": "budgets 0: must be at least 1",
    "toolkit.evaluate_reasoning({'it': pair.base}, ['1+1?'])": "questions hold '1+1?': give (question, answer)",
    "toolkit.evaluate_reasoning({'it': pair.base}, 'organism', tokens=3)": "has no setting 'tokens': give new_tokens",
    "toolkit.evaluate_reasoning({'it': (pair.base, toolkit.shift(2, torch.ones(16)))}, 'organism')": "of width 16, the",
    "pair.base.generate(texts, seed=[1, 2])": "seed [1, 2]: give one, and with several prompts each has the next",
    "pair.base.logits(texts, edit=[1, 2])": "edit is a list: give one that steer(), shift(), SetLatent or Stitch make",
    "pair.base.residual(texts)": "no layer is given: name at least one, as layers=3",
    "toolkit.fit_stitch(pair.base, pair.distilled, texts, layer=3)": "tokens fit a ridge between streams, and a stream",
    "toolkit.fit_stitch(pair.base, pair.distilled, texts, layer=9)": "9 is out of range",
    "toolkit.fit_stitch(pair.base, pair.distilled, texts, layer=3, map='cubic')": "no map is called 'cubic': choose",
    "toolkit.StitchingConfig(maps=('cubic',))": "no map is called 'cubic': choose from identity, mean_shift",
    "toolkit.HarmonicLinear(16, 3, exponent=0)": "exponent 0: must be above 0 and finite",
    "toolkit.HarmonicProbesConfig(labels=('mood',))": "no label is called 'mood': choose from next_is_hesitation",
    "toolkit.fit_logistic(x[:9, 0], torch.arange(9) % 2, torch.arange(9), classes=('a', 'b'))": "has 5 examples, and a",
    "toolkit.classify(sae, x[:, :1])": "latents are classified in two models, and this crosscoder has one, model_0",
    "toolkit.CrosscoderChoice(run='runs/x').run / 5": "'PosixPath' and 'int'",  # a string for a path is taken
    "toolkit.FindingsOutput(out='runs/x').out / 5": "'PosixPath' and 'int'",
}
TOLD = """
import sys, torch, toolkit
pair = toolkit.ModelPair.from_pretrained("organism")
crosscoder = toolkit.Crosscoder.from_pretrained("artifacts/crosscoder")
x, texts = torch.randn(512, 3, 16), ["However, it is 5+2.", "However, that is 7."]
sae = toolkit.train_crosscoder(x[:, :1], n_latents=64, k=4, batch_tokens=64)
reading = toolkit.read_latents(pair, crosscoder, texts)
for line in sys.stdin:
    try:
        print("taken:", eval(line))
    except (ValueError, TypeError) as error:
        print(str(error).replace("\\n", " "))
"""


def test_a_mistake_is_told_with_its_remedy():
    """In a process of its own, since the tests of this one check types before the toolkit does."""
    asked = subprocess.run(
        [sys.executable, "-c", TOLD], input="\n".join(MISTAKES), capture_output=True, text=True, cwd=ROOT, check=True
    )
    told = dict(zip(MISTAKES, asked.stdout.splitlines(), strict=True))
    assert {line: said for line, said in told.items() if MISTAKES[line] not in said} == {}


def test_what_a_notebook_shows_is_two_lines_without_noise(at_hand: dict[str, Any]):
    models, crosscoder, texts = (at_hand[name] for name in ("models", "crosscoder", "texts"))
    reading = toolkit.read_latents(models, crosscoder, texts)
    run = toolkit.Run.open(ROOT / "artifacts" / "crosscoder")
    prompt, its = at_hand["its_texts"][0], (at_hand["organism"], at_hand["its_crosscoder"])
    effects = toolkit.ablate(*its, prompt, latents=3)["given", "chosen"]
    shown = [
        reading, reading.firing, reading.top, reading.classes, models, models.base, crosscoder, run, run.corpus,
        toolkit.SetLatent(models, crosscoder, latent=3, value=1),
        effects, effects["base"], at_hand["adapted"], at_hand["adapter"], at_hand["adapted"].without([(1, 3)]),
        toolkit.AdapterRun.open(at_hand["adapter_folder"]), toolkit.attribute(at_hand["adapted"], "w1 w2 w3"),
    ]  # fmt: skip
    for each in shown:
        said = repr(each)
        assert len(said.splitlines()) <= 2, said
        assert not any(noise in said for noise in ("tensor(", " object at 0x", f"{ROOT}/artifacts/organism")), said


def test_any_number_of_models_is_read_and_two_are_compared_by_name(folders, random_crosscoder):
    base, distilled = map(str, folders)
    names = ("base", "control", "distilled")
    with pytest.warns(UserWarning, match="the same weights"):
        three = ModelSet.from_pretrained(
            dict(zip(names, (base, distilled, distilled), strict=True)), layers=2, where="cpu"
        )
    found = toolkit.harvest_texts(three, TEXTS)
    assert found.streams == names
    assert torch.equal(found["control"], found["distilled"])
    crosscoder = random_crosscoder(models=names)
    read = toolkit.read_latents(three, crosscoder, TEXTS)
    assert torch.equal(read.firing.fired, (crosscoder.encode(found.activations) > 0).sum(dim=0))
    assert read.classify(("control", "distilled")).models == ("control", "distilled")
    assert toolkit.logit_lens(three, crosscoder, 3).keys() == set(names)
