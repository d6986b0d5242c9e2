from pathlib import Path

import torch
from rank_processes import together
from ranked_runs import write_file
from safetensors.torch import load_file, save_file

from toolkit.dictionaries.collectives import ALONE, Ranks
from toolkit.tensor_files import read_tensors

TENSORS = {
    "rows": torch.arange(35.0).view(7, 5),
    "first": torch.tensor([3, 4]),
    "rows of counts": torch.arange(3),
    "number": torch.tensor(2.5, dtype=torch.float64),
}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_one_process_writes_what_the_library_reads(tmp_path: Path) -> None:
    write_file(ALONE, tmp_path, TENSORS)
    assert same(load_file(tmp_path / "shared.safetensors"), TENSORS)


def test_two_processes_write_the_same_file_as_one(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    write_file(ALONE, tmp_path, TENSORS)
    together(2, write_file, tmp_path / "two", TENSORS)
    alone, shared = (folder / "shared.safetensors" for folder in (tmp_path, tmp_path / "two"))
    assert shared.read_bytes() == alone.read_bytes()


def test_a_rank_reads_its_rows_alone(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "whole.safetensors")
    share = Ranks(size=2, rank=1).share_of
    read = read_tensors(
        tmp_path / "whole.safetensors", "rows", lambda name, n: share(n) if name.startswith("rows") else slice(0, n)
    )
    expected = TENSORS | {"rows": TENSORS["rows"][3:], "rows of counts": TENSORS["rows of counts"][1:]}
    assert same(read, expected)
