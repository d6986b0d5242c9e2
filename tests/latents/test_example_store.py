import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from toolkit.artifacts import DiskFullError
from toolkit.latents import example_store
from toolkit.latents.example_store import ExampleStore
from toolkit.latents.examples import TopExamples
from toolkit.latents.windows import Window

SETTINGS = {"run": "crosscoder", "before": 3}


def fresh() -> TopExamples:
    window = Window(before=3, after=1)
    return TopExamples(4, top=4, sampled=6, window=window, generator=torch.Generator().manual_seed(1))


def add_batches(examples: TopExamples, first: int, last: int) -> None:
    for batch in range(first, last):
        generator = torch.Generator().manual_seed(100 + batch)
        ids = torch.randint(50, (5, 20), generator=generator)
        whole = torch.ones(5, 20, dtype=torch.long)
        codes = torch.randn(100, 4, generator=generator).clamp(min=0)
        codes[:, 3] *= batch == 2
        examples.add(ids, whole, whole.bool(), codes)


def assert_same(first: TopExamples, second: TopExamples) -> None:
    assert first.documents == second.documents
    for latent in range(4):
        assert first.strongest(latent) == second.strongest(latent)
        assert first.quarters(latent) == second.quarters(latent)


def test_a_pass_in_three_sittings_ends_as_one_in_a_single_one(tmp_path: Path) -> None:
    whole = fresh()
    add_batches(whole, 0, 6)
    for sitting in range(3):
        examples = fresh()
        with ExampleStore(tmp_path / "examples.sqlite", SETTINGS) as store:
            loaded = store.load(examples)
            if sitting == 0:
                assert loaded is None
            else:
                progress, tensors = loaded
                assert progress == {"batches": 2 * sitting}
                assert torch.equal(tensors["fired"], torch.full((4,), 2 * sitting))
            add_batches(examples, 2 * sitting, 2 * sitting + 2)
            done = 2 * sitting + 2
            store.save(examples, {"batches": done}, {"fired": torch.full((4,), done)})
    assert_same(examples, whole)
    reopened = fresh()
    with ExampleStore(tmp_path / "examples.sqlite", SETTINGS) as store:
        store.load(reopened)
    assert_same(reopened, whole)


def test_only_latents_that_changed_are_written(tmp_path: Path) -> None:
    examples = fresh()
    add_batches(examples, 0, 3)
    with ExampleStore(tmp_path / "examples.sqlite", SETTINGS) as store:
        store.save(examples, {}, {})
        store._database.execute("UPDATE examples SET score = -1")
        store._database.commit()
        add_batches(examples, 3, 20)  # latent 3 fires in batch 2 alone
        store.save(examples, {}, {})
        rows = store._database.execute("SELECT latent, max(score) FROM examples GROUP BY latent").fetchall()
    assert [(latent, score > 0) for latent, score in rows] == [(0, True), (1, True), (2, True), (3, False)]


def test_rows_can_be_read_with_plain_sql(tmp_path: Path) -> None:
    examples = fresh()
    add_batches(examples, 0, 3)
    path = tmp_path / "examples.sqlite"
    with ExampleStore(path, SETTINGS) as store:
        store.save(examples, {}, {})
    database = sqlite3.connect(path)
    query = "SELECT score, document, position, tokens, activations FROM examples WHERE latent = 2 AND kind = 'top'"
    rows = database.execute(query + " ORDER BY rank").fetchall()
    database.close()
    for row, example in zip(rows, examples.strongest(2), strict=True):
        assert row[:3] == (example.score, example.document, example.position)
        ids = np.frombuffer(row[3], np.int32)
        assert tuple(ids[ids >= 0].tolist()) == example.token_ids
        assert np.frombuffer(row[4], np.float32)[3] == example.score


