"""One experiment, from its settings to what was found: the call that recipes and notebooks share."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from toolkit.outputs import RESULTS_FILE

if TYPE_CHECKING:
    import toolkit.reports.console
    import toolkit.reports.findings


def examine(
    settings: Any, opened: Any = None, *, console: "toolkit.reports.console.RunConsole | None" = None
) -> "toolkit.reports.findings.Findings":
    """Measure what an experiment's settings ask for, and describe it.

    The package that declares the settings has `measure(settings, opened)` in `measure.py` and
    `page(settings, opened, found)` in `page.py`. `opened` is what the settings name (see `opening.open_named`), for a
    caller that has opened it already. What `page` says of where its findings came from is completed here. With a
    `console` each stage is shown there; without one nothing is printed.
    Raises `ValueError` for models, a crosscoder or text that cannot be used, and as the experiment does.
    """
    from toolkit.experiments.opening import open_named
    from toolkit.experiments.origin import origin_of  # these take seconds to import

    package = type(settings).__module__
    if not package.startswith("toolkit.experiments."):
        raise ValueError(f"{settings!r:.60} are no settings of an experiment: give some, such as AblationConfig()")
    experiment, description = (import_module(f"{package}.{part}") for part in ("measure", "page"))
    with console.stage("loading") if console else nullcontext():
        opened = open_named(settings, opened)
    with console.stage(package.rpartition(".")[2].replace("_", " ")) if console else nullcontext():
        findings = description.page(settings, opened, experiment.measure(settings, opened))
        origin = origin_of(settings, opened)
    return replace(findings, provenance=_joined(origin, findings.provenance))


def _joined(origin: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """All that is known of where findings came from, group by group: files are among `sha256` whoever names them."""
    groups = {name: {**origin.get(name, {}), **each} for name, each in more.items()}
    return {**origin, **groups}


def publish(settings: Any) -> None:
    """Examine on the console; the page, its figures as PNG and every number as JSON go to the settings' folder.

    `results.json` is written too where `settings.outputs()` names it.
    """
    from toolkit.reports import files
    from toolkit.reports.console import RunConsole

    console = RunConsole()
    findings = examine(settings, console=console)
    files.publish(settings.output.out, console, findings)
    for folder in settings.outputs():
        if RESULTS_FILE in folder.patterns:
            with folder.writing(RESULTS_FILE):
                content = {**findings.results, "provenance": findings.provenance}
                files.write_results(folder.path / RESULTS_FILE, content)
    console.times(console.seconds)
