"""Labels of latents in one call."""

from collections.abc import Iterable
from typing import Any

from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.latent_annotation import LatentAnnotationConfig
from toolkit.experiments.latent_annotation.measure import measure
from toolkit.experiments.latent_annotation.results import Annotated
from toolkit.experiments.run import Run
from toolkit.fields import check_names


def annotate(
    opened: Run | AdapterRun, latents: int | str | Iterable[int | str] | None = None, **changes: Any
) -> Annotated:
    """Label latents of a run's crosscoder or of an adapter, and test the labels on other documents of its text.

    `latents` are indices, or for an adapter names such as "3/17"; by default those that `LatentAnnotationConfig`
    chooses. `found.labels[623]` has a latent's category and explanation, `found.scores.latents[623]` its scores, and
    `found.unscored` says why a latent has none. Other keywords are fields of `LatentAnnotationConfig`, such as
    `tokens=50_000`, or `server=ServerChoice(base_url=…, model=…)`, whose replies are kept in the folder of `output`.
    Raises `ValueError` as `measure` does, and `TypeError` for a keyword that is no such field.
    """
    check_names(LatentAnnotationConfig, changes, "annotate")
    named = [latents] if isinstance(latents, int | str) else latents or ()
    return measure(LatentAnnotationConfig(latents=tuple(map(str, named)), **changes), opened)
