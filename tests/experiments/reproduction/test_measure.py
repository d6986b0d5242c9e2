"""What decides whether a finished part can be taken up again."""

from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.experiments.reproduction import ReproductionConfig
from toolkit.experiments.reproduction.measure import made_of
from toolkit.experiments.run import Run


@pytest.mark.parametrize(
    ("changed", "named"), [("seed_1", "crosscoders"), ("null", "null run"), ("null/seed_1", "null run")]
)
def test_a_part_is_made_of_every_seed_and_of_the_null_run(
    changed: str, named: str, run: Run, organism_folders: tuple[str, str], tmp_path: Path
) -> None:
    shape = replace(run.crosscoder.config, sources=organism_folders)
    run, crosscoder = replace(run, crosscoder=Crosscoder(shape)), Crosscoder(shape)
    for folder in ("seed_1", "null", "null/seed_1"):
        crosscoder.save_pretrained(tmp_path / folder)
    record = [made_of(ReproductionConfig(), opened(run, tmp_path), {"sha256": {}})]
    crosscoder.b_enc.add_(1.0)
    crosscoder.save_pretrained(tmp_path / changed)
    record += [made_of(ReproductionConfig(), opened(run, tmp_path), {"sha256": {}}) for _ in range(2)]
    before, after, again = record
    assert after == again
    assert {name for name in before if before[name] != after[name]} == {named}


def opened(run: Run, folder: Path) -> Run:
    """The run afresh, with what lies in the folder."""
    return replace(run, folder=folder, null_folder=folder / "null")
