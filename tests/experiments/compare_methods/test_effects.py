import pytest
import torch
from transformers import AutoModelForCausalLM

from toolkit.experiments.compare_methods.effects import beginnings, first_words, less_the_lowest, prompts_of, removed
from toolkit.experiments.compare_methods.logit_changes import DIVERGENCES, RISES, logit_changes
from toolkit.experiments.compare_methods.reading import PairText, RunningText
from toolkit.harvest.harvesting import open_mask
from toolkit.latents.behaviours import planted_behaviours
from toolkit.latents.labelled_activations import labelled_activations
from toolkit.statistics.estimates import Estimate, with_error

N_DOCUMENTS, ROW_LENGTH = 12, 200


@pytest.fixture(scope="module")
def read(pair) -> PairText:
    labelled = labelled_activations(pair, open_mask(), planted_behaviours(N_DOCUMENTS), ROW_LENGTH)
    running = RunningText(activations=labelled.activations, position=labelled.position, scale=torch.ones(2))
    return PairText(running=running, labelled=labelled, changes=logit_changes(pair, labelled))


def loaded(pair, place: int):
    return AutoModelForCausalLM.from_pretrained(pair.sources[place])


def test_changes_of_predictions_agree_with_the_models_own_logits(read, pair):
    labelled, changes = read.labelled, read.changes.to_dense()
    here = (labelled.tokens.document == 3).nonzero().squeeze(1)
    ids, position = torch.tensor([labelled.rows[3]]), labelled.position[here]
    with torch.no_grad():
        log_q, log_p = (loaded(pair, place)(ids).logits[0, position].log_softmax(dim=1) for place in (0, 1))
    p, q = log_p.exp(), log_q.exp()
    expected = [
        (p * (log_p - log_q)).sum(dim=1), (q * (log_q - log_p)).sum(dim=1), (log_p - log_q).amax(dim=1),
        (log_q - log_p).amax(dim=1),
    ]  # fmt: skip
    torch.testing.assert_close(changes[here, : len(DIVERGENCES)], torch.stack(expected, dim=1), rtol=1e-3, atol=1e-5)
    rises = (p - q).clamp(min=0)
    kept = rises >= rises.topk(RISES, dim=1).values[:, -1:]
    torch.testing.assert_close(changes[here, len(DIVERGENCES) :], rises * kept, rtol=1e-3, atol=1e-6)


def test_a_behaviour_begins_where_its_first_token_stands(read):
    labelled, tokens = read.labelled, read.labelled.tokens
    begun = beginnings(labelled, 1000, torch.Generator().manual_seed(0))
    found = zip(begun.targets.prefixes, begun.targets.target_ids, begun.targets.documents, begun.behaviour, strict=True)
    for prefix, target, document, behaviour in found:
        row = labelled.rows[int(document)]
        assert document % 2 == 1
        assert [*prefix.tolist(), int(target)] == row[: len(prefix) + 1]
        label = {int(p): int(t) for p, t in zip(
            labelled.position[tokens.document == document], tokens.label[tokens.document == document], strict=True
        )}  # fmt: skip
        number = tokens.names.index(behaviour)
        assert label[len(prefix)] == number != label[len(prefix) - 1]
    assert len(set(begun.behaviour)) > 2


def test_no_more_places_are_drawn_than_are_asked_for(read):
    begun = beginnings(read.labelled, 2, torch.Generator().manual_seed(0))
    assert max(begun.behaviour.count(each) for each in begun.behaviour) == 2


def test_a_direction_is_taken_out_of_the_position_before(read, pair):
    begun = beginnings(read.labelled, 1, torch.Generator().manual_seed(0))
    unit = torch.eye(16)[:2]
    random = torch.nn.functional.normalize(torch.ones(1, 16), dim=1)
    change, by_chance = removed(pair, read, begun, unit, random)
    model, layer = loaded(pair, 1), pair.layers[0]
    centre = read.labelled.activations[:, 1].mean(dim=0)
    prefix, target = begun.targets.prefixes[0], int(begun.targets.target_ids[0])

    def log_probability(vector: torch.Tensor | None, direction: torch.Tensor | None) -> float:
        def edit(_module, arguments):
            x = arguments[0].clone()
            size = (x[0, -1] - centre) @ vector
            x[0, -1] -= size * direction
            return (x, *arguments[1:])

        handle = model.model.layers[layer].register_forward_pre_hook(edit) if vector is not None else None
        with torch.no_grad():
            found = model(prefix[None]).logits[0, -1].log_softmax(dim=0)[target].item()
        if handle is not None:
            handle.remove()
        return found

    before = log_probability(None, None)
    for place in (0, 1):
        own, chance = log_probability(unit[place], unit[place]), log_probability(unit[place], random[0])
        assert change[place, 0] == pytest.approx(own - before, abs=1e-4)
        assert by_chance[0, place, 0] == pytest.approx(chance - before, abs=1e-4)


def test_prompts_end_before_the_first_label(read):
    labelled, tokens = read.labelled, read.labelled.tokens
    for number, prompt in enumerate(prompts_of(labelled, 3)):
        document = 2 * number + 1
        assert prompt == labelled.rows[document][: len(prompt)]
        inside = (tokens.document == document) & (labelled.position < len(prompt))
        assert (tokens.label[inside] == -1).all()


def test_first_words_begin_a_behaviour_more_often_than_not(read, pair):
    words = {
        name: set(pair.tokenizer.batch_decode([[i] for i in ids])) for name, ids in first_words(read.labelled).items()
    }
    assert any("Wait" in word for word in words["self-reflection"])
    assert not words["self-reflection"] & words["deduction"]


def test_an_effect_is_specific_against_the_lowest_of_the_others():
    own, weak, strong = (with_error(value, 0.1, 20.0) for value in (-1.0, -0.2, -0.9))
    found = less_the_lowest(own, [weak, strong])
    assert found.value == pytest.approx(-0.1)
    assert found.error == pytest.approx(0.1 * 2**0.5)
    assert found.high > 0
    assert less_the_lowest(own, [weak]).high < 0
    assert less_the_lowest(own, []) is own
    assert less_the_lowest(Estimate(-1.0, note="3 documents"), [weak]).note == "3 documents"
