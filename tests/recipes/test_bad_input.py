"""What a run says to bad input: exit code 2, with value, limit and remedy; 1 when training itself failed."""

import json
import shutil
import subprocess
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

Train = Callable[[list[str]], None]
Refuse = Callable[..., str]


@pytest.fixture
def refuse(train: Train, run_arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run with further arguments, expect a failure, and return what it says on one line."""

    def run(*arguments: object, code: int = 2) -> str:
        with pytest.raises(SystemExit) as stopped:
            train([*run_arguments, *map(str, arguments)])
        assert stopped.value.code == code
        return " ".join(capsys.readouterr().err.replace("│", " ").split())

    return run


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--k", "65"], ["k = 65", "n_latents = 64", "lower k"]),
        (["--lr", "-0.1"], ["lr -0.1", "above 0"]),
        (["--tokens", "255"], ["tokens 255", "one batch of 256", "more tokens"]),
        (["--layers", "3"], ["layer 3", "0", "2"]),
        (["--row-length", "1"], ["--row-length 1", "at least 2"]),
        (["--forward-tokens", "32"], ["--forward-tokens 32", "--row-length 64", "raise the first"]),
        (["--buffer-tokens", "100"], ["--buffer-tokens 100", "batch of 256", "raise"]),
        (["--outlier-factor", "1"], ["outlier_factor 1.0", "above 1"]),
        (["--checkpoint-steps", "0"], ["checkpoint_steps 0", "at least 1"]),
        (["--mix", "0.5", "0.6"], ["--mix (0.5, 0.6)", "add up to 1"]),
        (["--sparsity", "l0"], ["l0", "l1", "batchtopk"]),
        (["--nonsense", "1"], ["Unrecognized options: --nonsense", "--help"]),
        (["--pair", "organism"], ["the name of a pair, or both base= and distilled="]),
        (["--resume", "--overwrite"], ["--resume and --overwrite exclude each other"]),
        (["--base", "/no/such/model"], ["/no/such/model", "does not exist"]),
        (["--base", "nobody/no-such-model"], ["nobody/no-such-model", "HF_HUB_OFFLINE", "path"]),
        (["--device-map", "nowhere"], ["device 'nowhere' is not known", "give auto, cpu, cuda"]),
        (["--dtype", "bf17"], ["dtype 'bf17' is no floating-point type", "bfloat16"]),
        (["--data", "/no/such.txt"], ["/no/such.txt", "no file", "give a path"]),
    ],
    ids=lambda value: " ".join(value[:2]) if value[0].startswith("--") else "",
)
def test_impossible_settings_are_refused(refuse: Refuse, arguments: list[str], parts: list[str]) -> None:
    said = refuse(*arguments)
    assert [part for part in parts if part not in said] == []


@pytest.mark.parametrize(
    ("change", "noun"),
    [({"hidden_size": 32}, "width"), ({"num_hidden_layers": 4}, "depth"), ({"vocab_size": 100}, "vocabulary")],
)
def test_models_of_different_shape_are_refused(
    refuse: Refuse, save_organism_model: Callable[..., str], change: dict[str, int], noun: str
) -> None:
    said = refuse("--distilled", save_organism_model(seed=3, **change))
    assert f"the models differ in {noun}" in said
    assert str(*change.values()) in said


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "pip install optimum"),
        ({"model_type": "bert"}, "the decoder layers of model type 'bert' are not known"),
        ({"model_type": "of-tomorrow"}, "of-tomorrow"),
        ({"auto_map": {"AutoConfig": "own.Config"}, "model_type": "own"}, "trust_remote_code=True"),
        ({"hidden_size": 20}, "embed_tokens.weight is ["),
        ({"tie_word_embeddings": False}, "lack 1 tensors, such as lm_head.weight"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"num_attention_heads": 0}, "cannot load the weights"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_models_that_cannot_be_run_are_refused_in_one_line_before_training(
    refuse: Refuse, save_organism_model: Callable[..., str], tmp_path: Path, config: dict[str, object], said: str
) -> None:
    folder = Path(save_organism_model(seed=3))
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    assert said in refuse("--distilled", folder)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_too_little_text_is_refused(refuse: Refuse, tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("One sentence.\n\nAnother one.\n")
    said = refuse("--data", path)
    assert "ordinary tokens, and one batch takes 256" in said
    assert "lower --batch-tokens" in said


@pytest.mark.parametrize("content", ["", "\n", '{"text": ""}\n'], ids=["nothing", "a blank line", "an empty text"])
def test_empty_data_are_refused(refuse: Refuse, tmp_path: Path, content: str) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text(content)
    said = refuse("--data", path)
    assert "empty.jsonl has no usable record" in said


def test_a_missing_field_is_named(refuse: Refuse, tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"body": "Some text."}\n' * 50)
    said = refuse("--data", path)
    assert "'text'" in said
    assert "['body']" in said
    assert "--text-field" in said


def test_a_folder_with_a_run_is_kept(
    refuse: Refuse, train: Train, run_arguments: list[str], finished_run: Path
) -> None:
    config = json.loads((finished_run / "config.json").read_text())
    weights = (finished_run / "crosscoder.safetensors").read_bytes()
    assert "already holds a run: add --resume to go on with it, --overwrite to replace it" in refuse()
    said = refuse("--resume", "--seed", "7")
    assert "seed: 0 then, 7 now" in said
    train([*run_arguments, "--overwrite", "--seed", "7"])
    replaced = json.loads((finished_run / "config.json").read_text())
    assert replaced["run"] == config["run"] | {"seed": 7}
    assert (finished_run / "crosscoder.safetensors").read_bytes() != weights
    assert len((finished_run / "metrics.jsonl").read_text().splitlines()) == 40


def test_one_model_given_as_both_is_refused_before_anything_is_loaded(
    refuse: Refuse, organism_folders: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.settings.models.ModelChoice.open", lambda *_, **__: pytest.fail("a model was loaded"))
    base = organism_folders[0]
    copy = shutil.copytree(base, tmp_path / "under another name")
    for distilled in (base, copy):
        said = refuse("--distilled", distilled)
        assert f"distilled ({distilled}) and base ({base}) are the same weights" in said
        assert "give --distilled the model after distillation, and --base the one before it" in said
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_too_little_disk_is_told_before_training(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    said = refuse()
    assert "0.00 GB free" in said
    assert "lower --keep-checkpoints" in said
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_activations_that_are_no_numbers_stop_the_run(refuse: Refuse, save_organism_model: Callable[..., str]) -> None:
    folder = save_organism_model(seed=4)
    path = Path(folder) / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.0.mlp.up_proj.weight"].fill_(3e38)  # finite, but not what comes of it
    save_file(tensors, path, metadata={"format": "pt"})
    said = refuse("--distilled", folder, code=1)
    assert "step 1 met NaN or infinity" in said
    assert "stream 0: mean" in said
    assert "stream 1: mean nan, max |x| nan, not finite 100.00%" in said
    assert "last good checkpoint: none yet" in said


def test_a_process_of_its_own_exits_alike(start: Callable[[list[str]], "subprocess.Popen[str]"]) -> None:
    process = start(["--lr", "-0.1"])  # refused before anything heavy is imported
    assert "lr -0.1" in process.communicate(timeout=120)[1]
    assert process.returncode == 2
