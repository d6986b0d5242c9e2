"""Bits per byte of every reading, and how far each is from the first on the same texts."""

import math

from jaxtyping import Float
from torch import Tensor

from toolkit.experiments.tokenizers import TokenizerEvaluationConfig
from toolkit.experiments.tokenizers.measure import Reading, TokenizerEvaluation
from toolkit.models.presets import in_checkout
from toolkit.reports.figures import estimates_by_name
from toolkit.reports.findings import Cell, Chart, Findings, Headline, Table
from toolkit.statistics.estimates import ratio_of_sums


def page(settings: TokenizerEvaluationConfig, opened: None, found: TokenizerEvaluation) -> Findings:
    """Bits per byte of every reading, and how far each is from the first on the same texts."""
    first = found.readings[0]
    estimates = {reading.name: ratio_of_sums(reading.bits, found.n_bytes) for reading in found.readings}
    n_bytes, documents = int(found.n_bytes.sum()), len(found.n_bytes)
    return Findings(
        name="tokenizer_evaluation",
        title="Bits per byte",
        question="How well do the models predict the same texts, whatever their tokenizers?",
        facts={
            "models": ", ".join(map(in_checkout, settings.models)),
            "text": f"{settings.data}, {found.text}; {documents:,} documents of at most"
            f" {settings.characters:,} characters",
            "yardstick": f"zlib, all texts together: {found.zlib_bits:.3g} bits a byte",
        },
        headline=[
            Headline(name=f"bits a byte, {name}", value=estimate, n=n_bytes, unit="UTF-8 bytes")
            for name, estimate in estimates.items()
        ],
        tables=_tables(found, first),
        charts=[
            Chart(
                name="bits_per_byte",
                figure=estimates_by_name(
                    estimates, f"Bits per byte (n = {documents:,} documents)", "bits per UTF-8 byte"
                ),
                caption="Bits for all texts over their bytes; 95 % intervals over documents.",
            )
        ],
        results={
            "documents": documents,
            "bytes": n_bytes,
            "zlib_bits_per_byte": found.zlib_bits,
            "readings": [_results(reading, first, found.n_bytes) for reading in found.readings],
        },
        provenance={"data": found.origin, "sha256": found.inputs},
    )


def _tables(found: TokenizerEvaluation, first: Reading) -> list[Table]:
    n = f"n = {int(found.n_bytes.sum()):,} bytes of {len(found.n_bytes):,} documents, 95 % intervals over documents"
    bits: list[list[Cell]] = [
        [
            reading.name,
            ratio_of_sums(reading.bits, found.n_bytes),
            None if reading is first else ratio_of_sums(reading.bits - first.bits, found.n_bytes),
        ]
        for reading in found.readings
    ]
    tokens: list[list[Cell]] = [
        [
            reading.name,
            ratio_of_sums(reading.bits * math.log(2), reading.tokens),
            float(found.n_bytes.sum() / reading.tokens.sum()),
            reading.added,
            reading.unknown,
        ]
        for reading in found.readings
    ]
    return [
        Table(
            title="bits a byte",
            columns=("", "on these texts", f"less {first.name}'s"),
            rows=bits,
            note=f"{n}; differences are taken document by document.",
        ),
        Table(
            title="loss a token",
            columns=("", "nats a token", "bytes a token", "added", "unknown"),
            rows=tokens,
            note="Compares models of one tokenizer only. added, unknown: such tokens in the texts.",
        ),
    ]


def _results(reading: Reading, first: Reading, n_bytes: Float[Tensor, " document"]) -> dict[str, object]:
    return {
        "name": reading.name,
        "bits_per_byte": ratio_of_sums(reading.bits, n_bytes),
        "bits_per_byte_less_first": ratio_of_sums(reading.bits - first.bits, n_bytes),
        "nats_per_token": ratio_of_sums(reading.bits * math.log(2), reading.tokens),
        "tokens": int(reading.tokens.sum()),
        "added_tokens": reading.added,
        "unknown_tokens": reading.unknown,
    }
