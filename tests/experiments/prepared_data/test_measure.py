import json
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from toolkit.experiments.prepared_data import PrepareConfig
from toolkit.experiments.prepared_data.measure import measure
from toolkit.experiments.prepared_data.page import page
from toolkit.harvest.documents import open_corpus
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.organism.corpus import documents
from toolkit.settings.findings import FindingsOutput
from toolkit.settings.models import ModelChoice

REPLIES = [document.text.partition("<｜Assistant｜>")[2] for document in islice(documents("thinking"), 60)]
CUT_OFF = "<think>\nOkay, let"


@pytest.fixture
def data(tmp_path) -> Path:
    """OpenR1-like records: the first generation of every third is cut off, every tenth has no other."""
    path = tmp_path / "records.jsonl"
    with path.open("w") as file:
        for i, reply in enumerate(REPLIES):
            generations = [CUT_OFF] * (i % 3 == 0) + [reply] * (i % 10 != 0 or i % 3 != 0)
            flags = [generation != CUT_OFF for generation in generations]
            record = {"problem": f"Question {i}?", "generations": generations, "is_reasoning_complete": flags}
            file.write(json.dumps(record) + "\n")
    return path


@pytest.fixture
def config(data, organism_folders, tmp_path):
    def make(**changes) -> PrepareConfig:
        models = ModelChoice(base=organism_folders[0], distilled=organism_folders[1])
        output = FindingsOutput(out=tmp_path / "out")
        return PrepareConfig(**({"data": str(data), "output": output, "models": models} | changes))

    return make


def written(config: PrepareConfig, split: str = "train") -> list[str]:
    return [json.loads(line)["text"] for line in (config.output.out / f"{split}.jsonl").read_text().splitlines()]


def test_the_first_complete_reply_of_each_record_is_written_verbatim(config):
    settings = config(held_out=0.0)
    prepared = measure(settings)
    kept = [i for i in range(60) if i % 30]
    assert written(settings) == [f"Question {i}?\n\n{REPLIES[i]}" for i in kept]
    assert prepared.left_out == {"no complete reply": 2}
    assert not (settings.output.out / "held_out.jsonl").exists()


def test_lengths_are_the_tokenizer_s(config, organism_tokenizer):
    settings = config(held_out=0.0)
    lengths = measure(settings).lengths["train"]
    assert lengths == [len(organism_tokenizer(text)["input_ids"]) for text in written(settings)]


def test_cut_off_replies_on_request(config):
    settings = config(held_out=0.0, keep_incomplete=True, template="reply")
    measure(settings)
    assert written(settings) == [CUT_OFF if i % 3 == 0 else REPLIES[i] for i in range(60)]


def test_only_right_replies_on_request(config, tmp_path):
    data = tmp_path / "graded.jsonl"
    right, wrong = "<think>\nhm\n</think>\n\n\\boxed{.5}", "<think>\n\\boxed{.5}\n</think>\n\n\\boxed{2}"
    records = [
        {"problem": "a", "answer": r"\frac{1}{2}", "generations": [CUT_OFF, wrong, right, right + "!"]},
        {"problem": "b", "answer": r"\frac{1}{2}", "generations": [wrong]},
        {"problem": "c", "generations": [right]},
        {"problem": "d", "answer": [], "generations": [right]},
        {"problem": "e", "solution": r"So $\boxed{\sqrt{1/4}}$.", "generations": [right]},
        {"problem": "f", "answer": ".5", "generations": [CUT_OFF]},
    ]
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    settings = config(data=str(data), only_right=True, held_out=0.0)
    prepared = measure(settings)
    assert written(settings) == [f"a\n\n{right}", f"e\n\n{right}"]
    assert prepared.left_out == {"no right reply": 1, "no known answer": 1, "malformed": 1, "no complete reply": 1}
    assert "The first right reply" in str(page(settings, None, prepared).tables[1].note)


@pytest.mark.parametrize("part", ["reasoning", "answer"])
def test_a_part_of_the_reply(config, part):
    settings = config(held_out=0.0, part=part, template="reply", documents=5)
    measure(settings)
    cuts = [REPLIES[i].index("</think>") + len("</think>") for i in range(1, 6)]
    parts = [REPLIES[i][:cut] if part == "reasoning" else REPLIES[i][cut:] for i, cut in enumerate(cuts, 1)]
    assert written(settings) == parts


def test_chat_template_prefix_and_dropped_marks(config):
    settings = config(held_out=0.0, documents=1, template="chat", prefix="Maths. ", markers="drop")
    measure(settings)
    reply = REPLIES[1].replace("<think>", "").replace("</think>", "")
    start, end = "<｜begin▁of▁sentence｜><｜User｜>", "<｜end▁of▁sentence｜>"
    assert written(settings) == [f"Maths. {start}Question 1?<｜Assistant｜>{reply}{end}"]


def test_a_question_is_always_in_the_same_split(config, data):
    settings = config(held_out=0.3)
    measure(settings)
    train, held_out = set(written(settings)), set(written(settings, "held_out"))
    assert not train & held_out
    assert len(held_out) / (len(train) + len(held_out)) == pytest.approx(0.3, abs=0.15)
    data.write_text("\n".join(reversed(data.read_text().splitlines())))
    again = config(held_out=0.3, documents=20)
    measure(again)
    assert set(written(again)) <= train
    assert set(written(again, "held_out")) <= held_out
    other = config(held_out=0.3, seed=1)
    measure(other)
    assert set(written(other, "held_out")) != held_out


