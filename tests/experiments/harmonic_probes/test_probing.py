import json
from dataclasses import replace

import pytest

from toolkit.experiments.harmonic_probes import HarmonicProbesConfig
from toolkit.experiments.harmonic_probes.probing import chosen_layers, open_labelled, probe
from toolkit.experiments.harmonic_probes.results import probe_results
from toolkit.leaving_out import TooFewError
from toolkit.reports.files import write_results


def test_every_label_layer_and_model_has_both_accuracies(probed, pair):
    assert list(probed.found.labels) == ["next_is_hesitation", "behaviour"]
    for label in probed.found.labels.values():
        assert {layer: list(by_model) for layer, by_model in label.layers.items()} == {
            layer: list(pair.names) for layer in (0, 1)
        }
    assert probed.found.layer == 1


def test_where_the_token_alone_tells_nothing_neither_do_its_embeddings(probed):
    label = probed.found.labels["next_is_hesitation"]
    assert label.matched
    assert label.token_alone.value == 0.5
    for compared in label.layers[0].values():
        assert compared.logistic.value == compared.harmonic.value == 0.5


def test_points_are_those_of_the_shown_layer_in_each_draw(probed, pair):
    of_models = probed.points["behaviour"]
    assert list(of_models) == list(pair.names)
    n_classes = len(probed.found.labels["behaviour"].classes)
    assert all(each.harmonic.shape == (2, n_classes, pair.d_model) for each in of_models.values())


def test_results_have_the_accuracies_by_label_layer_and_model(probed, tmp_path):
    write_results(tmp_path / "results.json", probe_results(probed.found))
    found = json.loads((tmp_path / "results.json").read_text())
    cell = found["probes"]["behaviour"]["1"]["distilled"]
    compared = probed.found.labels["behaviour"].layers[1]["distilled"]
    assert cell["logistic"]["value"] == pytest.approx(compared.logistic.value)
    assert cell["harmonic"]["value"] == pytest.approx(compared.harmonic.value)
    assert cell["n"] == compared.n


def test_all_layers_are_read_by_default_and_the_pairs_site_is_shown(pair):
    assert chosen_layers(HarmonicProbesConfig(), pair) == (tuple(range(pair.n_layers)), pair.layers[0])
    assert chosen_layers(HarmonicProbesConfig(layers=(0, 2)), pair) == ((0, 2), 2)
    assert chosen_layers(HarmonicProbesConfig(layer=2), pair)[1] == 2


@pytest.mark.parametrize("how", [{"layers": (3,)}, {"layer": 3}])
def test_a_layer_out_of_range_is_refused(pair, how):
    with pytest.raises(ValueError, match=r"layer 3"):
        chosen_layers(HarmonicProbesConfig(**how), pair)


def test_a_pair_of_which_nothing_is_known_needs_a_file(asked, pair):
    with pytest.raises(ValueError, match=r"nothing is known to be planted in these models: give .* --spans"):
        open_labelled(replace(asked, spans=None), pair)


def test_a_label_that_the_text_does_not_have_is_refused(asked, pair):
    with pytest.raises(ValueError, match="--labels tone: not known of this text: choose from next_is_hesitation, beh"):
        open_labelled(replace(asked, labels=("tone",)), pair)


def test_too_few_documents_are_refused(asked, pair):
    with pytest.raises(ValueError, match=r"20 labelled documents: 2 draws .* give 24 or more"):
        probe(replace(asked, documents=20), pair)


def test_labels_that_are_all_equal_are_refused(tmp_path, asked, pair):
    path = tmp_path / "equal.jsonl"
    line = {"text": "red dog red cat red dog", "spans": [{"start": 0, "end": 23, "label": "only"}]}
    path.write_text((json.dumps(line) + "\n") * 30)
    with pytest.raises(TooFewError, match="behaviour: all 180 tokens are 'only': a probe needs documents with two"):
        probe(replace(asked, spans=path, labels=("behaviour",)), pair)
