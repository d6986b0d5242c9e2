import pytest
import torch

from toolkit.annotation.subjects import NEIGHBOURS, adapter_subjects, crosscoder_subjects
from toolkit.latents.logit_lens import adapter_lens, logit_lens


def test_neighbours_are_the_latents_with_the_most_similar_decoder_rows(tiny_pair, crosscoder):
    subjects = crosscoder_subjects(tiny_pair, crosscoder, [5, 9, 5])
    assert subjects.names == (5, 9)
    assert subjects.columns.tolist() == [5, 9]
    for line, latent in enumerate((5, 9)):
        rows = crosscoder.W_dec.flatten(1)
        cosines = torch.cosine_similarity(rows[latent][None], rows, dim=1)
        order = [other for other in cosines.argsort(descending=True).tolist() if other != latent][:NEIGHBOURS]
        assert subjects.neighbours[line].tolist() == order
        torch.testing.assert_close(subjects.likeness[line], cosines[order])


def test_promoted_tokens_are_those_of_the_model_whose_row_is_longest(tiny_pair, crosscoder):
    latents = list(range(20))
    subjects, lens = crosscoder_subjects(tiny_pair, crosscoder, latents), logit_lens(tiny_pair, crosscoder, latents)
    own = ["base" if base > distilled else "distilled" for base, distilled in crosscoder.decoder_norms()[:20].tolist()]
    assert set(own) == {"base", "distilled"}
    assert subjects.promoted == tuple(tuple(lens[own[i]].tokens(i)) for i in latents)
    assert subjects.suppressed == tuple(tuple(lens[own[i]].tokens(i, promoted=False)) for i in latents)


def test_neighbours_of_an_adapters_latent_are_of_its_own_layer(adapted):
    latents = [(2, 3), (1, 7), (2, 0)]
    subjects = adapter_subjects(adapted, range(1, 3), latents)
    assert subjects.names == ("2/3", "1/7", "2/0")
    assert subjects.columns.tolist() == [27, 7, 24]
    for line, (layer, index) in enumerate(latents):
        rows = adapted.transcoders[layer].W_dec
        cosines = torch.cosine_similarity(rows[index][None], rows, dim=1)
        order = [other for other in cosines.argsort(descending=True).tolist() if other != index][:NEIGHBOURS]
        assert subjects.neighbours[line].tolist() == [(layer - 1) * 24 + other for other in order]
    lens = adapter_lens(adapted, latents)
    assert subjects.promoted[1] == tuple(lens.tokens(1 * 24 + 7))


def test_latents_that_are_not_read_are_refused(adapted, tiny_pair, crosscoder):
    with pytest.raises(ValueError, match="latent 2/3 is of a layer that is not read: add its layer to \\[0, 1\\]"):
        adapter_subjects(adapted, [0, 1], [(2, 3)])
    with pytest.raises(ValueError, match="latent 9/3 does not exist"):
        adapter_subjects(adapted, [0, 1], [(9, 3)])
    with pytest.raises(ValueError, match="no latent is named"):
        adapter_subjects(adapted, [0, 1], [])
    with pytest.raises(ValueError, match="latent 99 does not exist"):
        crosscoder_subjects(tiny_pair, crosscoder, [99])
