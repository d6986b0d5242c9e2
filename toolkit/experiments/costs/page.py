"""What a run would take, as tables: whatever the way of running it, and by each way."""

from dataclasses import asdict

from toolkit.experiments.costs import RunCostsConfig
from toolkit.experiments.costs.measure import GIGA, Costs
from toolkit.formatting import compact
from toolkit.reports.findings import Cell, Findings, Table
from toolkit.training.costs import PlannedRun, gradient_bytes, trainer_bytes

PETA = 1e15
KEPT_CHECKPOINTS = 3  # two, and one being written


def page(settings: RunCostsConfig, opened: None, found: Costs) -> Findings:
    """What every way takes, and what each takes beside."""
    run = found.run
    return Findings(
        name="costs",
        title="costs of a run",
        question="What would a training run cost, and how does each way of running it change that?",
        facts=_facts(settings, found),
        headline=[],
        tables=[_parts_table(run), modes_table(found)],
        charts=[],
        results={
            "harvest_flops": run.harvest_flops,
            "training_flops": run.training_flops,
            "modes": {mode.name: asdict(mode) for mode in found.modes},
        },
    )


def modes_table(found: Costs) -> Table:
    """One mode a row: operations and bytes are computed, hours stand on the rate."""
    run, rate = found.run, found.rate
    rows: list[list[Cell]] = []
    for mode in found.modes:
        harvest, training = mode.harvests * run.harvest_flops, mode.trainings * run.training_flops
        disk = mode.stored + mode.trainings * KEPT_CHECKPOINTS * run.checkpoint_bytes
        sizes = [_in(size, GIGA) for size in (mode.resident, mode.moved, disk)]
        hours = rate.hours(run.tokens, readings=mode.harvests, trainings=mode.trainings)
        rows.append([mode.name, _in(harvest, PETA), _in(training, PETA), hours, *sizes])
    return Table(
        title="Ways of running it",
        columns=["mode", "read, PFLOP", "train, PFLOP", "hours", "weights, GB", "moved, GB", "disk, GB"],
        rows=rows,
        note="Computed for this machine, not a server: operations of matrix products (attention whole), and bytes."
        f" Hours of one device, {rate.origin}; they count {rate.counted}."
        " Weights: in memory at once, in bf16; float32, a CPU's default, takes twice that. Moved: weights and"
        " activations from a disk or over a network. Disk: weights, cache and checkpoints.",
    )


def _in(amount: int, unit: float) -> Cell:
    return amount / unit if amount else 0


def _parts_table(run: PlannedRun) -> Table:
    """What every mode takes."""
    training = run.training
    parts = {
        "trainers: weights and Adam's moments": run.seeds * trainer_bytes(training, run.width, run.n_streams),
        "trainer: gradients": gradient_bytes(training, run.width),
        "shuffle buffer": run.buffer_bytes,
        "one checkpoint": run.checkpoint_bytes,
        "copy that it is written from, in pinned memory of the machine beside a GPU": run.copy_bytes,
        "all checkpoints that are written; three at a time are kept": run.checkpoints * run.checkpoint_bytes,
    }
    return Table(
        title="Whatever the mode",
        columns=["what", "GB"],
        rows=[[name, size / GIGA] for name, size in parts.items()],
        note="Computed. A step's codes come on top: a batch's tokens by all latents.",
    )


def _facts(settings: RunCostsConfig, found: Costs) -> dict[str, str]:
    """What was planned, in words."""
    run = found.run
    models = " and ".join(compact(shape.parameters()) for shape in run.models)
    return {
        "models": f"{models} parameters, read at the input of layer {', '.join(map(str, run.layers))}"
        f" of {run.models[0].n_layers}",
        "training": f"{compact(run.tokens)} tokens, {settings.sparsity}, {compact(settings.n_latents)} latents of"
        f" {run.n_streams} × {run.models[0].d_model}, products in {settings.precision}",
        "rate": found.rate.origin,
    }
