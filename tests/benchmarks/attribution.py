"""What does the attribution graph of a prompt take, and how does its time grow with the prompt?

The shipped adapter's graph of the words behind 64 tokens of held-out text, and behind 1,024, each with the default
limits: from ids to the selected graph, a forward pass included. Figures are medians of CPU time on one thread. The
number of latents that are followed grows with the prompt, too; the edges into the same number of latents take time
that grows as the attention does, between once and twice as fast as the prompt.
"""

from collections.abc import Callable
from functools import cache, partial

from timing import time_in_turn

from toolkit.attribution.attributing import attribute
from toolkit.attribution.limits import Limits
from toolkit.experiments.adapter_run import AdapterRun

LENGTHS, FEW, ROUNDS = (64, 1024), 64, 1


@cache
def seconds() -> dict[str, float]:
    """Measure each prompt once a process: CPU seconds a graph."""
    return time_in_turn(sides(AdapterRun.open(where="cpu")), ROUNDS)


def ratios() -> dict[str, float]:
    """Return the seconds of the short prompt, and those of the long one as a multiple."""
    short, long, few_short, few_long = seconds().values()
    return {
        "attribution_seconds": short,
        "attribution_1024_over_64": long / short,
        "attribution_same_latents_1024_over_64": few_long / few_short,
    }


def sides(run: AdapterRun) -> dict[str, Callable[[], object]]:
    """Return what is timed: graphs with the default limits, then graphs for which as many latents are followed."""
    text: list[int] = []
    for batch in run.tokens():
        text += batch.input_ids[batch.attention_mask.bool()].tolist()
        if len(text) >= max(LENGTHS):
            break
    ways = {"default limits": Limits(), f"{FEW} latents followed": Limits(max_latents=FEW)}
    return {
        f"attribution: {length:,} tokens, {name}": partial(attribute, run.models, text[:length], limits=limits)
        for name, limits in ways.items()
        for length in LENGTHS
    }