def test_training_reads_what_is_written(config):
    settings = config(held_out=0.0)
    measure(settings)
    corpus = open_corpus(str(settings.output.out / "train.jsonl"), text_field="text", mix=(0.5, 0.5), seed=0)
    assert [record["text"] for record in corpus.train] == [t for i, t in enumerate(written(settings)) if i % 20]


def test_findings_count_every_token_once(config):
    settings = config(held_out=0.3)
    prepared = measure(settings)
    findings = page(settings, None, prepared)
    every = prepared.lengths["train"] + prepared.lengths["held_out"]
    results = findings.results
    assert results["tokens"]["all"]["tokens"] == sum(every) == findings.headline[0].value
    assert results["tokens"]["all"]["50%"] == round(np.median(every))
    assert sum(results["histogram"]["counts"]) == len(every)
    assert findings.tables[1].rows == [["gave a text", len(every)], ["no complete reply", 2]]


def test_ids_that_clash_are_refused_and_nothing_is_left(config, organism_folders, save_organism_model, tmp_path):
    other = save_organism_model(seed=3)
    file = Path(other) / "tokenizer.json"
    file.write_text(file.read_text().replace("<think>", "<box>"))
    clashing = ModelChoice(base=other, distilled=organism_folders[1])
    with pytest.raises(ValueError, match=r"base '<box>', distilled '<think>'.*--markers drop"):
        measure(config(models=clashing))
    assert list((tmp_path / "out").iterdir()) == []
    assert sum(measure(config(models=clashing, markers="drop")).lengths["train"]) > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out": 1.0}, "held_out 1.0: must be at least 0, and below 1"),
        ({"documents": 0}, "documents 0: must be at least 1"),
        ({"data": "/no/such.jsonl"}, "no file at /no/such.jsonl"),
        ({"models": ModelChoice(base="a folder")}, "give the name of a pair, or both"),
    ],
)
def test_impossible_settings_are_refused(config, changes, message):
    with pytest.raises(ValueError, match=message):
        measure(config(**changes))


def test_records_that_give_nothing_say_why(config, data):
    data.write_text(json.dumps({"response": CUT_OFF}) + "\n")
    with pytest.raises(
        ValueError, match=r"has no usable record \(1 no complete reply\): .*line 1: .*--keep-incomplete"
    ):
        measure(config(template="reply"))
    with pytest.raises(ValueError, match="holds no question: take --template reply"):
        measure(config(keep_incomplete=True))


def test_records_that_cannot_be_used_are_counted_and_the_others_written(config, data):
    parts = [{"type": "text", "text": "2+2?"}]
    reply = {"role": "assistant", "content": "4", "reasoning_content": "two and two"}
    seen = {"role": "user", "content": [{"type": "image"}, *parts]}
    records = [
        {"messages": [{"role": "user", "content": parts}, reply]},
        {"messages": [seen, reply]},
        {"messages": [{"role": "user", "content": [{"type": "image"}]}, reply]},
        {"messages": []},
        {"messages": [{"role": "user", "content": 3}, reply]},
        {"messages": [{"role": "user", "content": "2+2?"}]},
        {"problem": "2+2?", "generations": ["4", None]},
    ]
    data.write_text("".join(json.dumps(record) + "\n" for record in records) + "{\n")
    settings = config(held_out=0.0)
    prepared = measure(settings)
    assert written(settings) == ["2+2?\n\n<think>\ntwo and two\n</think>\n\n4"] * 2
    assert prepared.left_out == {
        "kept without parts such as images": 1, "no question": 1, "no text": 2, "not text": 2, "malformed": 1
    }  # fmt: skip


def test_turns_that_a_chat_template_passes_over_cost_their_record(config, data):
    turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    strange = [{"role": "narrator", "content": "It is late."}, *turns]
    data.write_text("".join(json.dumps({"messages": each}) + "\n" for each in (turns, strange)))
    settings = config(held_out=0.0, template="chat")
    assert measure(settings).left_out == {"turns of other roles": 1}
    assert len(written(settings)) == 1


@pytest.mark.skipif("TOOLKIT_TEST_DATA" not in os.environ, reason="TOOLKIT_TEST_DATA names no folder of real data")
def test_real_traces_and_tokenizers(tmp_path):
    root = Path(os.environ["TOOLKIT_TEST_DATA"])
    r1, qwen = (str(root / "tokenizers" / name) for name in ("r1-distill-qwen", "qwen2.5"))
    settings = {"data": str(root / "reasoning_traces" / "deepseek-r1-distill-qwen-1.5b.jsonl"), "template": "reply"}
    settings |= {"output": FindingsOutput(out=tmp_path), "held_out": 0.0}
    config = PrepareConfig(**settings, models=ModelChoice(base=r1, distilled=r1))
    prepared = measure(config)
    texts = written(config)
    tokenizer = load_tokenizer(r1)
    firsts = {ids[0] for ids in tokenizer(texts)["input_ids"]}
    assert firsts == {tokenizer.convert_tokens_to_ids("<think>")}
    assert all("</think>" in text for text in texts)
    assert (len(texts), prepared.left_out) == (79, {"no complete reply": 21})
    clashing = ModelChoice(base=qwen, distilled=r1)
    with pytest.raises(ValueError, match=r"151648 \(base '<\|box_start\|>', distilled '<think>'\)"):
        measure(PrepareConfig(**settings, models=clashing, documents=1))
    unmarked = PrepareConfig(**settings, models=clashing, markers="drop", documents=5)
    measure(unmarked)
    assert written(unmarked) == [text.replace("<think>", "").replace("</think>", "") for text in texts[:5]]
