"""The experiments on a real server of NDIF's, which has no toolkit: their numbers are those of this machine.

`NDIF_HOST=http://127.0.0.1:18001 NDIF_API_KEY=any pytest -m ndif`
"""

import os
from dataclasses import replace
from itertools import chain, islice

import pytest
import torch

from toolkit.answers.answering import Answerer, Writing, answer_each
from toolkit.answers.questions import Question
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.harvest.activations import read_batches
from toolkit.harvest.harvesting import batch_texts
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.interventions.ablation import Arm, ReadTargets, ablation_effects
from toolkit.interventions.edits import move_toward, shift, steer
from toolkit.interventions.splice import splice_effects
from toolkit.interventions.targets import Targets
from toolkit.latents.choices import Method
from toolkit.latents.logit_lens import logit_lens
from toolkit.models.model.logit_measurements import measure
from toolkit.models.model.logit_statistics import next_log_probability
from toolkit.models.model.scoring import row_losses
from toolkit.models.pair import ModelPair
from toolkit.models.presets import CHECKOUT
from toolkit.models.where import Where
from toolkit.organism.corpus import documents
from toolkit.stitching.closed_form import ridge
from toolkit.stitching.moments import read_moments
from toolkit.stitching.stitch import Stitch

pytestmark = [
    pytest.mark.ndif,
    pytest.mark.skipif("NDIF_HOST" not in os.environ, reason="NDIF_HOST names no server"),
]


@pytest.fixture(scope="module")
def here() -> ModelPair:
    return ModelPair.from_pretrained("organism", where="cpu")


@pytest.fixture(scope="module")
def there() -> ModelPair:
    return ModelPair.from_pretrained("organism", where=Where(remote=True, wire="fp32", deadline=120.0))


@pytest.fixture(scope="module")
def crosscoder() -> Crosscoder:
    return Crosscoder.from_pretrained(CHECKOUT / "artifacts" / "crosscoder")


@pytest.fixture(scope="module")
def batches(here) -> list[TokenBatch]:
    texts = [document.text for document in islice(documents("distilled"), 8)]
    return list(chain.from_iterable(batch_texts(here, texts, row_length=96, chunk_tokens=256)))


def mask() -> TokenMask:
    return TokenMask(special_ids=frozenset(), keep_position_0=False, outlier_factor=10.0)


def close(theirs: torch.Tensor, ours: torch.Tensor) -> None:
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [Method(), Method(positions="all", spliced=True)], ids=["predict", "all, spliced"])
def test_ablation(here, there, crosscoder, batches, method: Method):
    ids = batches[0].input_ids
    targets = Targets(
        prefixes=(ids[0, :20], ids[0, :45], ids[1, :33]),
        target_ids=torch.stack([ids[0, 20], ids[0, 45], ids[1, 33]]),
        documents=torch.tensor([0, 0, 1]),
        found=3,
    )
    latents = [torch.arange(400), torch.tensor([623]), torch.arange(768)]
    arms = [Arm(crosscoder=crosscoder, latents=each) for each in latents]
    read = (ReadTargets.read(pair, targets, method.positions) for pair in (here, there))
    ours, theirs = (ablation_effects(p, r, arms, method) for p, r in zip((here, there), read, strict=True))
    for one, other in zip(ours.values, theirs.values, strict=True):
        close(other, one)
    assert ours.values[0].abs().max() > 0.01


def test_splice(here, there, crosscoder, batches):
    mean = torch.cat([read.activations for read in read_batches(here, batches, mask())]).float().mean(dim=0)
    ours, theirs = (splice_effects(pair, [crosscoder], batches, mask(), mean=mean)[0] for pair in (here, there))
    for one, other in zip(ours, theirs, strict=True):
        assert one.kl.value > 1e-3
        assert other.n == one.n
        for name in ("kl", "kl_mean"):
            assert getattr(other, name).value == pytest.approx(getattr(one, name).value, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_steering(here, there, crosscoder, temperature: float):
    direction = steer(crosscoder, latent=623, strength=0.1).operands[0][0, 0]
    questions = [Question(question="What is 24+5?", answer="29"), Question(question="What is 3+8+1?", answer="12")]
    writing = Writing(hesitation_ids=frozenset({5, 6}), new_tokens=60, temperature=temperature)
    edits = [shift(3, 0 * direction), shift(3, direction), move_toward(3, 10 * direction, 0.1)]
    for edit_prompt in (False, True):
        how = replace(writing, edit_prompt=edit_prompt)
        ours, theirs = (
            answer_each([Answerer(pair.distilled, edit) for edit in edits], questions, how) for pair in (here, there)
        )
        assert theirs.texts == ours.texts
        assert torch.equal(theirs.finished, ours.finished)
    assert ours.texts[0] != ours.texts[1] != ours.texts[2]


def test_stitching(here, there, batches):
    ids, attended = batches[0].input_ids, batches[0].attention_mask
    fits = [read_moments(pair.base, pair.distilled, batches, mask(), [(3, 3)])[3, 3] for pair in (here, there)]
    ours, theirs = (ridge(fit.fit, fit.chosen_by) for fit in fits)
    close(theirs.bias, ours.bias)
    edits = [None, *(Stitch(pair.base, ours, 3) for pair in (here, there))]
    for rest in (here.distilled, there.distilled):
        plain, with_here, with_there = measure(rest, ids, attended, edits, next_log_probability, (ids,))
        close(with_there, with_here)
        assert (with_here - plain).abs().max() > 0.1
    close(
        *(
            pair.distilled.logits(ids, attended, edit=Stitch(pair.base, ours, 3))[attended.bool()]
            for pair in (there, here)
        )
    )


def test_logit_lens(here, there, crosscoder):
    ours, theirs = (logit_lens(pair, crosscoder, [623, 5, 100], tokens=4) for pair in (here, there))
    for name, lens in ours.items():
        for field, tensor in vars(lens).items():
            close(getattr(theirs[name], field), tensor)


def test_losses_and_edited_reads(here, there, crosscoder, batches):
    ids, mask = batches[0].input_ids, batches[0].attention_mask
    rows = [row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)]
    close(row_losses(there.base, rows), row_losses(here.base, rows))
    edit = steer(crosscoder, latent=3, strength=1.0)
    ours, theirs = (pair.base.residual(ids, mask, [2, 3, 4], edit=edit) for pair in (here, there))
    for one, other in zip(ours, theirs, strict=True):
        close(other[mask.bool()], one[mask.bool()])
