"""A crosscoder opens with the models and text of its run, or with none that do not fit."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
import torch

from toolkit.artifacts import sha256
from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.latent_classes import LatentClassesConfig
from toolkit.experiments.layer_divergence import LayerDivergenceConfig
from toolkit.experiments.opening import open_models, open_named
from toolkit.experiments.origin import origin_of
from toolkit.experiments.run import Run
from toolkit.experiments.stitching import StitchingConfig
from toolkit.experiments.word_geometry import WordGeometryConfig
from toolkit.fields import changed
from toolkit.models.places.one_at_a_time import OneAtATime
from toolkit.models.where import Where
from toolkit.settings.crosscoder_run import EMBEDDED_DEFAULTS, PAPER_DEFAULTS, RunConfig
from toolkit.settings.findings import SHIPPED, CrosscoderChoice, TextChoice
from toolkit.settings.models import ModelChoice, StitchedModels
from toolkit.statistics.estimates import GIVEN_ONE
from toolkit.training.streams import open_activations

Save = Callable[..., Path]


@pytest.fixture
def save(organism_folders: tuple[str, str], tmp_path: Path) -> Save:
    """Save a random crosscoder of the tiny models, perhaps with the settings of its run."""

    def write(run: RunConfig | None = None, **changes: object) -> Path:
        config = CrosscoderConfig(
            d_model=16, models=("base", "distilled"), layers=(2,), n_latents=8, sparsity="l1", k=1,
            sources=organism_folders,
        )  # fmt: skip
        crosscoder = Crosscoder(replace(config, **changes))
        crosscoder.W_dec.copy_(torch.randn(crosscoder.W_dec.shape, generator=torch.Generator().manual_seed(0)))
        folder = tmp_path / "run"
        crosscoder.save_pretrained(folder)
        if run is not None:
            path = folder / "config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"run": run.settings()}))
        return folder

    return write


CPU = Where(device_map="cpu")


def opened(folder: Path, **changes: object) -> Run:
    """The run in a folder, on the CPU, with some of the settings that an experiment has."""
    given = {"run": folder, "device_map": "cpu"} | changes
    kinds = (CrosscoderChoice, TextChoice, ModelChoice, Where)
    return Run.of(
        *(kind(**{each.name: given[each.name] for each in fields(kind) if each.name in given}) for kind in kinds)
    )


def test_a_run_brings_its_models_text_and_settings(save: Save, config: RunConfig, organism_folders, text_file: Path):
    folder = save(config)
    run = opened(folder)
    assert run.reading.settings() == config.settings()
    assert run.models.sources == organism_folders
    assert run.models.layers == (2,)  # the crosscoder's, whatever the pair's default is
    torch.testing.assert_close(run.crosscoder.W_dec, Crosscoder.from_pretrained(folder, device="cpu").W_dec)
    first = json.loads(text_file.read_text().splitlines()[0])["text"]
    assert next(iter(run.corpus.held_out))["text"] == first
    facts = run.facts()
    assert facts["models"] == " → ".join(organism_folders)
    assert facts["site"] == "input of layer 2 of 3, d_model 16"
    assert facts["crosscoder"] == "8 latents, l1"
    assert facts["text"] == f"{text_file}, held out"


def test_what_the_user_names_comes_first(save: Save, config: RunConfig, organism_folders, tmp_path: Path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"body": "Other text."}\n')
    folder = save(config)
    run = opened(folder, data=str(other), text_field="body")
    assert next(iter(run.corpus.held_out))["text"] == "Other text."
    assert (run.reading.text.data, run.reading.text.text_field) == (str(other), "body")
    assert run.reading.text.row_length == config.text.row_length
    assert run.facts()["text"] == f"{other}, read whole"
    how = {"dtype": "bfloat16", "sequential": True, "distilled_device": "cpu"}
    named = opened(folder, base=organism_folders[0], distilled=organism_folders[1], **how)
    assert named.models.distilled.model._module.dtype == torch.bfloat16
    assert isinstance(named.models.distilled.place, OneAtATime)
    assert named.settings.where.distilled_device == "cpu"


def test_a_crosscoder_without_a_run_names_its_models(save: Save, text_file: Path, organism_folders):
    run = opened(save(), data=str(text_file))
    assert run.models.sources == organism_folders
    assert run.reading.text.row_length == 512 < PAPER_DEFAULTS.text.row_length  # the models' context
    with pytest.raises(ValueError, match=r"run does not say which models .* give a pair by name, or base and"):
        opened(save(sources=()), data=str(text_file))


def test_the_shipped_crosscoder_is_the_default():
    run = Run.open(where="cpu")
    assert run.models.origins == ("artifacts/organism/base", "artifacts/organism/distilled")
    assert run.reading.text.row_length == EMBEDDED_DEFAULTS.text.row_length
    assert run.facts()["models"] == "artifacts/organism/base → artifacts/organism/distilled"
    assert run.reading.text.data == "organism"


def test_a_folder_is_opened_by_its_name_and_loads_nothing_before_it_is_used(save: Save, config: RunConfig):
    folder = save(config)
    (folder / "metrics.json").write_text('{"fve": 0.5}')
    run = Run.open(str(folder))
    assert run.settings.settings() == config.settings()
    assert run.metrics == {"fve": 0.5}
    assert str(folder) in repr(run)
    assert "8 latents" in repr(run)
    assert repr(run).count("\n") < 2
    assert run.models is run.models
    assert Run.open().crosscoder.config.n_latents == 768
    with pytest.raises(ValueError, match=r"metrics.json does not exist: open the folder of a training run"):
        _ = replace(run, folder=folder.parent).metrics


def test_models_that_it_was_not_trained_on_are_refused_and_both_named(
    save: Save, config: RunConfig, save_organism_model, organism_folders
):
    def error(base: str, distilled: str, **changes: object) -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - what it says is checked below
            opened(save(config, **changes), base=base, distilled=distilled).load()
        return str(caught.value)

    wide = [save_organism_model(seed=seed, hidden_size=24) for seed in (1, 2)]
    said = error(*wide)
    assert "width 16" in said
    assert "width 24" in said
    assert all(source in said for source in wide)
    other = save_organism_model(seed=3)
    said = error(organism_folders[0], other)
    assert all(source in said for source in (*organism_folders, other))
    assert "--other-models" in said
    assert "layer 7 is out of range" in error(*organism_folders, layers=(7,))
    other_named = opened(save(config), base=organism_folders[0], distilled=other, other_models=True)
    assert other_named.models.sources == (organism_folders[0], other)


def test_a_checkpoint_that_does_not_say_its_layer(save: Save, config: RunConfig):
    with pytest.raises(ValueError, match=r"do not say which layer it reads.*layers=\[…\]"):
        opened(save(config, layers=(-1,)))


def test_a_run_section_of_another_kind_is_refused(save: Save, config: RunConfig):
    folder = save(config)
    path = folder / "config.json"
    content = json.loads(path.read_text())
    for run in ({**content["run"], "colour": "red"}, {"seed": 0}):
        path.write_text(json.dumps(content | {"run": run}))
        with pytest.raises(ValueError, match=r'config\.json: its "run" section is not that of a run'):
            opened(folder)


def test_models_alone(organism_folders):
    named = open_models(ModelChoice(base=organism_folders[0], distilled=organism_folders[1]), CPU)
    assert named.sources == organism_folders
    with pytest.raises(ValueError, match="give the name of a pair, or both"):
        open_models(ModelChoice(base=organism_folders[0]), CPU)
    assert open_models(ModelChoice(), CPU).origins[0] == "artifacts/organism/base"


def test_models_that_are_stitched_may_differ_in_depth_and_width(organism_folders, folders):
    models = StitchedModels(base=str(folders[0]), distilled=organism_folders[1])
    found = open_named(StitchingConfig(models=models, where=CPU))
    assert (found.names, found.models["base"].d_model, found.models["distilled"].d_model) == (
        ("base", "distilled"),
        32,
        16,
    )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Settings that name a file."""

    lexicon: Path | None = None
    seed: int = 0


