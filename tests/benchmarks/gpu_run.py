"""The part `run` of `gpu.py`: a whole run as train_crosscoder.py makes one, from models on the disk to its report.

The models have random weights, and the text is of random ids. No stage should take longer than the slower of reading
and training needs by itself, and 15 % more; and least of all the steps with all that they wait for.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from gpu_shapes import Shapes, random_pair
from gpu_timing import seconds_of, wait

from toolkit.experiments.crosscoder import measure
from toolkit.experiments.crosscoder.page import page
from toolkit.experiments.run_report import write_report
from toolkit.fields import changed
from toolkit.harvest.choices import AHEAD
from toolkit.harvest.documents import HELD_OUT_EVERY
from toolkit.interventions import splice
from toolkit.models import model_set
from toolkit.models.files import loading
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.places import open_model
from toolkit.settings.crosscoder_run import PAPER_DEFAULTS, RunConfig
from toolkit.tracking import Stopwatch
from toolkit.training.folder import RunFolder
from toolkit.training.streams import open_text, open_training
from toolkit.training.training_run import TrainingRun

ALLOWED = 1.15
PARTS: dict[str, tuple[tuple[Any, str, str], ...]] = {
    "loading models": (
        (model_set, "tokenizers_of", "tokenizers"),
        (model_set, "warn_of_same_weights", "comparing weights"),
        (open_model, "load_model", "config and the rest of a model"),
        (loading, "check_finite", "checking that weights are finite"),
        (loading, "behind_nnsight", "putting a model behind nnsight"),
        (loading.AutoModel, "from_pretrained", "weights to the site"),
        (loading.AutoModelForCausalLM, "from_pretrained", "whole weights"),
    ),
    "evaluation": (
        (measure, "evaluate_each", "variance explained"),
        (measure, "_first_tokens", "reading held-out text"),
        (measure, "splice_effects", "splicing"),
        (splice, "read_batches", "reading text to splice"),
        (measure, "classify_fired", "whose the latents are"),
    ),
}
"""Functions that a stage calls, and what they do; the time of one inside another is not the outer one's."""
Row = dict[str, Any]


def time_run(shapes: Shapes, device: torch.device, peak: dict[str, float]) -> Iterator[Row]:
    """Seconds of each stage, and of the parts of those that neither read nor train."""
    with TemporaryDirectory() as folder:
        config = settings(shapes, Path(folder))
        save_models(shapes, config, device)
        write_text(config)
        yield from whole_run(config, device, shapes.repeats)


