"""Training steps shown by another tool as well: TensorBoard, Weights & Biases or Trackio, through accelerate.

The run folder has every number; the tool has a copy of what `metrics.jsonl` holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from accelerate.state import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from toolkit.settings.run_files import LOG
from toolkit.training.folder import RunFolder

PROJECT = "distillation-crosscoders"


class StepLog:
    """The log of one run in a tool.

    tool: "tensorboard", which writes to `tensorboard/` in the run folder, "wandb" or "trackio".
    steps_done: where a resumed run continues; TensorBoard forgets later steps, the others continue the run that the
    folder names.
    """

    def __init__(self, tool: str, folder: RunFolder, settings: Mapping[str, Any], steps_done: int) -> None:
        PartialState()  # without it accelerate's trackers raise
        run = self._run(tool, folder, resumed=steps_done > 0)
        options: dict[str, dict[str, Any]] = {
            "tensorboard": {"run_name": tool, "logging_dir": folder.path, "purge_step": steps_done + 1},
            "wandb": {"run_name": PROJECT, "name": run, "id": run, "resume": "allow", "config": settings},
            "trackio": {"run_name": PROJECT, "name": run, "resume": "allow", "config": settings},
        }
        self._tracker: GeneralTracker = LOGGER_TYPE_TO_CLASS[tool](**options[tool])
        self._tracker.start()

    @staticmethod
    def _run(tool: str, folder: RunFolder, *, resumed: bool) -> str:
        """The name of the tool's run, which the folder keeps."""
        if resumed and (folder.path / LOG).exists() and folder.read_json(LOG)["tool"] == tool:
            return str(folder.read_json(LOG)["run"])
        run = f"{folder.path.resolve().name}-{uuid4().hex[:8]}"
        folder.write_json(LOG, {"tool": tool, "run": run})
        return run

    def add(self, records: Mapping[str, Mapping[str, Any]], streams: Sequence[str]) -> None:
        """Show one step: each crosscoder's record of it, by name, whose `fve` has a value per stream."""
        values: dict[str, float] = {}
        for plan, record in records.items():
            step, prefix = record["step"], f"{plan}/" if len(records) > 1 else ""
            values |= {f"{prefix}{name}": value for name, value in record.items() if name not in ("step", "fve")}
            values |= {f"{prefix}fve_{name}": value for name, value in zip(streams, record["fve"], strict=True)}
        self._tracker.log(values, step=step)

    def close(self) -> None:
        """Let the tool write what it still holds."""
        self._tracker.finish()
