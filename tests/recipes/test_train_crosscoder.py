import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from toolkit.artifacts import sha256
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.models.pair import ModelPair
from toolkit.organism.documents import BEHAVIOURS

Train = Callable[[list[str]], None]
METRICS = "fve_base fve_distilled l0 dead_share kl_spliced_base kl_spliced_distilled mean_nrn tokens seconds".split()


def test_a_run_folder_holds_all_it_should(train: Train, run_arguments: list[str], tmp_path: Path) -> None:
    train([*run_arguments, "--data", "organism", "--seed", "5"])
    folder = tmp_path / "run"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(METRICS) <= metrics.keys()
    assert metrics["tokens"] == 10_240
    assert metrics["fve_base"] > 0.3
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 41))
    report = (folder / "report.html").read_text()
    assert [behaviour for behaviour in BEHAVIOURS if behaviour not in report] == []
    assert len(list((folder / "figures").glob("*.png"))) == 4
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes == {".safetensors", ".json", ".jsonl", ".html", ".png"}, "nothing pickled, nothing left behind"


def test_provenance_says_where_a_run_came_from(
    trained: Path, organism_folders: tuple[str, str], text_file: Path
) -> None:
    origin = json.loads((trained / "provenance.json").read_text())
    assert origin["seed"] == 0
    assert origin["versions"]["torch"] == torch.__version__
    assert Path(sys.argv[0]).name in origin["command"]
    assert origin["data"]["files"] == {str(text_file): sha256(text_file)}
    weights = [Path(folder) / "model.safetensors" for folder in organism_folders]
    assert origin["sha256"] == {str(path): sha256(path) for path in weights}
    assert len(origin["commit"].removesuffix("-dirty")) >= 40 or origin["commit"] is None


def test_the_crosscoder_loads_and_takes_raw_activations(
    trained: Path, organism_folders: tuple[str, str], text_file: Path
) -> None:
    crosscoder = Crosscoder.from_pretrained(trained)
    pair = ModelPair.from_pretrained(base=organism_folders[0], distilled=organism_folders[1])
    text = [json.loads(line)["text"] for line in text_file.read_text().splitlines()[:20]]
    x = pair.read(text).cpu()
    error = (x - crosscoder(x).cpu()).square().sum(dim=(0, 2)) / (x - x.mean(dim=0)).square().sum(dim=(0, 2))
    metrics = json.loads((trained / "metrics.json").read_text())
    fve = torch.tensor([metrics["fve_base"], metrics["fve_distilled"]])
    torch.testing.assert_close(1 - error, fve, rtol=0, atol=0.1)
    config = json.loads((trained / "config.json").read_text())
    assert config["run"]["training"]["n_latents"] == config["crosscoder"]["n_latents"] == 64
    mean_norm = x.norm(dim=2).mean(dim=0)
    torch.testing.assert_close(torch.tensor(config["crosscoder"]["scale"]), 16**0.5 / mean_norm, rtol=0.1, atol=0)


@pytest.mark.parametrize("sparsity", ["l1", "topk", "jumprelu"])
def test_every_rule_runs(train: Train, run_arguments: list[str], tmp_path: Path, sparsity: str) -> None:
    train([*run_arguments, "--sparsity", sparsity, "--sparsity-coefficient", "0.01"])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["fve_distilled"] > 0.3
    assert Crosscoder.from_pretrained(tmp_path / "run").config.sparsity == sparsity


def test_a_finished_run_is_exported(
    train: Train, run_arguments: list[str], finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train([*run_arguments, "--resume", "--export", "dictionary_learning"])
    exported = finished_run / "dictionary_learning"
    assert f"export: {exported}" in capsys.readouterr().out.replace("\n", "")
    x = torch.randn(8, 2, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Crosscoder.from_pretrained(exported)(x), Crosscoder.from_pretrained(finished_run)(x))


def test_several_layers_run(train: Train, run_arguments: list[str], tmp_path: Path) -> None:
    train([*run_arguments, "--layers", "1", "2"])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    streams = [f"{model}_layer{layer}" for model in ("base", "distilled") for layer in (1, 2)]
    for name in streams:
        assert metrics[f"fve_{name}"] > 0.2
        assert metrics[f"kl_spliced_{name}"] > 0
    assert load_file(tmp_path / "run" / "crosscoder.safetensors")["W_dec"].shape == (64, 4, 16)


def test_other_seeds_lie_beside_the_first_and_go_with_the_run_that_is_replaced_as_exports_do(
    train: Train, run_arguments: list[str], tmp_path: Path, trained: Path
) -> None:
    train([*run_arguments, "--seeds", "2", "--export", "dictionary_learning"])
    folder = tmp_path / "run"
    assert (folder / "crosscoder.safetensors").read_bytes() == (trained / "crosscoder.safetensors").read_bytes()
    own, other = (Crosscoder.from_pretrained(each) for each in (folder, folder / "seed_1"))
    assert own.config == other.config
    assert not torch.equal(own.W_dec, other.W_dec)
    assert torch.equal(Crosscoder.from_pretrained(folder / "seed_1" / "dictionary_learning").W_dec, other.W_dec)
    train([*run_arguments, "--overwrite"])
    assert not (folder / "seed_1").exists()
    assert not (folder / "dictionary_learning").exists()
    (folder / "seed_1").mkdir()
    (folder / "seed_1" / "config.json").write_text("{}")
    with pytest.raises(SystemExit):
        train([*run_arguments, "--seeds", "2", "--overwrite"])
    assert (folder / "seed_1" / "config.json").read_text() == "{}"


def test_a_run_is_gone_on_with_by_as_many_seeds_as_it_began_with(
    train: Train, run_arguments: list[str], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        train([*run_arguments, "--out", str(trained), "--resume", "--seeds", "2"])
    assert refused.value.code == 2
    assert "(seeds: 1 then, 2 now): give the same ones" in " ".join(capsys.readouterr().err.split())


def test_data_that_end_early_are_told(
    train: Train, run_arguments: list[str], text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short.jsonl"
    short.write_text("".join(text_file.read_text().splitlines(keepends=True)[:60]))
    train([*run_arguments, "--data", str(short)])
    said = " ".join(capsys.readouterr().out.split())
    seen = json.loads((tmp_path / "run" / "metrics.json").read_text())["tokens"]
    assert f"warning: the data ended after {seen:,} of 10,240 tokens" in said
    assert f"--tokens {seen}" in said
