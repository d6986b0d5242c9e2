"""Labels as a file: read back, and refused where they are of other latents."""

import json

import pytest

from toolkit.annotation.label_files import LabelFile, read_labels, write_labels
from toolkit.annotation.labels import Label
from toolkit.annotation.neuronpedia import neuronpedia_lines

LABEL = Label(category="language", explanation='fires on "Tür"')
GIVEN = LabelFile(annotator="rules", labels={"3": LABEL, "1/7": Label(category="domain", explanation="sums")})


def test_labels_are_read_back(tmp_path):
    write_labels(tmp_path / "labels.json", "abc", GIVEN)
    assert read_labels(tmp_path / "labels.json", "abc") == GIVEN


def test_labels_of_another_dictionary_are_refused(tmp_path):
    write_labels(tmp_path / "labels.json", "abcd", GIVEN)
    with pytest.raises(ValueError, match=r"another dictionary, whose weights have sha256 abcd…, not 1234…"):
        read_labels(tmp_path / "labels.json", "1234")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "labels.json"),
        ('{"labels": {}}', "holds no labels"),
        ('{"dictionary": "a", "annotator": "x", "labels": {"3": {"category": "mood", "explanation": ""}}}', "latent 3"),
        ('{"dictionary": "a", "annotator": "x", "labels": {"3": "deductive"}}', "give a category of self-reflection"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, content, message):
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_labels(path, "a")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_labels(tmp_path / "none.json", "a")


def test_neuronpedia_gets_one_record_a_line():
    lines = [*neuronpedia_lines({(14, 623): LABEL}, model="r1", dictionary="crosscoder", annotator="rules")]
    assert [json.loads(line) for line in lines] == [
        {
            "modelId": "r1",
            "layer": "14-crosscoder",
            "index": "623",
            "description": 'fires on "Tür"',
            "typeName": "distillation-crosscoders",
            "explanationModelName": "rules",
        }
    ]
    assert all(line.endswith("\n") for line in lines)


def test_a_record_of_neuronpedia_stays_one_line_whatever_names_and_explanations_hold():
    label = Label(category="language", explanation='fires on "\u2028"\n')
    (line,) = neuronpedia_lines({(0, 1): label}, model='m\u2029\x85"', dictionary="crosscoder", annotator="a\u2028")
    assert len(line.splitlines()) == 1
    assert json.loads(line)["modelId"] == 'm\u2029\x85"'
