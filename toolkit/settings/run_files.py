"""The files that training runs write into their folders: of a crosscoder, and of an adapter."""

from toolkit.outputs import Claim

STATE, TENSORS = "state.json", "tensors.safetensors"
CHECKPOINT = (STATE, f".{STATE}.tmp", TENSORS, "shard-*.json", "shard-*.safetensors")
"""Patterns of the names of all that is written in a checkpoint's folder."""
REPORT = (
    "report.html",
    "figures/nrn_histogram.png",
    "figures/cosine_against_nrn.png",
    "figures/training_curves.png",
    "figures/firing_histogram.png",
    "figures/best_matches.png",
)
EXPORT = ("dictionary_learning/model.safetensors", "dictionary_learning/config.json")
LOG = "log.json"
"""Which run of another tool shows the steps; beside it what TensorBoard reads."""
SEED_FOLDER = "seed_"
"""How the folder of a crosscoder begins that was trained beside the run's own from another seed's initial weights."""
OF_SEEDS = f"{SEED_FOLDER}[0-9]*"
"""Pattern of those folders' names."""
RUN = Claim(
    files=(
        "config.json",
        "provenance.json",
        "metrics.json",
        "crosscoder.safetensors",
        LOG,
        *REPORT,
        *EXPORT,
        *(f"{OF_SEEDS}/{name}" for name in ("config.json", "crosscoder.safetensors", *EXPORT)),
    ),
    changing=(
        "metrics.jsonl",
        "tensorboard/events.out.tfevents.*",
        *(f"checkpoints/step-*/{name}" for name in CHECKPOINT),
    ),
    signs={"config.json": ("run",), "provenance.json": ("command", "sha256", "data")},
)
ADAPTER_REPORT = ("report.html", "figures/training_curves.png")
ADAPTER_RUN = Claim(
    files=("config.json", "provenance.json", "metrics.json", "adapter.safetensors", *ADAPTER_REPORT),
    changing=("metrics.jsonl", *(f"checkpoints/step-*/{name}" for name in CHECKPOINT)),
)