def test_findings_name_what_they_came_from(save: Save, config: RunConfig):
    run = opened(save(config))
    origin = origin_of(Asked(seed=3), run)
    assert origin["seed"] == 3
    assert origin["data"] == run.corpus.origin
    assert origin["models"] == run.models.fingerprints()
    assert origin["sha256"].items() >= run.models.files().items()
    assert origin_of(Asked(), run.models)["sha256"] == run.models.files()
    assert origin_of(Asked(), None)["sha256"] == origin_of(Asked(), None)["models"] == {}


def test_every_file_that_is_read_is_named_with_its_hash(run: Run, tmp_path: Path):
    def files(folder: Path, lexicon: Path | None = None) -> dict[str, str]:
        hashes = origin_of(Asked(lexicon=lexicon), replace(run, folder=folder))["sha256"]
        return {name: value for name, value in hashes.items() if name not in run.models.files()}

    folder = tmp_path / "theirs"
    folder.mkdir()
    weights, other, lexicon = folder / "ae.pt", folder / "optimizer.safetensors", tmp_path / "words.json"
    for path in (weights, other, lexicon):
        path.write_text(path.name)
    assert files(folder) == files(weights) == {str(weights): sha256(weights)}
    assert files(Path("owner/name")) == {"owner/name": "hub repository"}
    assert files(weights, lexicon) == {str(weights): sha256(weights), str(lexicon): sha256(lexicon)}
    assert files(SHIPPED).keys() == {"artifacts/crosscoder/crosscoder.safetensors"}


