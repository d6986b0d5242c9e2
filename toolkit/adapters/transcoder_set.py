"""An adapter written for circuit-tracer: `config.yaml`, and a file of weights for each layer's transcoder."""

from pathlib import Path

import yaml
from safetensors.torch import save_file

from toolkit.artifacts import explaining_a_full_disk, replace_text
from toolkit.dictionaries.transcoders import Adapter

CONFIG_FILE = "config.yaml"
INPUT_HOOK, OUTPUT_HOOK = "mlp.hook_in", "mlp.hook_out"
"""An MLP's input behind its norm, and its output, by the names of circuit-tracer for Llama and Qwen3."""


def export_transcoder_set(adapter: Adapter, folder: str | Path, *, model_name: str | None = None) -> Path:
    """Write `config.yaml` and `layer_N.safetensors` as circuit-tracer's `load_transcoders` reads them; return where.

    Its transcoders stand for whole MLPs. An adapter's stand beside the base model's MLPs, so that circuit-tracer takes
    what those MLPs add for errors of its transcoders. `model_name` is the model that it loads: by default the distilled
    one. `config.yaml` names the files where they lie on this machine; on the hub, where it finds them beside
    `config.yaml`, leave that list out.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    files = [place / f"layer_{layer}.safetensors" for layer in range(adapter.config.n_layers)]
    with explaining_a_full_disk(place, lambda: ": free some space, or write elsewhere"):
        for file, transcoder in zip(files, adapter.transcoders, strict=True):
            save_file({name: each.contiguous().cpu() for name, each in transcoder.state_dict().items()}, file)
        settings = {
            "model_kind": "transcoder_set",
            "model_name": model_name or (adapter.config.sources or ("", ""))[1],
            "scan": place.resolve().name,
            "feature_input_hook": INPUT_HOOK,
            "feature_output_hook": OUTPUT_HOOK,
            "activation": "relu",
            "transcoders": [str(file.resolve()) for file in files],
        }
        replace_text(place / CONFIG_FILE, yaml.safe_dump(settings, sort_keys=False))
    return place
