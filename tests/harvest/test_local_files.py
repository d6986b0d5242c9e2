from pathlib import Path

import pytest

from toolkit.harvest.local_files import local_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files that are meant, and a good many that are not."""
    (tmp_path / "sub").mkdir()
    meant = ["b.jsonl", "sub/A.JSONL.GZ"]
    leftovers = [
        "b.jsonl~",
        "b.jsonl.bak",
        "#b.jsonl#",
        ".#b.jsonl",
        ".b.jsonl.swp",
        "b.jsonl.tmp",
        "._b.jsonl",
        "README.md",
    ]
    about = ["dataset_info.json", "dataset_dict.json", "state.json", "cache-1f.arrow"]
    hidden = [".ipynb_checkpoints/b-checkpoint.jsonl", ".cache/b.jsonl", "__MACOSX/b.jsonl", "sub/.git/b.json"]
    for name in (*meant, *leftovers, *about, *hidden):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(data: object, folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in local_files(str(data))]


def test_a_folder_gives_the_files_that_are_meant(folder):
    assert names(folder, folder) == ["b.jsonl", "sub/A.JSONL.GZ"]


def test_a_pattern_gives_the_files_that_are_meant(folder):
    assert names(folder / "*", folder) == ["b.jsonl"]
    assert names(folder / "**" / "*", folder) == ["b.jsonl", "sub/A.JSONL.GZ"]


def test_a_file_named_by_its_path_is_read_whatever_its_name(folder):
    assert names(folder / ".cache" / "b.jsonl", folder) == [".cache/b.jsonl"]
    assert names(folder / "state.json", folder) == ["state.json"]


@pytest.mark.parametrize("name", ["part[1].jsonl", "all*.jsonl", "what?.jsonl", "[a]/b.jsonl"])
def test_characters_of_patterns_in_the_name_of_a_file(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert names(path, tmp_path) == [name]
    assert names(path.parent, path.parent) == [path.name]
    if name.startswith("["):
        assert names(path.parent / "*.jsonl", tmp_path) == [name]


def test_links_are_followed_and_a_file_counts_once(folder, tmp_path):
    (folder / "a-link.jsonl").symlink_to(folder / "b.jsonl")
    (folder / "round").symlink_to(folder)
    assert names(folder, folder) == ["b.jsonl", "sub/A.JSONL.GZ"]
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "linked").symlink_to(folder / "sub")
    assert local_files(str(folder / "elsewhere")) == [str(folder / "elsewhere" / "linked" / "A.JSONL.GZ")]


def test_what_holds_nothing_to_read_is_refused(folder):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no \.txt, \.jsonl, \.json, \.parquet files"):
        local_files(str(folder / "empty"))
    with pytest.raises(ValueError, match=r"holds no \.txt"):
        local_files(str(folder / "*.md"))
    with pytest.raises(ValueError, match=r"README\.md is none of \.txt"):
        local_files(str(folder / "README.md"))
    (folder / "LICENSE.txt").touch()
    with pytest.raises(ValueError, match=r"holds \.jsonl, \.txt files: give files of one kind by a pattern"):
        local_files(str(folder))
