import gzip
import json
import os
from itertools import islice
from pathlib import Path

import pytest
from datasets import Dataset, IterableDataset, load_dataset

from toolkit.artifacts import sha256
from toolkit.harvest import documents
from toolkit.harvest.documents import Corpus, local_files, open_corpus, open_records

TEXTS = [f"document {i},\nof two lines" for i in range(45)]
REPLY = "<think>\n  2 + 2… Wait </think>\n\n4\n"


def corpus(data: object, field: str = "text", mix: tuple[float, float] = (0.5, 0.5)) -> Corpus:
    return open_corpus(str(data), text_field=field, mix=mix, seed=0)


def read(stream: IterableDataset, count: int | None = None) -> list[str]:
    return [record["text"] for record in islice(stream, count)]


def write(path: Path, records: list[dict]) -> Path:
    lines = "".join(json.dumps(record) + "\n" for record in records)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".parquet":
        Dataset.from_list(records).to_parquet(path)
    elif path.suffix == ".txt":
        path.write_text("\n\n".join(record["text"] for record in records))
    else:
        path.write_text(lines)
    return path


def numbered(name: str, count: int = 45) -> list[dict]:
    return [{"text": f"{name}{i}"} for i in range(count)]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.jsonl.gz", "a.json", "a.parquet"])
def test_local_files_of_every_kind(tmp_path, name):
    path = write(tmp_path / name, [{"text": text} for text in TEXTS])
    found = corpus(path)
    assert read(found.held_out) == TEXTS[::20]
    assert read(found.train) == [text for i, text in enumerate(TEXTS) if i % 20]
    assert found.origin == {"source": str(path), "files": {str(path): sha256(path)}}


def test_records_keep_their_fields_and_their_order(tmp_path):
    records = [{"problem": str(i), "generations": ["a", "b"], "flags": [True, False]} for i in range(5)]
    path = write(tmp_path / "a.jsonl", records)
    assert list(open_records(str(path))) == records
    assert local_files(str(tmp_path)) == local_files(str(path)) == [str(path)]
    assert local_files("someone/texts") == []
    with pytest.raises(ValueError, match="no file at"):
        open_records(str(tmp_path / "b.jsonl"))


def test_a_folder_a_pattern_and_a_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in "ab":
        write(tmp_path / f"{name}.jsonl", numbered(name))
    expected = [f"{name}{i}" for name in "ab" for i in range(45)]
    for data in (tmp_path, tmp_path / "*.jsonl", "~/*.jsonl"):
        found = corpus(data)
        assert sorted(read(found.train) + read(found.held_out)) == sorted(expected)


def test_another_text_field(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"body": text, "text": 3} for text in TEXTS])
    assert read(corpus(path, field="body").held_out) == TEXTS[::20]


@pytest.mark.parametrize("name", ["chat.jsonl", "chat.parquet"])
@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": REPLY}]},
        {"system": "s", "conversations": [{"from": "user", "value": "2+2?"}, {"from": "assistant", "value": REPLY}]},
    ],
)
def test_messages_are_kept_verbatim(tmp_path, name, record):
    path = write(tmp_path / name, [record] * 21)
    assert read(corpus(path).train) == ["2+2?\n\n" + REPLY] * 19


def test_a_turn_without_content_adds_no_words(tmp_path):
    turns = [{"role": "assistant", "content": None}, {"role": "tool", "content": "4"}]
    assert read(corpus(write(tmp_path / "chat.jsonl", [{"messages": turns}])).held_out) == ["\n\n4"]


def test_the_organism_is_endless_seeded_and_held_out():
    found = corpus("organism")
    train, held_out = read(found.train, 200), read(found.held_out, 200)
    assert train == read(corpus("organism").train, 200)
    assert not set(train) & set(held_out)
    assert any("<think>" in text for text in train)


