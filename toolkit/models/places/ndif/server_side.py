"""Functions that a job runs where the model is: sent along as source, for a server that knows no toolkit.

They name torch alone, and no type checker may wrap them: its code would have to travel too.
"""

from typing import no_type_check

import nnsight
import torch

from toolkit.models.places.ndif.wire import pack

nnsight.register(__name__)


@no_type_check
def edited(residual, edit):
    """The stream under a plain edit: layer, function, operands, positions."""
    _, function, operands, positions = edit
    operands = [operand.to(residual) for operand in operands]
    if positions is None:
        return function(residual, *operands).to(residual)
    positions = positions.to(residual.device)
    at = [o if o.ndim == 2 else o.expand(len(residual), *residual.shape[1:])[positions] for o in operands]
    changed = residual.clone()
    changed[positions] = function(residual[positions], *at).to(residual)
    return changed


@no_type_check
def replacement(residual, values):
    """A copy of the values, whatever the stream is: the next edit may work in place."""
    return values.clone()


@no_type_check
def at_sites(model, decoder, inputs, layers, edits):
    """The input of each of `layers`, which ascend, in one pass under plain edits; it stops at the last of them."""
    found, changes = [], by_site(edits)
    with torch.no_grad(), model.trace(**inputs) as tracer:
        for layer in sorted({*layers, *(site for site in changes if site < layers[-1])}):
            stream = decoder[layer].input
            for edit in changes.get(layer, []):
                stream = edited(stream, edit)
            if layer in changes:
                decoder[layer].input = stream
            if layer in layers:
                found.append(nnsight.save(stream))
        tracer.stop()
    return found


@no_type_check
def selected(model, decoder, inputs, places, layers, order, wire):
    """What `pack` makes of the inputs of `layers`, which ascend, at `places` of the rows in line, then put in `order`.

    Places, unlike a mask, are taken without asking a GPU how many there are.
    """
    with torch.no_grad(), model.trace(**inputs) as tracer:
        sites = [decoder[layer].input for layer in layers]
        device = sites[-1].device
        lines = [site.flatten(0, 1).index_select(0, places.to(site.device)).to(device) for site in sites]
        packed = nnsight.save(pack(torch.stack([lines[number] for number in order], dim=1), wire))
        tracer.stop()
    return packed


@no_type_check
def by_site(edits):
    """Plain edits by their layer, from first to last; those of one layer in the order given."""
    return {layer: [edit for edit in edits if edit[0] == layer] for layer in sorted({edit[0] for edit in edits})}


@no_type_check
def logits_under(model, decoder, inputs, edits):
    """The model's logits in one pass under plain edits.

    Where an edit replaces the whole stream, the layers before it do not run, and other edits before it do nothing; with
    a cache they run, so that all layers have kept as many tokens.
    """
    past = inputs.get("cache", inputs.get("past_key_values"))
    whole = [edit[0] for edit in edits if edit[1] is replacement and edit[3] is None and past is None]
    begins = max(whole, default=0)
    with torch.no_grad(), model.trace(**inputs):
        if begins:
            stream = decoder[0].input
        for before in range(begins):
            decoder[before].skip(stream)
        for layer, changes in by_site([edit for edit in edits if edit[0] >= begins]).items():
            stream = decoder[layer].input
            for edit in changes:
                stream = edited(stream, edit)
            decoder[layer].input = stream
        output = nnsight.save(model.output)  # lm_head.output would lack Gemma 2's soft cap
    return output.logits


@no_type_check
def logits_and_streams(model, decoder, inputs, layers):
    """The model's logits in one pass, and the input of each of `layers`, which ascend, by layer."""
    streams = {}
    with torch.no_grad(), model.trace(**inputs):
        for layer in layers:
            streams[layer] = nnsight.save(decoder[layer].input)
        output = nnsight.save(model.output)
    return output.logits, streams


@no_type_check
def begun(streams, edits):
    """The same edits, or such as have the untouched stream before the first of them put in its place, if it is kept."""
    first = min((edit[0] for edit in edits), default=None)
    return [(first, replacement, [streams[first]], None), *edits] if first in streams else edits