def test_a_run_that_is_given_stands_for_its_models_and_models_for_no_run(run: Run):
    assert open_named(LatentClassesConfig(), run) is run
    assert open_named(WordGeometryConfig(), run) is run.models
    assert open_named(LayerDivergenceConfig(), run) is run
    assert open_named(LayerDivergenceConfig(text=TextChoice(data="a.jsonl")), run) is run.models
    assert open_named(LayerDivergenceConfig(), run.models) is run.models
    with pytest.raises(ValueError, match=r"LatentClassesConfig asks about a crosscoder, ModelPair has none: give Run"):
        open_named(LatentClassesConfig(), run.models)


def test_of_several_layers_one_is_named(save: Save, config: RunConfig):
    assert opened(save(config)).layer == 2
    folder = save(config, layers=(1, 2))
    with pytest.raises(ValueError, match=r"reads layers \(1, 2\): name the one to edit as layer"):
        _ = opened(folder).layer
    with pytest.raises(ValueError, match=r"layer 3: the crosscoder reads layers \(1, 2\)"):
        opened(folder, layer=3)
    assert opened(folder, layer=2).layer == 2


def test_text_that_is_named_is_read_whole_but_for_the_run_s_own(
    save: Save, config: RunConfig, text_file: Path, tmp_path: Path
):
    folder, lines = save(config), text_file.read_text().splitlines()
    same = tmp_path / "link.jsonl"
    same.symlink_to(text_file)
    copy = tmp_path / "copy.jsonl"
    copy.write_text("\n".join([*lines, '{"text": null}', "{"]))
    for data, read in ((text_file, lines[::20]), (same, lines[::20]), (copy, lines)):
        run = opened(folder, data=str(data))
        texts = [json.dumps({"text": record["text"]}) for record in run.corpus.held_out if not record["left_out"]]
        assert [json.loads(text) for text in texts] == [json.loads(line) for line in read]
    assert run.facts()["text"] == f"{copy}, read whole"
    assert "documents" not in run.facts()
    list(run.coded(10**6))
    assert run.facts()["documents"].endswith("left out 1 malformed, 1 no text")


def test_the_null_pair_is_read_on_the_text_of_the_run(save: Save, config: RunConfig, tmp_path: Path):
    own = save(config).rename(tmp_path / "own")
    run = opened(own, null_run=save(changed(config, row_length=32, keep_position_0=True)))
    assert run.null is not None
    assert run.null.corpus is run.corpus
    own_ids, null_ids = (torch.cat([b.batch.input_ids.flatten() for b in each.coded(300)]) for each in (run, run.null))
    assert torch.equal(own_ids, null_ids)
    assert [len(b.codes) for b in run.coded(300)] == [len(b.codes) for b in run.null.coded(300)]


