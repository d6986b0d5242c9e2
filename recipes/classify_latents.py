"""Which latents are the base model's only, which the distilled model's, which are shared?

    python recipes/classify_latents.py
    python recipes/classify_latents.py --run runs/qwen-1.5b --labels traces.jsonl --out runs/qwen-1.5b/classes

Without arguments: the shipped crosscoder of the embedded pair, in half a minute on one core and 1 GB. Decoder norms
tag every latent, under both conventions of the field; latent scaling then asks of those that look exclusive whether the
other model lacks them (Minder et al. 2025), with the shared ones as control. Expect most latents near NRN 0.5, and in
either tail a few dozen, of which three in five survive, as does one in three of the shared ones. Baek & Tegmark
2025 report NRN alone.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.latent_classes.measure import LatentClassesConfig, measure
from toolkit.experiments.latent_classes.page import page
from toolkit.experiments.run import Run, origin_of
from toolkit.reports.console import RunConsole
from toolkit.reports.files import publish


def main(config: LatentClassesConfig) -> None:
    """A trained crosscoder in; whose its latents are out."""
    console = RunConsole()
    with console.stage("loading"):
        run = Run.of(config).load()
    with console.stage("latent classes"):
        findings = page(config, run, measure(config, run))
        origin = origin_of(config, run)
    publish(config.out, console, findings, origin)
    console.times(console.seconds)


if __name__ == "__main__":
    run_recipe(main, LatentClassesConfig)
