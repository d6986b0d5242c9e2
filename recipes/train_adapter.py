"""Train transcoder adapters: what did distillation change in a model's MLPs?

Without arguments: the embedded pair, in about five minutes on two cores. On models of 1.5B parameters and more:

    python recipes/train_adapter.py --pair qwen-1.5b --out runs/adapter-1.5b
    python recipes/train_adapter.py --pair qwen-1.5b --sparsity-coefficient 0.001 --out runs/adapter-sparse
    python recipes/train_adapter.py --base ./my-base --distilled ./my-distilled --data 'texts/*.jsonl.gz'
    accelerate launch recipes/train_adapter.py --pair qwen-1.5b --batch-sequences 8   # a process on each GPU

The adapter stands in the distilled model beside the base model's MLPs, one sparse transcoder a layer. The report says
how far its predictions and streams are from the distilled model's on held-out documents, beside the hybrid, which is
the same model without it; evaluate_adapter.py answers questions with it. On the embedded pair expect 98 % of the
hybrid's KL to be recovered, at 6 to 7 latents a token and layer.

Source: Hu, Ward, Icard & Potts 2026, whose losses and weights are the defaults; their code gives each bridging
direction a weight of 2 (--bridging-weight 2). Differs from it in its weights: these are fp32 on any device, where the
products take the type of the model. Differs on the embedded pair in its optimiser, Muon: AdamW needs more
text for the same KL (--optimiser adamw --lr 0.02).
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.settings.adapter_run import AdapterRunConfig, parse_command_line


def main(config: AdapterRunConfig) -> None:
    """Text and two models in; a trained, evaluated, reloadable adapter and a report out."""
    # These take seconds to import.
    from toolkit.artifacts import provenance
    from toolkit.experiments.adapter_training.measure import FinishedTraining, measure_adapter
    from toolkit.experiments.adapter_training.page import page, run_header
    from toolkit.experiments.run_report import write_report
    from toolkit.reports.console import RunConsole
    from toolkit.reports.files import as_results
    from toolkit.training.adapter_folder import AdapterFolder
    from toolkit.training.adapter_training import AdapterTrainingRun, check_shared_out, open_documents, open_models
    from toolkit.training.memory import require_adapter_memory
    from toolkit.training.ranks import open_ranks

    with open_ranks() as ranks:
        check_shared_out(config, ranks)
        require_adapter_memory(config, ranks)
        console = RunConsole(quiet=not ranks.is_first)
        folder = AdapterFolder.open(config.output, config.settings())
        with console.stage("loading models"):
            adapted = open_models(config, ranks)
        corpus = open_documents(config.text.data, config.text.text_field, adapted.tokenizer, config.seed)
        ranks.wait()  # until all have looked into the folder
        if ranks.is_first:
            with console.stage("hashing models"):
                models, files = adapted.fingerprints(), adapted.files()
            origin = provenance(seed=config.seed, data=corpus.origin, models=models, inputs=files)
            folder.begin(config.settings(), origin, resume=config.output.resume)
        console.header("Transcoder adapter", run_header(config, adapted))
        run = AdapterTrainingRun(config, adapted, corpus, folder, ranks=ranks)
        run.follow(console)
    if not ranks.is_first:
        return

    folder.save_adapter(run.finished(models))
    with folder.evaluating():
        with console.stage("evaluation"):
            measured = measure_adapter(config.text, adapted, corpus)
        seconds = run.stopwatch.seconds | console.seconds
        found = FinishedTraining(measured=measured, records=folder.records(), documents=run.documents, seconds=seconds)
        metrics = run.metrics() | measured.metrics() | {"seconds_by_stage": seconds}
        folder.write_json("metrics.json", as_results(metrics))
        findings = page(config, adapted, found)
        written = write_report(folder, findings)

    console.headline(findings.headline)
    for table in findings.tables:
        console.table(table)
    console.note(f"report: {written}")


if __name__ == "__main__":
    run_recipe(main, parse_command_line, again="resume")
