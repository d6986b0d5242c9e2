import gzip
import json
import os
from itertools import islice
from pathlib import Path

import pytest
from datasets import Dataset, IterableDataset, load_dataset

from toolkit.artifacts import sha256
from toolkit.harvest import documents
from toolkit.harvest.documents import Corpus, open_corpus, open_records
from toolkit.harvest.local_files import local_files

TEXTS = [f"document {i},\nof two lines" for i in range(45)]
REPLY = "<think>\n  2 + 2… Wait </think>\n\n4\n"


def corpus(data: object, field: str = "text", mix: tuple[float, float] = (0.5, 0.5), **options) -> Corpus:
    return open_corpus(str(data), text_field=field, mix=mix, seed=0, **options)


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
    cut = {"cut at": {str(path): "blank lines"}} if name == "a.txt" else {}
    assert found.origin == {"source": str(path), "files": {str(path): sha256(path)}} | cut


def test_records_keep_their_fields_and_their_order(tmp_path):
    records = [{"problem": str(i), "generations": ["a", "b"], "flags": [True, False]} for i in range(5)]
    path = write(tmp_path / "a.jsonl", records)
    assert [record.fields for record in open_records(str(path))] == records
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


def test_empty_files_add_nothing_and_are_refused_alone(tmp_path):
    write(tmp_path / "a.jsonl", numbered("a"))
    (tmp_path / "b.jsonl").touch()
    assert read(corpus(tmp_path).whole) == [f"a{i}" for i in range(45)]
    refuses(tmp_path / "b.jsonl", r"b\.jsonl has no usable record: it is empty")


def test_a_folder_without_texts_says_what_it_looked_for(tmp_path):
    (tmp_path / "picture.png").touch()
    refuses(tmp_path, r"holds no \.txt, \.jsonl")
    refuses(tmp_path / "picture.png", r"picture\.png is none of \.txt")


def test_files_of_several_kinds_are_refused(tmp_path):
    write(tmp_path / "a.jsonl", numbered("a"))
    write(tmp_path / "b.txt", numbered("b"))
    refuses(tmp_path, r"holds \.jsonl, \.txt files: give files of one kind by a pattern")


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "a.txt").symlink_to(tmp_path / "gone")
    refuses(tmp_path / "a.txt", r"a\.txt cannot be read .*\(No such file")
    if os.geteuid():  # root may read everything
        path = write(tmp_path / "b.txt", numbered("b"))
        path.chmod(0)
        refuses(path, r"b\.txt cannot be read .*\(Permission denied")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_a_file_of_another_content_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\x00{no text")
    refuses(tmp_path / name, rf"{name} cannot be read as parquet|{name}, line 1: it is not UTF-8")


@pytest.mark.parametrize("record", [{"body": "b", "id": 1}, {"text": None, "id": 1}])
def test_records_without_text_name_their_fields(tmp_path, record):
    path = write(tmp_path / "a.jsonl", [record] * 3)
    refuses(path, r"\(3 no text\): .*a\.jsonl, line 1: .*no text in field 'text'.*'id'.*--text-field")


@pytest.mark.parametrize("text", [None, 3, float("nan"), [], "", " \n"])
def test_a_record_without_text_is_left_out_with_its_reason_and_keeps_its_place(tmp_path, text):
    whole = [{"text": str(i), "other": 1} for i in range(45)]
    records = [*whole[:21], {"text": text}, *whole[22:]]
    found = corpus(write(tmp_path / "a.jsonl", records))
    assert read(found.held_out) == ["0", "20", "40"]
    (odd,) = [record for record in found.train if record["left_out"]]
    assert odd["text"] == ""
    assert odd["left_out"] == ("not text" if text == 3 or text != text else "no text")
    assert [text for text in read(found.train) if text] == [str(i) for i in range(45) if i % 20 and i != 21]


MESSAGES = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


@pytest.mark.parametrize(
    "record",
    [
        {"messages": MESSAGES},
        {"messages": json.dumps(MESSAGES)},
        {"messages": [MESSAGES]},
        {"messages": None, "conversation": MESSAGES},
        {"text": MESSAGES},
        {"text": None, "messages": [{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}, MESSAGES[1]]},
    ],
)
def test_messages_as_people_have_them(tmp_path, record):
    assert read(corpus(write(tmp_path / "a.jsonl", [record])).whole) == ["2+2?\n\n4"]


def test_messages_with_images_say_that_they_are_not_whole(tmp_path):
    seen = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]}]
    found = list(corpus(write(tmp_path / "a.jsonl", [{"messages": seen}])).whole)
    assert found == [{"text": "what?", "left_out": "without images or the like"}]


