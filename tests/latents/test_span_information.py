import pytest
import torch

from toolkit.dictionaries.configs import CrosscoderConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.latents.labelled_activations import LabelledActivations, LabelledTokens
from toolkit.latents.span_information import span_information, variance_between

N_TOKENS, PARTS, WIDTH = 4000, 12, 16


@pytest.fixture(scope="module")
def data() -> LabelledActivations:
    """A label that stands in one direction of its own, on tokens of twelve kinds, each with a louder direction."""
    generator = torch.Generator().manual_seed(0)
    label = (torch.rand(N_TOKENS, generator=generator) < 0.2).long() - 1
    kind = torch.randint(PARTS, (N_TOKENS,), generator=generator)
    x = 0.1 * torch.randn(N_TOKENS, 2, WIDTH, generator=generator)
    x[torch.arange(N_TOKENS), 1, kind] += 3
    x[:, 1, PARTS] += label + 1
    tokens = LabelledTokens(names=("turn",), label=label, document=torch.arange(N_TOKENS) // 50)
    number = torch.arange(N_TOKENS)
    return LabelledActivations(tokens=tokens, activations=x, token_id=kind, position=number % 50, rows=[[0] * 50] * 80)


def crosscoder(rows: torch.Tensor, decoded: torch.Tensor, threshold: float) -> Crosscoder:
    config = CrosscoderConfig(
        d_model=WIDTH, models=("base", "distilled"), layers=(2,), n_latents=len(rows), sparsity="l1", k=1
    )
    made = Crosscoder(config)
    weights = {"W_enc": rows, "W_dec": decoded, "b_enc": torch.full((len(rows),), -threshold)}
    made.load_state_dict(weights | {"b_dec": torch.zeros(2, WIDTH)})
    return made


def test_a_label_that_is_split_by_kinds_of_token_needs_many_latents(data):
    """Each latent fires where the label meets one kind of token, and writes the label's direction alone."""
    rows, decoded = torch.zeros(PARTS, 2, WIDTH), torch.zeros(PARTS, 2, WIDTH)
    rows[torch.arange(PARTS), 1, torch.arange(PARTS)] = 1
    rows[:, 1, PARTS] = 1
    decoded[:, 1, PARTS] = 2
    (found,) = span_information(crosscoder(rows, decoded, 3.5), data).labels
    assert found.streams.value > 0.99
    assert found.reconstruction.value > 0.99
    assert found.error.value < 0.9
    reached = [estimate.value for estimate in found.by_latents.values()]
    assert list(found.by_latents) == [1, 5, 10]
    assert reached[0] < 0.6
    assert 0.6 < reached[1] < reached[2] < 0.97


def test_what_is_not_rebuilt_stays_in_the_error(data):
    """The reconstruction holds the kinds of tokens, and nothing of the label."""
    rows = torch.zeros(PARTS, 2, WIDTH)
    rows[torch.arange(PARTS), 1, torch.arange(PARTS)] = 1
    (found,) = span_information(crosscoder(rows, rows, 0.5), data).labels
    assert found.reconstruction.value < 0.6
    assert found.error.value > 0.9
    assert max(each.value for each in found.by_latents.values()) < 0.6


def test_variance_is_shared_out_between_groups(data):
    x = data.activations.flatten(1)
    assert variance_between(x, data.token_id) > 0.9
    wanted = data.tokens.wanted("turn")
    means = torch.stack([x[~wanted].mean(dim=0), x[wanted].mean(dim=0)])
    between = (means[wanted.long()] - x.mean(dim=0)).square().sum() / (x - x.mean(dim=0)).square().sum()
    assert variance_between(x, wanted.long()) == pytest.approx(float(between), rel=1e-4)
