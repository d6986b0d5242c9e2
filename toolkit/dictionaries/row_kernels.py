"""The kernel of `row_update`: one program takes the step of one latent's two rows, and reads each number once."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators

import triton
import triton.language as tl

WIDTH = tl.constexpr(512)
"""Entries of a row that a program holds at once."""


@triton.jit
def stepped(
    weights, gradients, averages, squares, place, inside, shrink, rate, correction,
    steps: tl.constexpr, beta: tl.constexpr, beta_squares: tl.constexpr, epsilon: tl.constexpr,
):  # fmt: skip
    """Store and return these entries after Adam's step, w − rate m / (√v · correction + ε), or as they are."""
    weight = tl.load(weights + place, mask=inside, other=0.0)
    if not steps:
        return weight
    gradient = tl.load(gradients + place, mask=inside, other=0.0) * shrink
    average = beta * tl.load(averages + place, mask=inside, other=0.0) + (1 - beta) * gradient
    square = beta_squares * tl.load(squares + place, mask=inside, other=0.0) + (1 - beta_squares) * gradient * gradient
    weight -= rate * average / (tl.sqrt(square) * correction + epsilon)
    tl.store(averages + place, average, mask=inside)
    tl.store(squares + place, square, mask=inside)
    tl.store(weights + place, weight, mask=inside)
    return weight


@triton.jit
def adam_of_rows(
    W_enc, W_dec, d_W_enc, d_W_dec, m_W_enc, m_W_dec, v_W_enc, v_W_dec, norms, encoder,
    n_streams, d_model, shrink, rate, correction,
    steps: tl.constexpr, beta: tl.constexpr, beta_squares: tl.constexpr, epsilon: tl.constexpr,
):  # fmt: skip
    """Step both rows of a latent, if it `steps` at all; norms[row, stream] become those of its decoder row, and
    encoder[row] its encoder row times their sum.
    """
    row = tl.program_id(0).to(tl.int64)
    width, scale = n_streams * d_model, tl.zeros((1,), tl.float32)
    for stream in range(0, n_streams):
        squared = tl.zeros((WIDTH,), tl.float32)
        for at in range(0, d_model, WIDTH):
            entries = at + tl.arange(0, WIDTH)
            inside, place = entries < d_model, row * width + stream * d_model + entries
            weight = stepped(
                W_dec, d_W_dec, m_W_dec, v_W_dec, place, inside, shrink, rate, correction,
                steps, beta, beta_squares, epsilon,
            )  # fmt: skip
            squared += weight * weight
        norm = tl.sqrt(tl.sum(squared[None, :], axis=1))
        tl.store(norms + row * n_streams + stream + tl.arange(0, 1), norm)
        scale += norm
    for at in range(0, width, WIDTH):
        entries = at + tl.arange(0, WIDTH)
        inside, place = entries < width, row * width + entries
        weight = stepped(
            W_enc, d_W_enc, m_W_enc, v_W_enc, place, inside, shrink, rate, correction,
            steps, beta, beta_squares, epsilon,
        )  # fmt: skip
        tl.store(encoder + place, (weight * scale).to(encoder.dtype.element_ty), mask=inside)