@no_type_check
def measured(model, decoder, inputs, edits, kept, function, operands):
    """function(logits of the first, logits, *operands) for each of `edits`, a list of plain edits; one pass each.

    If the first has no edit, its pass keeps the inputs of the layers `kept`, which ascend, and a pass whose edits begin
    at one of them does not run the layers before it.
    """
    found, first, streams = [], None, {}
    past, width = inputs.get("cache", inputs.get("past_key_values")), inputs["input_ids"].shape[1]
    for edit in edits:
        if kept and first is None:
            logits, streams = logits_and_streams(model, decoder, inputs, kept)
        else:
            logits = logits_under(model, decoder, inputs, begun(streams, edit))
        if past is not None:
            past.crop(-width)
        first = logits if first is None else first
        found.append(function(first, logits, *[each.to(logits.device) for each in operands]).cpu())
    return torch.stack(found)


@no_type_check
def unembedded(model, decoder, norm, head, streams, together, function, operands):
    """What `function` keeps of the streams' logits less those of the stream 0, `together` streams at a time.

    `norm` and `head` are the paths of the last two modules.
    """
    norm, head = model.get(norm), model.get(head)
    one, kept = torch.ones(1, 1, dtype=torch.long), []
    with torch.no_grad(), model.trace(input_ids=one, attention_mask=one, use_cache=False) as tracer:
        like = decoder[0].input
        for part in streams.split(together):
            both = torch.cat([part, torch.zeros_like(part[:1])]).to(like)
            logits = head(norm(both)).float()
            kept.append(function(logits[:-1] - logits[-1], *operands))
        tracer.stop()
    return [torch.cat(column).cpu() for column in zip(*kept, strict=True)]


@no_type_check
def likeliest(logits, top_k, top_p):
    """The logits [row, vocab], −∞ but for the `top_k` largest (0: all), and of those the first that reach `top_p`."""
    if top_k > 0:
        least = logits.topk(min(top_k, logits.shape[1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if top_p < 1:
        ascending, order = logits.sort(dim=1)
        left_out = ascending.softmax(dim=1).cumsum(dim=1) <= 1 - top_p
        left_out[:, -1] = False
        logits = logits.masked_fill(left_out.scatter(1, order, left_out), float("-inf"))
    return logits


@no_type_check
def log_waits(seed, drawn, size):
    """The logarithms of `size` exponential waiting times, which the seed and the number of draws before it decide.

    They are made on the CPU whatever the model runs on: a seed means the same on every machine.
    """
    mixed = (seed * 0x9E3779B97F4A7C15 + (drawn + 1) * 0xD1B54A32D192ED03) % 2**64  # splitmix64
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
    uniform = torch.rand(size, generator=torch.Generator().manual_seed(mixed >> 32))
    # By half a step above 0: a waiting time of 0 would always win.
    return uniform.add_(2**-25).neg_().log1p_().neg_().log_()


@no_type_check
def scores(logits, drawing, seeds, drawn):
    """[row, vocab] whose argmax is the next token: drawn by the Gumbel-max rule, or the likeliest at temperature 0.

    `drawing` is temperature, top_k, top_p. The noise depends on a row's seed and on how many tokens of its answer were
    `drawn` before, not on the batch.
    """
    temperature, top_k, top_p = drawing
    if temperature == 0:
        return logits
    different, which = torch.stack([seeds, drawn], dim=1).unique(dim=0, return_inverse=True)
    waits = torch.stack([log_waits(*each, logits.shape[1]) for each in different.tolist()])
    return likeliest(logits.float() / temperature, top_k, top_p) - waits[which].to(logits.device)


@no_type_check
def generated(model, decoder, inputs, first, edits, new_tokens, drawing, seeds, drawn, end_ids):
    """[row, step] tokens that continue each row; those after an end id mean nothing.

    The `first` edits are those of the pass that reads the inputs.
    """
    written, ended = [], torch.zeros(len(seeds), dtype=torch.bool)
    with torch.no_grad(), model.generate(**inputs) as tracer:
        for step in tracer.iter[:new_tokens]:
            for layer, changes in by_site(edits if step > 0 else first).items():
                stream = decoder[layer].input
                for edit in changes:
                    stream = edited(stream, edit)
                decoder[layer].input = stream
            output = model.output
            next_scores = scores(output.logits[:, -1], drawing, seeds, drawn + step)
            if drawing[0] > 0:
                output.logits = next_scores[:, None]
                model.output = output
            tokens = next_scores.argmax(dim=-1).cpu()
            written.append(tokens)
            ended |= torch.isin(tokens, end_ids)
            if ended.all():
                break
    return torch.stack(written, dim=1)
