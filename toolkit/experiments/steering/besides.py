"""What a latent that steers does besides: is it active where it should be, and do the words need it?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from math import nan

import torch
from torch import Tensor

from toolkit.experiments.control import is_embedded
from toolkit.experiments.run import Run
from toolkit.geometry.decoder_norms import nrn, rows_by_model
from toolkit.interventions.ablation import Arm, ReadTargets, ablation_effects
from toolkit.interventions.targets import Targets, TargetSearch
from toolkit.latents.categories import Category
from toolkit.latents.choices import Method
from toolkit.latents.coded_batches import CodedBatch
from toolkit.latents.labelled_activations import labelled_activations
from toolkit.latents.span_labels import LabelledDocument, LabelledDocuments, LabelledSpan
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.organism.corpus import documents
from toolkit.organism.traces import THINK
from toolkit.statistics.auroc import auroc_estimate
from toolkit.statistics.estimates import Estimate, given_one, mean
from toolkit.training.streams import fitting_tokens

TONES = ("doubtful", "sure")
ANSWERS = 300
WORDS = 100
UNDECIDED = (0.05, 0.9)


@dataclass(frozen=True, kw_only=True)
class Besides:
    """What is known of a latent apart from steering."""

    doubtful: Estimate | None
    """AUROC of its mean code over an answer, for doubtful answers among sure ones; None where nobody knows which are.
    """
    before_words: Estimate
    """AUROC of its code for the positions that predict the category's words, among all."""
    ablated: Estimate
    """Change of the logit of the category's undecided words where the latent alone is ablated."""
    n_words: int
    """Words of which that is the mean."""
    nrn: float


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A latent, or several at once, and the category that it was picked for."""

    latents: tuple[int, ...]
    category: Category


def besides(run: Run, asked: Mapping[str, Asked], *, model: str, tokens: int, seed: int) -> dict[str, Besides]:
    """Read held-out text once more, and measure the latents of each group."""
    scores, targets = _read(run, asked, model, tokens, seed)
    rows = rows_by_model(run.crosscoder.W_dec.cpu(), len(run.crosscoder.config.models))
    tones = _doubtful(run, asked) if is_embedded(run.models) else {}
    return {
        name: Besides(
            doubtful=tones.get(name),
            before_words=scores[name],
            ablated=_ablated(run, each, targets.get(each.category.name), model),
            n_words=len(targets[each.category.name].prefixes) if each.category.name in targets else 0,
            nrn=float(nrn(rows)[list(each.latents)].mean()),
        )
        for name, each in asked.items()
    }


def _read(
    run: Run, asked: Mapping[str, Asked], model: str, tokens: int, seed: int
) -> tuple[dict[str, Estimate], dict[str, Targets]]:
    """How well each group's code tells the positions before its category's words, and undecided words by category."""
    by_name = {each.category.name: each.category for each in asked.values()}
    search = TargetSearch(list(by_name.values()), UNDECIDED)
    codes: dict[str, list[Tensor]] = {name: [] for name in asked}
    labels: dict[str, list[Tensor]] = {name: [] for name in asked}
    rows: list[Tensor] = []
    # Whole logits of every row are held at once, so with a large vocabulary a batch has few rows.
    batch_tokens = fitting_tokens(run.reading.text, LARGEST_LOGITS, run.models.vocab_size)
    for number, coded in enumerate(run.coded(tokens, batch_tokens=batch_tokens)):
        search.add(run.models.models[model], coded.batch, coded.selected)
        rows.append(_documents(coded, number))
        for name, each in asked.items():
            codes[name].append(coded.codes[:, list(each.latents)].sum(dim=1).cpu())
            labels[name].append(_predicting(coded, each.category))
    found, _ = search.draw(WORDS, torch.Generator().manual_seed(seed))
    place = torch.cat(rows)
    scores = {name: _auroc(torch.cat(codes[name]), torch.cat(labels[name]), place) for name in asked}
    return scores, found


def _documents(coded: CodedBatch, number: int) -> Tensor:
    """A number for the document of each selected token; those of batch `number` begin at number · 2³²."""
    selected = coded.selected.cpu()
    return (number << 32) + torch.arange(len(selected))[:, None].expand_as(selected)[selected]


def _predicting(coded: CodedBatch, category: Category) -> Tensor:
    """Whether each selected token is followed by one of the category's."""
    ids, selected = coded.batch.input_ids.cpu(), coded.selected.cpu()
    before = torch.zeros_like(selected)
    before[:, :-1] = torch.isin(ids[:, 1:], torch.tensor(category.token_ids, dtype=torch.long)) & selected[:, 1:]
    return before[selected]


def _auroc(scores: Tensor, labels: Tensor, place: Tensor) -> Estimate:
    if labels.all() or not labels.any():
        return Estimate(nan, note="its words were not read")
    return given_one(auroc_estimate(scores, labels, place))


def _ablated(run: Run, asked: Asked, targets: Targets | None, model: str) -> Estimate:
    if targets is None:
        return Estimate(nan, note="too few undecided words were read")
    arm = Arm(crosscoder=run.crosscoder, latents=torch.tensor(asked.latents))
    read = ReadTargets.read(run.models, targets, "predict")
    effects = ablation_effects(run.models, read, [arm], Method(layer=run.named_layer))
    return given_one(mean(effects[model].logit[0], targets.documents))


def _doubtful(run: Run, asked: Mapping[str, Asked]) -> dict[str, Estimate]:
    """AUROC over the embedded pair's answers, whose tone is known, of a group's mean code over an answer."""
    labelled = LabelledDocuments(documents=tuple(_toned(ANSWERS)), labels=TONES)
    read = labelled_activations(run.models, run.open_mask(), labelled, run.reading.text.row_length)
    answer = read.tokens.label >= 0
    codes = run.crosscoder.encode(read.activations[answer].to(run.crosscoder.b_dec)).cpu()
    document, label = read.tokens.document[answer], read.tokens.label[answer]
    read_ones, place = document.unique(return_inverse=True)
    tone = torch.zeros_like(read_ones).index_copy_(0, place, label)

    def readout(latents: tuple[int, ...]) -> Estimate:
        sums = torch.zeros(len(read_ones)).index_add_(0, place, codes[:, list(latents)].sum(dim=1))
        return given_one(auroc_estimate(sums / torch.bincount(place), tone == TONES.index("doubtful"), read_ones))

    return {name: readout(each.latents) for name, each in asked.items()}


def _toned(n: int) -> Iterator[LabelledDocument]:
    """Held-out thinking answers of the embedded text, each labelled as a whole by its tone."""
    for document in islice(documents("thinking", split="held_out", seed=29), n):
        assert document.tone is not None, "a thinking answer has a tone"
        start = document.text.index(THINK) + len(THINK)
        yield LabelledDocument(document.text, (LabelledSpan(start, len(document.text), document.tone),))
