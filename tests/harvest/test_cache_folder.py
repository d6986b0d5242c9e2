import json
import shutil
import threading
from collections import namedtuple

import pytest
import torch

from toolkit.artifacts import DiskFullError, read_sealed, write_sealed
from toolkit.harvest.cache import CacheFolder
from toolkit.harvest.cache_shards import GrowingShard, squared_norms, store

IDENTITY = {"models": ["a", "b"], "weights": ["1", "2"], "layers": (2,), "tokenizer": "t", "data": {"seed": 0}}
BEGIN = {"tokens": 0, "mask": {"counts": {"kept": 0}}}


def a_shard(kind="bf16", tokens=6, seed=0):
    shard = GrowingShard()
    x = torch.randn(tokens, 2, 8, generator=torch.Generator().manual_seed(seed))
    stored = store(x, kind)
    shard.add(stored, squared_norms(x, stored), {"mask": {"counts": {"kept": tokens}}, "tokens": tokens})
    return shard


@pytest.fixture
def open_folder(tmp_path):
    return lambda **changes: CacheFolder(tmp_path / "cache", IDENTITY | {"type": "bf16"} | changes)


@pytest.fixture
def filled(open_folder):
    """A cache of three shards of 6 tokens."""
    folder = open_folder()
    with folder.writing(BEGIN):
        for seed in range(3):
            folder.append(a_shard(seed=seed))
    return folder


def test_an_index_tells_another_process_all(filled, open_folder):
    again = open_folder()
    assert again.shards == filled.shards
    assert (again.chunks, again.tokens, again.begin) == (3, 18, BEGIN)
    assert again.nbytes == sum(path.stat().st_size for path in filled.path.glob("*.safetensors"))
    assert all(0 < shard.lost / shard.norm < 1e-4 for shard in again.shards)
    assert again.start_of(0) == BEGIN
    assert again.start_of(2) == filled.shards[1].end
    again.require_whole()
    for number in range(3):
        [(chunk, counts)] = again.read(number)
        assert torch.equal(chunk.restore(), a_shard(seed=number).chunks[0].restore())
        assert counts == {"kept": 6}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layers", (1,)),
        ("tokenizer", "u"),
        ("data", {"seed": 1}),
        ("weights", ["1", "3"]),
        ("type", "int8"),
        ("new", 1),
    ],
)
def test_a_cache_of_something_else_is_refused_by_name(filled, open_folder, name, value):
    with pytest.raises(
        ValueError, match=f"was made with other settings \\({name}: .* then, .* now\\): .* --cache another folder"
    ):
        open_folder(**{name: value})


def test_the_same_weights_at_another_path_are_the_same(filled, open_folder):
    assert open_folder(models=["c", "d"]).tokens == 18
    with pytest.raises(ValueError, match=r"models: \['a', 'b'\] then, \['c', 'd'\] now, weights"):
        open_folder(models=["c", "d"], weights=["3", "4"])


def test_a_folder_that_holds_other_things_is_left_alone(tmp_path, open_folder):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".index.json.tmp").touch()  # of a process that was killed
    assert open_folder().tokens == 0
    (tmp_path / "cache" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"cache holds other files \(thesis.tex\).* empty or does not exist yet"):
        open_folder()
    (tmp_path / "cache" / "index.json").write_text("{}")
    with pytest.raises(ValueError, match="or not a cache's index"):
        open_folder()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").touch()
    with pytest.raises(ValueError, match="is a file: give a folder"):
        open_folder()


def test_where_nobody_may_write_it_says_so(tmp_path):
    (tmp_path / "file").touch()
    folder = CacheFolder(tmp_path / "file" / "cache", IDENTITY | {"type": "bf16"})
    with pytest.raises(
        ValueError, match=r"file/cache cannot be written to \(Not a directory\).* that you may write to"
    ):
        folder.writing(BEGIN).__enter__()


def test_one_writes_at_a_time_and_knows_what_the_other_wrote(filled, open_folder):
    other = open_folder()
    with filled.writing(BEGIN):
        with pytest.raises(ValueError, match=r"another process writes to the cache .* \(it holds .*writing.lock\)"):
            other.writing(BEGIN).__enter__()
        filled.append(a_shard(seed=3))
    with other.writing({"tokens": "not the beginning"}):
        assert (other.tokens, other.begin) == (24, BEGIN)