def test_a_null_run_that_is_not_there_is_no_run_without_one(save: Save, config: RunConfig, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nothing is neither a folder"):
        _ = opened(save(config), null_run=tmp_path / "nothing").null
    assert opened(save(config)).null is None


def test_held_out_text_comes_coded(save: Save, config: RunConfig):
    run = opened(save(config))
    batches = list(run.coded(600))
    activations = torch.cat([batch.activations for batch in batches])
    assert len(activations) - len(batches[-1].activations) < 600 <= len(activations)
    read = torch.cat(
        list(
            open_activations(run.reading.text, run.reading.mask, run.models, run.corpus.held_out, seed=run.reading.seed)
        )
    )
    torch.testing.assert_close(activations, read[: len(activations)])
    torch.testing.assert_close(batches[0].codes, run.crosscoder.encode(batches[0].activations))
    assert max(coded.batch.input_ids.numel() for coded in run.coded(200, batch_tokens=64)) <= 64


def beside(folder: Path, seed: int, **changes: object) -> Path:
    """A crosscoder of another seed in a run's folder."""
    own = Crosscoder.from_pretrained(folder)
    other = Crosscoder(replace(own.config, **changes))
    other.W_dec.copy_(torch.randn(other.W_dec.shape, generator=torch.Generator().manual_seed(seed)))
    other.save_pretrained(folder / f"seed_{seed}")
    return folder / f"seed_{seed}"


def test_the_crosscoders_of_a_run_are_told_with_their_hashes_once_they_were_opened(save: Save, config: RunConfig):
    folder = save(config)
    others = [beside(folder, seed) for seed in (10, 2)]
    (folder / "seed_of_doubt").mkdir()
    run = opened(folder).load()
    assert "seeds" not in run.facts()
    assert list(run.crosscoders) == [0, 2, 10]
    assert run.crosscoders[0] is run.crosscoder
    assert run.facts()["seeds"] == "3: 0, 2, 10"
    files = {str(each / "crosscoder.safetensors") for each in (folder, *others)}
    assert origin_of(Asked(), run)["sha256"].keys() - run.models.files().keys() == files
    for other in others:
        shutil.rmtree(other)
    alone = opened(folder)
    assert list(alone.crosscoders) == [0]
    assert alone.facts()["seeds"] == f"1: {GIVEN_ONE}"


def test_what_lies_beside_a_crosscoder_and_does_not_belong_there_is_said_before_anything_is_read(
    save: Save, config: RunConfig
):
    def error(folder: Path) -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - what it says is checked below
            opened(folder).load()
        return str(caught.value)

    half = save(config)
    (beside(half, 1) / "crosscoder.safetensors").unlink()
    assert "seed_1 lacks crosscoder.safetensors: it was not written to its end: go on with the run (--resume)" in error(
        half
    )
    for seed, changes in ((1, {"n_latents": 9}), (0, {})):
        folder = save(config)
        shutil.rmtree(folder / "seed_1", ignore_errors=True)
        foreign = beside(folder, seed, **changes)
        assert f"{foreign} holds a crosscoder that was not trained beside the one in {folder}" in error(folder)
        shutil.rmtree(foreign)


def test_a_null_run_has_the_shape_of_the_run_and_is_told_once_it_was_opened(
    save: Save, config: RunConfig, tmp_path: Path
):
    null = shutil.copytree(save(config), tmp_path / "null")
    run = opened(save(config), null_run=null)
    assert "null pair" not in run.facts()
    assert run.null is not None
    assert "models" not in vars(run.null)  # they are loaded when they are first asked for
    assert run.facts()["null pair"] == " → ".join(run.crosscoder.config.sources)
    assert str(null / "crosscoder.safetensors") in origin_of(Asked(), run)["sha256"]
    for changes, said in (
        ({"n_latents": 9}, "n_latents 8, and .* 9"),
        ({"layers": (1,)}, r"layers \(2,\), and .* \(1,\)"),
    ):
        other = opened(save(config, **changes), null_run=null)
        with pytest.raises(ValueError, match=rf"^the null run {null} has {said}: .*; train the null run with the same"):
            _ = other.null