def settings(shapes: Shapes, folder: Path) -> RunConfig:
    """A run of BatchTopK in bf16 with three checkpoints, whose buffer holds a third of its tokens."""
    tokens, forward = shapes.batch * shapes.run_steps, shapes.rows[0] * shapes.rows[1]
    return changed(
        PAPER_DEFAULTS,
        base=str(folder / "base"),
        distilled=str(folder / "distilled"),
        layers=(next(iter(shapes.pairs.values()))[1],),
        data=str(folder / "text.jsonl"),
        out=folder / "run",
        row_length=shapes.rows[1],
        forward_tokens=forward,
        held_out_tokens=max(2 * forward, tokens // 12),
        buffer_tokens=tokens // 3,
        shards=1,
        tokens=tokens,
        batch_tokens=shapes.batch,
        n_latents=shapes.latents[0],
        k=shapes.k,
        k_anneal_steps=0,
        lr_warmup_steps=0,
        precision="bf16",
        checkpoint_steps=shapes.run_steps // 3,
    )


def save_models(shapes: Shapes, config: RunConfig, device: torch.device) -> None:
    """Write two whole models of the first shape, made on the device."""
    shape, _ = next(iter(shapes.pairs.values()))
    made = random_pair(shape, shape.num_hidden_layers - 1, device)
    for name, folder in (("base", config.models.base), ("distilled", config.models.distilled)):
        made.models[name].model._module.save_pretrained(folder)
        made.tokenizer.save_pretrained(folder)
    made.free()


def write_text(config: RunConfig) -> None:
    """Write documents of random tokens, each of more than a row, as many as training and evaluation read."""
    tokenizer = load_tokenizer(str(config.models.base))
    length, read_ahead = config.text.row_length, (AHEAD + 2) * config.text.forward_tokens
    trained = config.training.tokens + config.feed.buffer_tokens + read_ahead
    held_out = HELD_OUT_EVERY * (config.text.held_out_tokens + config.text.forward_tokens)
    documents = 2 * max(trained, held_out) // length
    generator = torch.Generator().manual_seed(0)
    with Path(config.text.data).open("w", encoding="utf-8") as file:
        for _ in range(documents):
            ids = torch.randint(len(tokenizer), (2 * length,), generator=generator)
            file.write(json.dumps({"text": tokenizer.decode(ids, skip_special_tokens=True)}) + "\n")


def whole_run(config: RunConfig, device: torch.device, repeats: int) -> Iterator[Row]:
    """Train and evaluate as the recipe does, then say where the time went."""
    watch, parts = Stopwatch(), {stage: Stopwatch() for stage in PARTS}
    with watch.stage("loading models"), timed("loading models", parts, device):
        opened = config.models.open_to_site(config.where, config.layers)
    with watch.stage("opening the text"):
        corpus = open_text(config.text, config.seed)
    folder = RunFolder.open(config.output, config.settings())
    with watch.stage("hashing models"):
        origin = {"models": opened.fingerprints(), "data": corpus.origin}
        folder.begin(config.settings(), origin, resume=False)
    with watch.stage("starting"):
        run = TrainingRun(config, opened, open_training(config, opened, corpus), folder)
    with run, watch.stage("steps in all"):
        for _ in run.steps():
            pass
    crosscoders = dict(run.crosscoders())
    with watch.stage("saving the crosscoder"):
        folder.save_crosscoders(crosscoders.items(), None)
    reading, training = alone(run, config, corpus, device, repeats)
    with watch.stage("loading models"), timed("loading models", parts, device):
        opened = config.models.open_whole(config.where, opened)
    with watch.stage("evaluation"), timed("evaluation", parts, device):
        evaluation = measure.evaluate_crosscoders(
            config.text, config.mask, opened, corpus, crosscoders, seed=config.seed
        )
    with watch.stage("report"):
        finished = measure.FinishedRun.of(run, evaluation, folder.records(), run.seconds_by_stage())
        write_report(folder, page(config, opened, finished))
    slower = max(reading, training)
    writing = run.metrics()["seconds_in_writing_thread"]
    yield from (
        {"stage": f"{name}, alone", "seconds": each} for name, each in (("reading", reading), ("training", training))
    )
    for stage, seconds in {**watch.seconds, **run.seconds_by_stage()}.items():
        yield {
            "stage": stage,
            "seconds": seconds,
            "of the slower": seconds / slower,
            "above": seconds > ALLOWED * slower,
        }
        for part, spent in parts[stage].seconds.items() if stage in parts else ():
            yield {"stage": f"  {part}", "seconds": spent}
    yield {"stage": "writing checkpoints, beside the steps", "seconds": writing}


def verdict(rows: Sequence[Row]) -> str:
    """Which stages take more than the slower of reading and training needs by itself, and 15 %; empty for none."""
    found = [f"{row['stage']} {row['of the slower']:.2f}" for row in rows if row.get("above")]
    return f"above {ALLOWED:g} of the slower of reading and training: {', '.join(found)}" if found else ""


def alone(run: TrainingRun, config: RunConfig, corpus: Any, device: torch.device, repeats: int) -> tuple[float, float]:
    """Seconds in which all tokens of the run would be read, and all its steps taken, where nothing else goes on."""
    [source] = open_training(config, run.pair, corpus).values()
    chunks, read = iter(source), []
    next(chunks)
    with torch.no_grad():
        reading = seconds_of(lambda: read.append(len(next(chunks))), device, repeats) * (repeats + 3) / sum(read)
    chunks.close()
    shape = (config.training.batch_tokens, len(run.pair.names), run.pair.d_model)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    training = seconds_of(lambda: run.trainer.step(x), device, repeats)
    return reading * config.training.tokens, training * config.training.steps


@contextmanager
def timed(stage: str, parts: dict[str, Stopwatch], device: torch.device) -> Iterator[None]:
    """Inside, count the seconds of a stage's parts, and those of the rest."""
    watch, rest = parts[stage], "the rest"
    within = [rest]

    @contextmanager
    def counted(part: str) -> Iterator[None]:
        with watch.stage(part, within=within[-1]):
            within.append(part)
            try:
                yield
                wait(device)
            finally:
                within.pop()

    def watched(function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            with counted(part):
                found = function(*given, **named)
            return items(found) if isinstance(found, Iterator) else found

        def items(found: Iterator[Any]) -> Iterator[Any]:
            while True:
                with counted(part):
                    item = next(found, None)
                if item is None:
                    return
                yield item

        return call

    with ExitStack() as patches, watch.stage(rest):
        for owner, name, part in PARTS[stage]:
            patches.enter_context(patch.object(owner, name, watched(getattr(owner, name), part)))
        yield
