import pytest
import torch

from toolkit.geometry.ratios import ratio_of_sums


def test_documents_of_one_size_give_the_mean_and_its_standard_error():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    ratio, half_width = ratio_of_sums(7 * means, torch.full((50,), 7.0))
    torch.testing.assert_close(ratio, means.mean(dim=0))
    torch.testing.assert_close(half_width, 1.959964 * means.std(dim=0) / 50**0.5, rtol=1e-6, atol=0)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(1000):
        sizes = torch.randint(5, 50, (60,), generator=generator).double()
        of_document = 2 + torch.randn(60, generator=generator, dtype=torch.float64)  # alike within a document
        noise = sizes.sqrt() * torch.randn(60, generator=generator, dtype=torch.float64)
        ratio, half_width = ratio_of_sums(sizes * of_document + noise, sizes, level=0.9)
        covered += bool((ratio - 2).abs() < half_width)
    assert covered / 1000 == pytest.approx(0.9, abs=0.035)


def test_one_document_is_refused():
    with pytest.raises(ValueError, match="1 documents give no interval"):
        ratio_of_sums(torch.ones(1), torch.ones(1))
