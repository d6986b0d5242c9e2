"""The kernels of `triton`: each program reads what it needs of one matrix row once, and gathers rows of another.

A pattern's row is a latent, but in `gathered_sums` it may be a token. Sums are in single precision, whatever type the
gathered rows have, and no two programs write to one place: results are the same each time. A row with more than `split`
nonzeros would keep one program busy long after all others: kernels leave such rows out unless these are `listed`, and
then share each out among programs.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators

import triton
import triton.language as tl

TOKENS = tl.constexpr(8)
"""Gathered rows that a program holds at once."""
WIDTH = tl.constexpr(512)
"""Of each of them, as many entries."""


@triton.jit
def row_of(starts, listed, index, split, of_list: tl.constexpr):
    """The row that a program works on, where its nonzeros start and end, and whether the row is not left to others."""
    row = tl.load(listed + index).to(tl.int64) if of_list else index.to(tl.int64)
    first, last = tl.load(starts + row), tl.load(starts + row + 1)
    own = last - first > split if of_list else last - first <= split
    return row, first, last, own


@triton.jit
def row_products(
    starts, columns, listed, left, right, out, width, split,
    of_list: tl.constexpr, segment: tl.constexpr,
):  # fmt: skip
    """out[nonzero] = left[row] · right[column]; the second axis of programs shares a row's nonzeros out."""
    row, first, last, own = row_of(starts, listed, tl.program_id(0), split, of_list)
    if of_list:
        first += tl.program_id(1) * segment
        last = tl.minimum(last, first + segment)
    last = tl.where(own, last, first)
    for start in range(first, last, TOKENS):
        nonzeros = start + tl.arange(0, TOKENS)
        there = nonzeros < last
        column = tl.load(columns + nonzeros, mask=there, other=0).to(tl.int64)
        sums = tl.zeros((TOKENS, WIDTH), tl.float32)
        for at in range(0, width, WIDTH):
            entries = at + tl.arange(0, WIDTH)
            inside = entries < width
            own_row = tl.load(left + row * width + entries, mask=inside, other=0.0)
            tile = (column * width)[:, None] + entries[None, :]
            gathered = tl.load(right + tile, mask=there[:, None] & inside[None, :], other=0.0).to(tl.float32)
            sums += own_row[None, :] * gathered
        tl.store(out + nonzeros, tl.sum(sums, axis=1), mask=there)


@triton.jit
def gathered_sums(
    starts, columns, listed, values, dense, out, width, split,
    of_list: tl.constexpr, adds: tl.constexpr,
):  # fmt: skip
    """out[row] = Σ values[nonzero] dense[column], added to what is there if `adds`; programs of the second axis, which
    are the last to start, take a stretch of the width each: at one time, most read the same stretch.
    """
    row, first, last, own = row_of(starts, listed, tl.program_id(0), split, of_list)
    last = tl.where(own, last, first)
    entries = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = entries < width
    sums = tl.zeros((TOKENS, WIDTH), tl.float32)
    for start in range(first, last, TOKENS):
        nonzeros = start + tl.arange(0, TOKENS)
        there = nonzeros < last
        column = tl.load(columns + nonzeros, mask=there, other=0).to(tl.int64)
        value = tl.load(values + nonzeros, mask=there, other=0.0)
        tile = (column * width)[:, None] + entries[None, :]
        gathered = tl.load(dense + tile, mask=there[:, None] & inside[None, :], other=0.0).to(tl.float32)
        sums += value[:, None] * gathered
    total = tl.sum(sums, axis=0)
    place = out + row * width + entries
    if adds:
        total += tl.load(place, mask=inside, other=0.0)
    tl.store(place, total, mask=entries < tl.where(own, width, 0))


@triton.jit
def latent_gradients(
    starts, columns, codes, x, error_gradient, W_dec,
    code_gradient, d_W_enc, d_W_dec, squares, width, split,
):  # fmt: skip
    """The gradients of one latent's codes, encoder row and decoder row, and the sum of squares of both rows; each
    stretch of rows is read once.
    """
    row, first, last, own = row_of(starts, starts, tl.program_id(0), split, False)
    end = tl.where(own, tl.maximum(last, first + 1), first)  # a latent that never fires has gradients of 0
    squared = tl.zeros((WIDTH,), tl.float32)
    for start in range(first, end, TOKENS):
        nonzeros = start + tl.arange(0, TOKENS)
        there = nonzeros < last
        held = tl.where(start > first, width, 0)  # entries of the gradients' rows that have sums already
        whole = tl.where(last - start <= TOKENS, width, 0)  # entries whose sums end here
        column = tl.load(columns + nonzeros, mask=there, other=0).to(tl.int64)
        code = tl.load(codes + nonzeros, mask=there, other=0.0)
        sums = tl.zeros((TOKENS, WIDTH), tl.float32)
        for at in range(0, width, WIDTH):
            entries = at + tl.arange(0, WIDTH)
            inside = entries < width
            decoder = tl.load(W_dec + row * width + entries, mask=inside, other=0.0)
            tile = (column * width)[:, None] + entries[None, :]
            pulled = tl.load(error_gradient + tile, mask=there[:, None] & inside[None, :], other=0.0).to(tl.float32)
            sums += decoder[None, :] * pulled
            before = tl.load(d_W_dec + row * width + entries, mask=entries < held, other=0.0)
            total = before + tl.sum(code[:, None] * pulled, axis=0)
            tl.store(d_W_dec + row * width + entries, total, mask=inside)
            squared += tl.where(entries < whole, total * total, 0.0)
        gradient = tl.sum(sums, axis=1)
        tl.store(code_gradient + nonzeros, gradient, mask=there)
        for at in range(0, width, WIDTH):
            entries = at + tl.arange(0, WIDTH)
            inside = entries < width
            tile = (column * width)[:, None] + entries[None, :]
            read = tl.load(x + tile, mask=there[:, None] & inside[None, :], other=0.0).to(tl.float32)
            before = tl.load(d_W_enc + row * width + entries, mask=entries < held, other=0.0)
            total = before + tl.sum(gradient[:, None] * read, axis=0)
            tl.store(d_W_enc + row * width + entries, total, mask=inside)
            squared += tl.where(entries < whole, total * total, 0.0)
        tl.debug_barrier()  # the next tokens add to what other threads of this program have stored
    if own:
        tl.store(squares + row, tl.sum(squared, axis=0))