@pytest.mark.slow
def test_a_kill_in_the_middle_of_saving_leaves_the_last_save(tmp_path: Path) -> None:
    """A process saves again and again, each time a state whose every part says the same number, until it is killed."""
    path = tmp_path / "examples.sqlite"
    script = f"""
import torch
from toolkit.latents.example_store import ExampleStore
from toolkit.latents.examples import TopExamples
examples = TopExamples(300, generator=torch.Generator())
examples.top.tensors["key"][:] = 1
store = ExampleStore({str(path)!r}, {{}})
for step in range(1, 10_000):
    examples.top.tensors["score"][:] = step
    examples.top.changed[:] = True
    store.save(examples, {{"step": step}}, {{"step": torch.tensor(step)}})
    if step == 3:
        print("saving", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == "saving\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    examples = TopExamples(300, generator=torch.Generator())
    with ExampleStore(path, {}) as store:
        loaded = store.load(examples)
    assert loaded is not None
    step = loaded[0]["step"]
    assert step >= 3
    assert int(loaded[1]["step"]) == step
    assert bool((examples.top.tensors["score"] == step).all())


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "examples.sqlite"
    ExampleStore(path, {"before": 9}).close()  # nothing was saved, so nothing is bound to these settings
    with ExampleStore(path, SETTINGS) as store:
        store.save(fresh(), {}, {})
    with pytest.raises(ValueError, match=r"before: 3 then, 5 now.*another --out"):
        ExampleStore(path, SETTINGS | {"before": 5})
    ExampleStore(path, SETTINGS).close()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "examples.sqlite"
    path.write_text("this is no database, but it is long enough to look at")
    with pytest.raises(ValueError, match=r"is damaged, or no file of examples .*: give another --out, or delete it"):
        ExampleStore(path, SETTINGS)
    with pytest.raises(ValueError, match="cannot be used as an SQLite file"):
        ExampleStore(tmp_path / "missing" / "examples.sqlite", SETTINGS)


def saved(path: Path) -> TopExamples:
    """Save examples of three batches in a new store, and return them."""
    examples = fresh()
    add_batches(examples, 0, 3)
    with ExampleStore(path, SETTINGS) as store:
        store.save(examples, {"batches": 3}, {"fired": torch.ones(4)})
    return examples


def execute(path: Path, *statement: object) -> None:
    database = sqlite3.connect(path)
    database.execute(*statement)
    database.commit()
    database.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE examples SET score = score + 1e-3 WHERE latent = 1",
        "UPDATE examples SET rank = 9 WHERE latent = 1 AND rank = 0",
        "UPDATE examples SET latent = -1 WHERE latent = 1",
        "UPDATE examples SET latent = 0.5, rank = 'x' WHERE latent = 1 AND rank = 0",
        "UPDATE examples SET tokens = zeroblob(length(tokens)) WHERE latent = 1",
        "UPDATE examples SET activations = x'00'",
        "UPDATE examples SET activations = 'a'",
        "DELETE FROM examples WHERE latent = 1",
        "UPDATE meta SET value = cast(replace(value, '3', '4') AS BLOB) WHERE name = 'progress'",
        "UPDATE meta SET value = x'ff' WHERE name IN ('progress', 'seal')",
        "UPDATE meta SET value = x'00' WHERE name = 'tensors'",
        "DELETE FROM meta WHERE name = 'seal'",
        "DELETE FROM meta WHERE name IN ('progress', 'tensors')",
    ],
)
def test_what_was_changed_since_it_was_saved_is_refused_in_a_line(tmp_path: Path, change: str) -> None:
    path = tmp_path / "examples.sqlite"
    saved(path)
    execute(path, change)
    with (
        ExampleStore(path, SETTINGS) as store,
        pytest.raises(ValueError, match=r"sqlite is damaged, or no file of examples \(.*delete it") as refused,
    ):
        store.load(fresh())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", ["[]", "null", "3", "x", "\xff"])
def test_settings_of_another_shape_are_refused_in_a_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "examples.sqlite"
    saved(path)
    execute(path, "UPDATE meta SET value = ? WHERE name = 'settings'", (value.encode("latin-1"),))
    with pytest.raises(ValueError, match="is damaged, or no file of examples"):
        ExampleStore(path, SETTINGS)


def test_no_damaged_byte_of_a_file_goes_unseen(tmp_path: Path) -> None:
    """A file with a byte changed, or cut short, is refused or holds what was saved."""
    path, damaged = tmp_path / "examples.sqlite", tmp_path / "damaged.sqlite"
    examples, generator = saved(path), torch.Generator().manual_seed(0)
    whole = path.read_bytes()
    places = [*range(0, 128, 8), *torch.randint(len(whole), (60,), generator=generator).tolist()]
    refused = 0
    for place in places:
        for content in (whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :], whole[:place]):
            damaged.write_bytes(content)
            read = fresh()
            try:
                with ExampleStore(damaged, SETTINGS) as store:
                    found = store.load(read)
            except ValueError:
                refused += 1
            else:
                assert found is None or found[0] == {"batches": 3}
                assert_same(read, examples if found else fresh())
    assert refused > len(places)


def test_a_file_that_another_process_writes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "examples.sqlite"
    examples = saved(path)
    monkeypatch.setattr(example_store, "WAIT_SECONDS", 0.0)
    other = sqlite3.connect(path)
    with ExampleStore(path, SETTINGS) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ValueError, match=r"in use by another process \(.*\): end that, or give another --out"):
            store.save(examples, {}, {})
    with pytest.raises(ValueError, match="in use by another process"):
        ExampleStore(path, SETTINGS)
    other.close()


def test_a_full_disk_leaves_the_last_save(tmp_path: Path, small_disk: Callable) -> None:
    path = tmp_path / "examples.sqlite"
    examples = saved(path)
    with ExampleStore(path, SETTINGS) as store:
        with small_disk(), pytest.raises(DiskFullError, match=r"no room left .*the last save is whole: free some"):
            store.save(examples, {"batches": 4}, {"fired": torch.ones(10_000)})
        loaded = store.load(fresh())
        assert loaded is not None
        assert loaded[0] == {"batches": 3}
    with small_disk(), pytest.raises(DiskFullError, match="no room left"):
        ExampleStore(tmp_path / "new.sqlite", SETTINGS)


def test_a_file_of_another_version_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "examples.sqlite")
    monkeypatch.setattr(example_store, "VERSION", 9)
    with pytest.raises(ValueError, match=r"version: 2 then, 9 now.*another --out, or delete the file"):
        ExampleStore(tmp_path / "examples.sqlite", SETTINGS)


def test_thirty_thousand_latents_fit(tmp_path: Path) -> None:
    """Disk: at most 9 bytes a token of each window and 80 a row."""
    n = 500
    examples = TopExamples(n, generator=torch.Generator())
    ids = torch.zeros(40, 100, dtype=torch.long)
    examples.add(ids, torch.ones_like(ids), torch.ones_like(ids).bool(), torch.rand(4000, n))
    path = tmp_path / "examples.sqlite"
    with ExampleStore(path, {}) as store:
        store.save(examples, {}, {})
    size: int = path.stat().st_size
    held: list[Tensor] = [*examples.top.tensors.values(), *examples.sampled.tensors.values()]
    assert 30_000 / n * size < 400e6
    assert 30_000 / n * sum(tensor.nbytes for tensor in held) < 250e6