def test_the_lock_is_left_from_another_thread(filled, open_folder):
    writing = filled.writing(BEGIN)
    writing.__enter__()
    thread = threading.Thread(target=writing.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    with open_folder().writing(BEGIN):
        pass


def test_what_a_kill_left_half_written_goes(filled, open_folder):
    half = filled.path / "shard-000003.tmp"
    half.write_bytes(b"half")
    shutil.copy(filled.path / "shard-000000.safetensors", filled.path / "shard-000003.safetensors")  # not in the index
    again = open_folder()
    assert again.tokens == 18
    with again.writing(BEGIN):
        again.append(a_shard(seed=3))
    assert not half.exists()
    [(chunk, _)] = open_folder().read(3)
    assert torch.equal(chunk.restore(), a_shard(seed=3).chunks[0].restore())


def damaged_texts(text):
    """The index with one character another, here and there, and other JSON in its place."""
    yield from ("", "[]", "{}", "null", '{"a": 1}', text[:100], "[" * 9999)
    for place in range(0, len(text) - 1, 7):
        yield text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]


def test_an_index_that_is_not_as_it_was_written_is_refused(filled, open_folder):
    path = filled.path / "index.json"
    for text in damaged_texts(path.read_text()):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"index.json is damaged, of an earlier version, or not a cache"):
            open_folder()


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "shard-000000.safetensors", "other"])
def test_an_index_names_no_file_but_the_folder_s_own(filled, open_folder, name):
    index = read_sealed(filled.path / "index.json")
    index["shards"][1]["file"] = name
    write_sealed(filled.path / "index.json", index)
    with pytest.raises(ValueError, match=r"index.json names .* as shard 1, expected shard-000001.safetensors"):
        open_folder()


def test_a_shard_that_is_a_link_is_not_followed(filled, open_folder, tmp_path):
    path = filled.path / "shard-000001.safetensors"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="not a link"):
        open_folder()


@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
def test_damage_is_named_and_mended(filled, open_folder, damage):
    path = filled.path / "shard-000001.safetensors"
    before = path.read_bytes()
    path.write_bytes(before[:-1] if damage == "short" else before[:-1] + bytes([before[-1] ^ 1]))
    if damage == "missing":
        path.unlink()
    folder = open_folder()
    assert [number for number, shard in enumerate(folder.shards) if not shard.is_whole(folder.path)] == [1]
    if damage == "flipped":
        folder.require_whole()
        list(folder.read(0))
        with pytest.raises(ValueError, match=r"shard-000001.safetensors is not as it was written.*--repair"):
            list(folder.read(1))
    else:
        with pytest.raises(ValueError, match=r"lacks shard-000001.safetensors, .*--repair"):
            folder.require_whole()
    with folder.writing(BEGIN):
        with pytest.raises(ValueError, match=r"shard-000001.safetensors harvested again has other bits"):
            folder.replace(1, a_shard(seed=7))
        folder.replace(1, a_shard(seed=1))
    assert path.read_bytes() == before
    assert sorted(each.suffix for each in filled.path.iterdir()) == [".json", *[".safetensors"] * 3]


def test_a_file_is_hashed_once(filled, open_folder):
    folder = open_folder()
    list(folder.read(0))
    path = filled.path / "shard-000000.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    list(folder.read(0))  # the second reading trusts the first
    with pytest.raises(ValueError, match="sha256 differs"):
        list(open_folder().read(0))


def test_a_full_disk_leaves_what_was_there(filled, open_folder, small_disk):
    full = pytest.raises(DiskFullError, match="18 tokens are in the cache: free some space")
    with filled.writing(BEGIN), small_disk(), full:
        filled.append(a_shard(tokens=500))
    assert open_folder().tokens == 18
    assert json.loads((filled.path / "index.json").read_text())["shards"][2]["tokens"] == 6


def test_too_little_space_is_told_before_the_work(filled, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 1000))
    filled.require_space(18 + 31, 32)
    with pytest.raises(DiskFullError, match=r"0.00 GB free, but 50 tokens at 32 bytes .* a smaller --cache-dtype"):
        filled.require_space(18 + 32, 32)
