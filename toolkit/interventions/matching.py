"""Do a crosscoder and a pair of models belong together?"""

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.models.pair import ModelPair


def check_match(pair: ModelPair, crosscoder: Crosscoder, *, other_models: bool = False) -> None:
    """Raise `ValueError` unless the crosscoder was trained on these models' streams; it names both sides."""
    config = crosscoder.config
    if config.d_model != pair.d_model:
        raise ValueError(
            f"the crosscoder was trained on width {config.d_model}, the models {' and '.join(pair.origins)} have width"
            f" {pair.d_model}: give the pair that it was trained on"
        )
    if len(config.models) != len(pair.names):
        raise ValueError(f"the crosscoder reads {len(config.models)} models, a pair has 2: give another --run")
    if deep := [layer for layer in config.layers if layer >= pair.n_layers]:
        raise ValueError(
            f"layer {deep[0]} is out of range: the crosscoder was trained at its input, and the models"
            f" {' and '.join(pair.origins)} have {pair.n_layers} layers: give the pair that it was trained on"
        )
    if config.layers != pair.layers:
        raise ValueError(
            f"the crosscoder was trained at the input of layers {config.layers}, the pair is read at {pair.layers}:"
            " load the pair with the crosscoder's layers"
        )
    if config.sources and not other_models and config.sources != pair.origins:
        raise ValueError(
            f"the crosscoder was trained on {' and '.join(config.sources)}, but {' and '.join(pair.origins)} are given:"
            " give those models, or --other-models to use these nevertheless"
        )
