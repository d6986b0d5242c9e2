"""The precision that a run trains in: that of the run to resume, or what suits the device that it trains on."""

from dataclasses import replace

from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.precision import resolved
from toolkit.dictionaries.sparse_products.choosing import products_of
from toolkit.models.places.here import lands_on
from toolkit.models.where import Where
from toolkit.settings.training_output import TrainingOutput
from toolkit.training.training_folder import settings_before


def with_precision(training: TrainingConfig, where: Where, output: TrainingOutput) -> TrainingConfig:
    """Return the settings with the precision that auto stands for.

    It trains where the last model is read. A run goes on in the precision that it began in, on another device too.
    Raises `ValueError` as `resolved`, `lands_on` and `products_of` do.
    """
    if training.precision == "auto":
        before = settings_before(output).get("training", {})
        training = replace(training, precision=before.get("precision", "auto"))
    device = lands_on(where.of("distilled"))
    products_of(training, device)  # refuses what cannot run there before anything is read
    return resolved(training, device)
