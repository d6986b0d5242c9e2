import torch

from toolkit.dictionaries.weights import Workspace


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