def test_columns_may_differ_between_files_rows_and_types(tmp_path):
    (tmp_path / "a").mkdir()
    write(tmp_path / "a" / "a.jsonl", [{"text": "a", "meta": None}] * 3 + [{"meta": "s", "text": "b"}])
    write(tmp_path / "a" / "b.jsonl", [{"text": "c", "source": "web"}, {"id": 1}, {"text": "d", "meta": {"x": [1]}}])
    assert read(corpus(tmp_path / "a").whole) == ["a", "a", "a", "b", "c", "", "d"]
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / "a.parquet", [{"id": 1, "text": "a"}])
    write(tmp_path / "b" / "b.parquet", [{"text": "b", "id": "x", "more": 1.5}])
    assert read(corpus(tmp_path / "b").whole) == ["a", "b"]


def test_halves_of_surrogate_pairs_are_no_characters(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a\\ud800b \\ud83d\\ude00"}\n')
    assert read(corpus(path).whole) == ["a\ufffdb 😀"]


@pytest.mark.parametrize("done", [1, 41, 58, 90])
def test_local_files_resume_at_the_next_record(tmp_path, done):
    for name in "ab":
        write(tmp_path / f"{name}.jsonl", [*numbered(name, 44), {"id": 1}, *numbered(name, 5)])
    whole = list(corpus(tmp_path).train)
    train = corpus(tmp_path).train
    part = list(islice(train, done))
    state = json.loads(json.dumps(train.state_dict()))
    again = corpus(tmp_path).train
    again.load_state_dict(state)
    assert part + list(again) == whole


def test_an_experiment_reads_all_of_a_text_that_ends(tmp_path):
    found = corpus(write(tmp_path / "a.jsonl", numbered("a"))).read_whole()
    assert read(found.held_out) == [f"a{i}" for i in range(45)]
    assert found.part == "read whole"
    endless = corpus("organism")
    assert endless.read_whole() is endless
    assert endless.part == "held out"


def test_a_hub_datasets_own_validation_split_is_held_out_where_that_is_asked_for(tmp_path, monkeypatch):
    write(tmp_path / "train.jsonl", numbered("a"))
    write(tmp_path / "val.jsonl", [{"text": "held out"}])
    monkeypatch.setattr(documents, "load_dataset", lambda name, **options: load_dataset(str(tmp_path), **options))
    assert "held out" not in read(corpus("someone/texts").held_out)
    found = corpus("someone/texts", own_held_out=True)
    assert read(found.held_out) == ["held out"]
    assert len(read(found.train)) == len(numbered("a"))
    (tmp_path / "val.jsonl").unlink()
    assert read(corpus("someone/texts", own_held_out=True).held_out) == ["a0", "a20", "a40"]


def test_a_conversation_is_laid_out_and_other_text_is_not(tmp_path):
    turns = [{"from": "human", "value": "How?"}, {"from": "gpt", "value": "So."}]
    write(tmp_path / "text.jsonl", [{"conversations": turns}, {"text": "plain"}] * 20)
    found = corpus(tmp_path / "text.jsonl", lay_out=lambda record: f"laid out {len(record['conversations'])}")
    assert set(read(found.train)) == {"laid out 2", "plain"}
