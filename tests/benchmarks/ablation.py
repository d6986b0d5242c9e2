"""How long does an ablation take: four categories, six fractions, two models, each with both controls?

What recipes/ablate.py measures with its defaults, on the shipped crosscoder of the embedded pair: text is read, latents
are chosen, positions found, effects measured, off target too. Models are loaded already. The figure is CPU time on one
thread.
"""

from functools import cache

from timing import time_in_turn

from toolkit.experiments.ablation import AblationConfig
from toolkit.experiments.ablation.measure import measure
from toolkit.experiments.run import Run

ROUNDS = 1


@cache
def seconds() -> dict[str, float]:
    """Measure it once a process."""
    config = AblationConfig()
    assert len(config.shares) == 6
    run = Run.open().load()
    return time_in_turn({"ablation: all of it": lambda: measure(config, run)}, ROUNDS)


def ratios() -> dict[str, float]:
    """Return the seconds themselves: there is no other side."""
    return {"ablation_seconds": seconds()["ablation: all of it"]}
