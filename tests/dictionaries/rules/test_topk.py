import torch

from toolkit.dictionaries.rules.topk import fire, topk_positions


def test_topk_keeps_the_largest_of_each_token():
    values = torch.randn(30, 40, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([row >= row.sort(descending=True).values[4] for row in values])
    assert torch.equal(fire(values, torch.zeros(()), 5), values * expected)
    by_latent = values.t().contiguous()
    assert topk_positions(by_latent, 5).tolist() == expected.t().flatten().nonzero().flatten().tolist()