@pytest.fixture
def paper_mix(tmp_path, monkeypatch) -> Corpus:
    """The paper's mix, with two local folders in the hub's place."""
    for name, count in (("reasoning", 400), ("general", 400)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "train.jsonl", numbered(name, count))
    monkeypatch.setattr(documents, "PAPER_SOURCES", (str(tmp_path / "reasoning"), str(tmp_path / "general")))
    return corpus("reasoning+general", mix=(0.75, 0.25))


def test_the_mix_interleaves_by_probability(paper_mix):
    texts = read(paper_mix.train, 300)
    share = sum(text.startswith("reasoning") for text in texts) / 300
    assert share == pytest.approx(0.75, abs=0.1)
    assert texts == read(paper_mix.train, 300)
    assert not set(texts) & set(read(paper_mix.held_out))
    assert paper_mix.origin["probabilities"] == [0.75, 0.25]


@pytest.mark.parametrize("done", [1, 137, 500])
def test_the_mix_resumes(paper_mix, done):
    whole = read(paper_mix.train)
    part = read(paper_mix.train, done)
    state = json.loads(json.dumps(paper_mix.train.state_dict()))
    paper_mix.train.load_state_dict(state)
    assert part + read(paper_mix.train) == whole


def test_a_repository_with_a_loading_script_is_read_from_the_hub_s_own_copy(tmp_path, monkeypatch):
    write(tmp_path / "train.jsonl", numbered("a"))

    def hub(name: str, *, revision: str | None = None, **options):
        if revision != "refs/convert/parquet":
            raise RuntimeError("Dataset scripts are no longer supported, but found a.py")
        return load_dataset(str(tmp_path), **options)

    monkeypatch.setattr(documents, "load_dataset", hub)
    assert read(corpus("someone/scripted").held_out) == ["a0", "a20", "a40"]


def refuses(data: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corpus(data)


@pytest.mark.parametrize("data", ["/no/such/file.jsonl", "./nothing", "~/nothing", "missing.txt", "/no/*.txt"])
def test_a_missing_path_is_named(data):
    with pytest.raises(ValueError, match=r"no file at .*give a path, a pattern, a hub dataset") as error:
        corpus(data)
    assert data in str(error.value)


@pytest.mark.parametrize("name", ["someone/texts", "texts"])
def test_a_hub_name_without_network_says_so_and_how_to_go_on(name):
    refuses(name, rf"'{name}' is no local path and the hub did not give it.*--data the path of its files")


def test_an_empty_file_is_named(tmp_path):
    write(tmp_path / "a.jsonl", numbered("a"))
    (tmp_path / "b.jsonl").touch()
    refuses(tmp_path, r"b\.jsonl is empty")


def test_a_folder_without_texts_says_what_it_looked_for(tmp_path):
    (tmp_path / "picture.png").touch()
    refuses(tmp_path, r"holds no \.txt, \.jsonl")
    refuses(tmp_path / "picture.png", r"give files of one kind, out of \.txt")


def test_files_of_several_kinds_are_refused(tmp_path):
    write(tmp_path / "a.jsonl", numbered("a"))
    write(tmp_path / "b.txt", numbered("b"))
    refuses(tmp_path, "give files of one kind")


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "a.txt").symlink_to(tmp_path / "gone")
    refuses(tmp_path / "a.txt", r"a\.txt cannot be read \(No such file")
    if os.geteuid():  # root may read everything
        path = write(tmp_path / "b.txt", numbered("b"))
        path.chmod(0)
        refuses(path, r"b\.txt cannot be read \(Permission denied")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_a_file_of_another_content_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\x00{no text")
    refuses(tmp_path / name, rf"{name} cannot be read as (text|json|parquet)")


@pytest.mark.parametrize("record", [{"body": "b", "id": 1}, {"text": None, "id": 1}])
def test_records_without_text_name_their_fields(tmp_path, record):
    path = write(tmp_path / "a.jsonl", [record] * 3)
    with pytest.raises(ValueError, match=r"no text in field 'text'.*'id'.*--text-field"):
        read(corpus(path).train)
