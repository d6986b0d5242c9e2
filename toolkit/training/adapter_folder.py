"""The folder of an adapter's training run."""

from dataclasses import dataclass, fields

from toolkit.adapters.trainer import AdapterStep
from toolkit.dictionaries.adapter_storage import ADAPTER_FILE, save_adapter
from toolkit.dictionaries.transcoders import Adapter
from toolkit.settings.run_files import ADAPTER_REPORT, ADAPTER_RUN
from toolkit.training.training_folder import TrainingFolder


@dataclass(frozen=True, kw_only=True)
class AdapterFolder(TrainingFolder):
    """The files of a run that trains an adapter."""

    CLAIM, MADE, WEIGHTS, REPORT = ADAPTER_RUN, "adapter", ADAPTER_FILE, ADAPTER_REPORT
    RECORD = frozenset(each.name for each in fields(AdapterStep))

    def save_adapter(self, adapter: Adapter) -> None:
        """Write the adapter, and its shape and origin into `config.json`."""
        with self.checkpoints.explaining_a_full_disk(), self.outputs.writing("config.json", ADAPTER_FILE):
            save_adapter(adapter, self.path)
