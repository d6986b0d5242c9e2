import torch

from toolkit.dictionaries.weights import Workspace, fold_weights


def test_workspace_hands_out_one_buffer_until_its_shape_or_type_changes():
    workspace, like = Workspace(), torch.zeros(1)
    first = workspace.empty("codes", (3, 4), like, torch.float32)
    assert workspace.empty("codes", (3, 4), like, torch.float32) is first
    assert workspace.empty("other", (3, 4), like, torch.float32) is not first
    assert workspace.empty("codes", (5, 4), like, torch.float32).shape == (5, 4)
    assert workspace.empty("codes", (5, 4), like, torch.bfloat16).dtype == torch.bfloat16


def test_decoder_norms_are_per_stream(make_weights):
    weights = make_weights()
    expected = [[row[5 * s : 5 * s + 5].norm().item() for s in range(3)] for row in weights.W_dec]
    torch.testing.assert_close(weights.decoder_norms(3), torch.tensor(expected))


def test_folded_weights_do_on_raw_activations_what_the_others_do_on_normalised_ones(make_weights):
    weights = make_weights()
    generator = torch.Generator().manual_seed(4)
    norms, scale = (torch.rand(size, generator=generator) + 0.1 for size in (24, 3))
    mean, x = (torch.randn(shape, generator=generator) * 3 for shape in ((3, 5), (7, 3, 5)))
    folded = fold_weights(weights, norms, scale, mean)
    for token in range(7):
        normalised = ((x[token] - mean) * scale[:, None]).flatten()
        activity = (weights.W_enc @ normalised + weights.b_enc).relu()
        codes = ((folded["W_enc"] * x[token]).sum(dim=(1, 2)) + folded["b_enc"]).relu()
        torch.testing.assert_close(codes, activity * norms)
        rebuilt = (activity @ weights.W_dec + weights.b_dec).view(3, 5) / scale[:, None] + mean
        torch.testing.assert_close(torch.einsum("n,nsd->sd", codes, folded["W_dec"]) + folded["b_dec"], rebuilt)


def test_a_latent_without_a_decoder_stays_finite(make_weights):
    weights = make_weights()
    weights.W_dec[2] = 0
    folded = fold_weights(weights, weights.decoder_norms(3).sum(dim=1), torch.ones(3))
    assert all(tensor.isfinite().all() for tensor in folded.values())
    assert folded["W_dec"][2].abs().max() == 0
