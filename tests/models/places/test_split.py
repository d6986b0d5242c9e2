"""Layers that are split over two processes answer as whole ones do."""

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_processes import launch
from split_models import (
    answers,
    ask_split_models,
    fail_alone,
    free_some,
    load_on_the_first_alone,
    needs_traceable_parts,
)
from torch import Tensor
from torch.multiprocessing.spawn import ProcessException

from toolkit.models.files import loading
from toolkit.models.files.loading import load_model
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.pair import ModelPair
from toolkit.models.places.split import leading
from toolkit.models.where import Where

Batch = tuple[Tensor, Tensor]


@needs_traceable_parts
def test_split_layers_answer_as_whole_ones(folders: tuple[Path, Path], batch: Batch, tmp_path: Path) -> None:
    launch(2, ask_split_models, folders, batch, tmp_path / "found")
    split, whole = torch.load(tmp_path / "found"), answers(folders, batch, split=False)
    assert split.pop("written") == whole.pop("written")
    padding = ~batch[1].bool()
    for name, values in whole.items():
        if name in ("residual", "edited"):
            split[name][padding] = values[padding] = 0  # means nothing
        torch.testing.assert_close(split[name], values, rtol=1e-5, atol=1e-5, msg=lambda said, name=name: name + said)


@needs_traceable_parts
def test_all_processes_free_what_the_first_does_not_need(folders: tuple[Path, Path], tmp_path: Path) -> None:
    launch(2, free_some, folders, tmp_path)
    assert [(tmp_path / f"models-{rank}").read_text() for rank in range(2)] == ["2", "2"]


@needs_traceable_parts
def test_a_part_that_cannot_be_loaded_is_said_by_the_first_process(folders: tuple[Path, Path], tmp_path: Path) -> None:
    launch(2, load_on_the_first_alone, folders[0], tmp_path / "said")
    assert (tmp_path / "said").read_text() == "process 1: no such folder here"


@needs_traceable_parts
def test_a_failure_in_the_middle_of_a_pass_is_said_and_ends_the_others(
    folders: tuple[Path, Path], batch: Batch, tmp_path: Path
) -> None:
    started = time.perf_counter()
    with pytest.raises(ProcessException):
        launch(2, fail_alone, folders, batch, tmp_path / "said")
    assert time.perf_counter() - started < 60
    first, second = (tmp_path / "said").read_text().splitlines()
    assert "out of memory, and a pass over split layers cannot be halved: lower --forward-tokens" in first
    assert second == "the other processes wait in the middle of a pass over split layers that has failed"


def test_one_process_has_no_others_to_split_layers_over() -> None:
    with pytest.raises(ValueError, match="this is one: start them with `torchrun --nproc-per-node 2 -- "), leading():
        pytest.fail("it leads nobody")


def test_models_are_split_where_others_follow(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"inside `with leading\(\):`"):
        ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[1]), where=Where(tensor_parallel=True))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"sequential": True}, "sequential: about whole models, unused by those whose layers are split"),
        ({"device_map": "cpu", "max_memory": "2GB"}, "device_map, max_memory: about whole models"),
        ({"remote": True}, "tensor_parallel: about models on this machine, unused by those on NDIF"),
    ],
)
def test_settings_of_other_places_are_refused(
    folders: tuple[Path, Path], settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        ModelPair.from_pretrained(
            base=str(folders[0]), distilled=str(folders[1]), where=Where(tensor_parallel=True, **settings)
        )


def test_a_transformers_whose_parts_cannot_be_traced_is_named(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ImportError("cannot import name '_get_parameter_plan'")

    monkeypatch.setattr(loading, "TransformersModel", fail)
    with pytest.raises(ImportError):
        load_model(str(folders[0]), load_tokenizer(str(folders[0])))
    said = rf"transformers {version('transformers')} has split \(cannot import .*pip install 'transformers>=5.19,<5.23'"
    with pytest.raises(ValueError, match=said):
        load_model(str(folders[0]), load_tokenizer(str(folders[0])), Where(tensor_parallel=True))
