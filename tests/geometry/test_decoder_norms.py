import pytest
import torch

from toolkit.geometry.decoder_norms import cosine, norm_difference, nrn, random_pair_cosines


def decoders(n: int = 400, d_model: int = 32) -> torch.Tensor:
    return torch.randn(n, 2, d_model, generator=torch.Generator().manual_seed(0))


def test_nrn_of_known_rows():
    W_dec = torch.tensor(
        [
            [[3.0, 4.0], [0.0, 0.0]],
            [[3.0, 4.0], [4.0, 3.0]],
            [[0.0, 1.0], [2.0, 1.0]],
            [[0.0, 0.0], [0.0, 1.0]],
        ]
    )
    torch.testing.assert_close(nrn(W_dec), torch.tensor([0, 0.5, 0.75, 1]))
    torch.testing.assert_close(nrn(W_dec, p=2)[2], torch.tensor(5**0.5 / (1 + 5**0.5)))


def test_nrn_is_rdn_over_one_plus_rdn():
    W_dec = decoders()
    rdn = W_dec[:, 1].abs().sum(dim=1) / W_dec[:, 0].abs().sum(dim=1)
    torch.testing.assert_close(nrn(W_dec), rdn / (1 + rdn))


def test_a_latent_without_rows_has_no_side():
    assert nrn(torch.zeros(1, 2, 4)).tolist() == [0.5]
    assert norm_difference(torch.zeros(1, 2, 4)).tolist() == [0.5]


def test_other_norms_are_refused():
    with pytest.raises(ValueError, match="p = 3"):
        nrn(decoders(), p=3)


def test_cosine_of_known_rows():
    W_dec = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [-1.0, 0.0]]])
    torch.testing.assert_close(cosine(W_dec), torch.tensor([1.0, 0, -1]))


def test_a_row_of_zeros_has_no_cosine():
    W_dec = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert cosine(W_dec).isnan().all()
    assert random_pair_cosines(W_dec[:2], torch.Generator())[1].isnan()


def test_norm_difference_is_that_of_its_formula():
    W_dec = torch.tensor([[[3.0, 4.0], [0.0, 2.0]], [[0.0, 1.0], [0.0, 4.0]], [[0.0, 0.0], [1.0, 0.0]]])
    expected = [0.5 * ((a - b) / max(a, b) + 1) for a, b in ((5, 2), (1, 4), (0, 1))]
    assert norm_difference(W_dec).tolist() == pytest.approx(expected)


def test_random_pairs_never_meet_themselves():
    W_dec = decoders()[:, :1].expand(-1, 2, -1)  # a latent that met itself would have cosine 1
    null = random_pair_cosines(W_dec, torch.Generator().manual_seed(0))
    assert null.shape == (400,)
    assert null.abs().max() < 0.8
    assert null.std().item() == pytest.approx(32**-0.5, rel=0.15)
    with pytest.raises(ValueError, match="1 latents make no pair"):
        random_pair_cosines(W_dec[:1], torch.Generator())
