"""The folder of a crosscoder run."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.export import export_dictionary_learning
from toolkit.dictionaries.storage import WEIGHTS_FILE
from toolkit.dictionaries.training import StepMetrics
from toolkit.dictionaries.weights_with_settings import CONFIG_FILE
from toolkit.settings.run_files import EXPORT, REPORT, RUN, SEED_FOLDER
from toolkit.training.training_folder import TrainingFolder


@dataclass(frozen=True, kw_only=True)
class RunFolder(TrainingFolder):
    """The files of a run that trains a crosscoder, or several that differ in their seeds."""

    CLAIM, MADE, WEIGHTS, REPORT = RUN, "crosscoder", WEIGHTS_FILE, REPORT
    RECORD = frozenset(each.name for each in fields(StepMetrics))

    def save_crosscoders(self, crosscoders: Iterable[tuple[int, Crosscoder]], export: str | None) -> None:
        """Write the crosscoders by seed, each once more for another library where there is one to `export` to.

        The first is the run's own, and is written last: where it is, all are whole.
        """
        first, *others = crosscoders
        for seed, crosscoder in others:
            self._save_crosscoder(crosscoder, export, f"{SEED_FOLDER}{seed}/")
        self._save_crosscoder(first[1], export, "")

    def _save_crosscoder(self, crosscoder: Crosscoder, export: str | None, inside: str) -> None:
        files = (f"{inside}{name}" for name in (WEIGHTS_FILE, CONFIG_FILE))
        with self.checkpoints.explaining_a_full_disk(), self.outputs.writing(*files):
            crosscoder.save_pretrained(self.path / inside)
        if export:
            files = (f"{inside}{name}" for name in EXPORT)
            with self.checkpoints.explaining_a_full_disk(), self.outputs.writing(*files):
                export_dictionary_learning(crosscoder, self.path / inside / export)

    def crosscoders(self, seeds: Iterable[int]) -> Iterator[tuple[int, Crosscoder]]:
        """Read the crosscoders that were saved, the run's own first."""
        first, *others = seeds
        yield first, Crosscoder.from_pretrained(self.path)
        yield from ((seed, Crosscoder.from_pretrained(self.path / f"{SEED_FOLDER}{seed}")) for seed in others)
