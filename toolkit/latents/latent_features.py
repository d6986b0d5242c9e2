"""Records of an adapter's latents as feature files describe them."""

from collections.abc import Iterable, Iterator, Sequence

from toolkit.adapters.feature_files import Feature, FeatureExample
from toolkit.dictionaries.transcoders import Adapter
from toolkit.latents.examples import LatentExample
from toolkit.latents.latent_records import LatentRecord


def features_of(records: Iterable[LatentRecord], adapter: Adapter) -> Iterator[Feature]:
    """Yield the features of those latents that fired, as `write_packed` and `write_pages` take them.

    Their activations are codes alone, without the decoder row's norm, as attribution graphs have them.
    """
    for record in records:
        if not record.strongest:
            continue
        layer, latent = record.latent
        norm = adapter[layer].W_dec[latent].norm().item()
        ranges = [("strongest", record.strongest), *((name, each) for name, each in record.quarters if each)]
        yield Feature(
            layer=layer,
            latent=latent,
            top_logits=tuple(token for token, _ in record.promoted),
            bottom_logits=tuple(token for token, _ in record.suppressed),
            examples={name: _examples(record, examples, norm) for name, examples in ranges},
            activation_frequency=record.frequency,
        )


def _examples(record: LatentRecord, examples: Sequence[LatentExample], norm: float) -> tuple[FeatureExample, ...]:
    return tuple(
        FeatureExample(
            tokens=tuple(record.tokens(example)),
            activations=tuple(code / norm for code in example.activations),
            peak=example.peak,
        )
        for example in examples
    )
