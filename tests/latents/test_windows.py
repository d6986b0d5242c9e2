import pytest
import torch
from torch import Tensor

from toolkit.latents.windows import NO_TOKEN, Firings, Window, best_nearby


@pytest.fixture
def rows() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, attention mask, selected tokens and codes of three rows; position 0 is left out, as in harvests."""
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(40, (3, 12), generator=generator)
    mask = (torch.arange(12) < torch.tensor([[12], [9], [5]])).long()
    selected = mask.bool() & (torch.arange(12) > 0)
    codes = torch.randn(int(selected.sum()), 4, generator=generator).clamp(min=0)
    return input_ids, mask, selected, codes


def test_firings_and_windows_are_those_of_a_naive_loop(rows: tuple[Tensor, ...]) -> None:
    input_ids, mask, selected, codes = rows
    window = Window(before=3, after=2)
    firings = Firings.find(input_ids, mask, selected, codes, window)
    dense = torch.zeros(3, 12, 4)
    dense[selected] = codes
    everywhere = torch.arange(len(firings.score))
    found = zip(firings.tokens(everywhere).tolist(), firings.activations(everywhere).tolist(), strict=True)
    expected = []
    for latent in range(4):
        for row in range(3):
            for position in range(12):
                if dense[row, position, latent] > 0:
                    around = range(position - 3, position + 3)
                    inside = [0 <= p < int(mask[row].sum()) for p in around]
                    ids = [int(input_ids[row, p]) if ok else NO_TOKEN for p, ok in zip(around, inside, strict=True)]
                    values = [float(dense[row, p, latent]) if ok else 0.0 for p, ok in zip(around, inside, strict=True)]
                    expected.append((latent, row, position, ids, values))
    listed = zip(firings.latent.tolist(), firings.row.tolist(), firings.position.tolist(), strict=True)
    assert [(*where, *what) for where, what in zip(listed, found, strict=True)] == expected


def test_best_nearby_is_a_naive_loop_and_equal_keys_go_to_the_first() -> None:
    generator = torch.Generator().manual_seed(1)
    place = torch.randint(400, (150,), generator=generator).unique()
    key = torch.randint(6, place.shape, generator=generator).float()
    for reach in (0, 1, 7):
        expected = [
            not any(
                abs(int(p - q)) <= reach and (other > own or (other == own and q < p))
                for q, other in zip(place, key, strict=True)
                if p != q
            )
            for p, own in zip(place, key, strict=True)
        ]
        assert best_nearby(place, key, reach).tolist() == expected


def test_a_window_of_negative_width_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 tokens before and 8 after"):
        Window(before=-1)
