import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from toolkit.annotation.reply_cache import ReplyCache


def numbered(n: int) -> Iterator[tuple[dict[str, object], dict[str, object]]]:
    return (({"prompt": f"{i}?", "model": "m"}, {"content": f"{i}!" * 100}) for i in range(n))


def fill(path: Path, n: int) -> None:
    cache = ReplyCache(path)
    for request, reply in numbered(n):
        cache.put(request, reply)


def test_a_reply_is_found_by_the_whole_request_whatever_its_order(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "replies.sqlite")
    cache.put({"prompt": "a", "model": "m"}, {"content": "é\ud800"})
    assert cache.get({"model": "m", "prompt": "a"}) == {"content": "é\ud800"}
    assert cache.get({"model": "n", "prompt": "a"}) is None


def test_the_first_reply_stays(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "replies.sqlite")
    cache.put({"prompt": "a"}, {"content": "first"})
    cache.put({"prompt": "a"}, {"content": "second"})
    assert cache.get({"prompt": "a"}) == {"content": "first"}


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    path, spawn = tmp_path / "replies.sqlite", multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=fill, args=(path, 60)) for _ in range(2)]
    for process in processes:
        process.start()
    fill(path, 30)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    cache = ReplyCache(path)
    assert all(cache.get(request) == reply for request, reply in numbered(60))


def test_threads_share_a_cache(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "replies.sqlite")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: cache.put(*pair), numbered(50)))
        assert list(pool.map(lambda pair: cache.get(pair[0]), numbered(50))) == [reply for _, reply in numbered(50)]


def test_another_file_is_refused_by_its_name_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    path.write_text("These are notes, and no replies at all. " * 10)
    with pytest.raises(ValueError, match=r"replies\.sqlite: .*not a database.*move the file away, or give --out"):
        ReplyCache(path)
    assert path.read_text().startswith("These are notes")
