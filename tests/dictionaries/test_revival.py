import torch

from toolkit.dictionaries.revival import MOST_AT_ONCE, add_revival, auxk_loss, choose_dead, preactivation_loss
from toolkit.dictionaries.rules import jumprelu
from toolkit.dictionaries.weights import Pass, Weights

DEAD = torch.tensor([2, 7])


def setting(weights: Weights) -> tuple[torch.Tensor, Pass]:
    """Activations, and a pass that found no gradient at all."""
    generator = torch.Generator().manual_seed(1)
    x, error = torch.randn(2, 50, 15, generator=generator)
    zeros = Weights(*(torch.zeros_like(tensor) for tensor in weights[:4]))
    return x, Pass(zeros, error, torch.zeros(24).long(), torch.tensor(0.0), torch.tensor(0.0))


def test_auxk_moves_encoder_and_decoder_of_dead_latents_and_no_others(make_weights, make_batch):
    weights = make_weights()
    x, found = setting(weights)
    add_revival(make_batch(x, weights), found, DEAD, auxk_loss)
    for gradient in found.gradients[:3]:
        changed = gradient.flatten(1).norm(dim=1) if gradient.ndim == 2 else gradient.abs()
        assert changed.nonzero().flatten().tolist() == DEAD.tolist()


def test_auxk_gradient_is_the_derivative_of_the_written_out_loss(make_weights, make_batch):
    weights = make_weights()
    x, found = setting(weights)
    loss = add_revival(make_batch(x, weights, aux_coefficient=0.5), found, DEAD, auxk_loss)
    W_dec = weights.W_dec.clone().requires_grad_()
    codes = torch.relu(x @ weights.W_enc[DEAD].t() + weights.b_enc[DEAD])
    missing = -found.error
    truth = (codes @ W_dec[DEAD] - missing).square().sum(dim=1).mean()
    torch.testing.assert_close(loss, truth.detach())
    (gradient,) = torch.autograd.grad(0.5 * truth, W_dec)
    torch.testing.assert_close(found.gradients.W_dec, gradient)


def test_preactivation_loss_pushes_dead_latents_up(make_weights, make_batch):
    weights = make_weights(thresholds=True)
    weights.b_enc[DEAD] = -30
    x, found = setting(weights)
    norms = weights.decoder_norms(3).sum(dim=1)[DEAD]
    before = add_revival(make_batch(x, weights, aux_coefficient=1.0), found, DEAD, jumprelu.revival_loss)
    assert found.gradients.b_enc.nonzero().flatten().tolist() == DEAD.tolist()
    assert (found.gradients.b_enc[DEAD] < 0).all()
    weights.b_enc.sub_(found.gradients.b_enc)
    weights.W_enc.sub_(found.gradients.W_enc)
    rows = Weights(weights.W_enc[DEAD], weights.b_enc[DEAD], weights.W_dec[DEAD], weights.b_dec)
    assert preactivation_loss(x, rows, norms, weights.extra["log_threshold"][DEAD].exp()) < before


def test_auxk_keeps_only_the_best_dead_latents_of_a_token():
    generator = torch.Generator().manual_seed(0)
    x, error = torch.randn(2, 4, 6, generator=generator)
    W_enc, W_dec = torch.randn(2, 200, 6, generator=generator)
    b_enc = torch.full((200,), 50.0)  # all would fire
    codes = x @ W_enc.t() + b_enc
    scores = codes * W_dec.norm(dim=1)
    best = scores >= scores.topk(64, dim=1).values[:, -1:]
    truth = ((codes * best) @ W_dec + error).square().sum(dim=1).mean()
    torch.testing.assert_close(
        auxk_loss(x, error, Weights(W_enc, b_enc, W_dec, torch.zeros(6)), W_dec.norm(dim=1)), truth
    )


def test_no_dead_latents_cost_nothing(make_weights, make_batch):
    weights = make_weights()
    x, found = setting(weights)
    assert add_revival(make_batch(x, weights), found, DEAD[:0], auxk_loss) == 0
    assert found.gradients.W_enc.count_nonzero() == 0


def test_all_dead_latents_get_their_turn():
    silent = torch.full((1700,), 10)
    silent[::10] = 9
    turns = [choose_dead(silent == 10, n_dead=1530, step=step) for step in range(3)]
    assert all(len(turn) == MOST_AT_ONCE for turn in turns)
    assert torch.cat(turns).unique().tolist() == (silent == 10).nonzero().flatten().tolist()
