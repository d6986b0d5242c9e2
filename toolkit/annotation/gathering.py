"""Collects passages of latents from one pass over text, to explain the latents and to test explanations."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from toolkit.annotation.evidence import FEWEST_PASSAGES, Evidence, Name, Passage
from toolkit.annotation.samples import AnySample, FiringSample, Stretch
from toolkit.annotation.stretches import N_PARTS, Stretches, are_for_testing, parts_of
from toolkit.annotation.subjects import Subjects
from toolkit.latents.categories import Category
from toolkit.latents.coded_batches import CodedBatch
from toolkit.latents.firing import PLACES, FiringCounts
from toolkit.latents.regions import PARTS
from toolkit.leaving_out import TooFewError, measurable
from toolkit.models.text.token_texts import token_texts, vocabulary_texts

TENTHS = 10
EXPLAINING_OF_TENTH, FIRING_OF_TENTH = 4, 5
"""Passages of each tenth of a latent's firings."""


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Evidence of latents, and of how much text it is."""

    evidence: Mapping[Name, Evidence]
    unscored: Mapping[Name, str]
    """Why a latent has no evidence: too few passages in which it fires, or in which it does not."""
    tokens: int
    """Tokens that were read."""
    documents: int


@torch.no_grad()
def gather(
    batches: Iterable[CodedBatch],
    subjects: Subjects,
    tokenizer: PreTrainedTokenizerBase,
    *,
    categories: Sequence[Category] = (),
    seed: int = 0,
) -> Gathered:
    """Read batches once, such as those of `run.coded(tokens)`, and return evidence of each latent.

    About half of the documents are to explain latents: passages, frequencies, lifts and regions come from these. The
    others are to test explanations. Of a latent, 4 passages of each tenth of its firings explain it, and 5 of each
    tenth test explanations, with as many in which it is silent; there are fewer where the text has fewer. Tenths are
    those of the largest codes in a random sample of 100 passages in which it fires. A latent's passages depend on the
    text and on `seed`, not on which other latents are asked for. Memory is about 60 kB for each latent and 16 kB for it
    and each of its neighbours, and the codes of one batch, whatever the length of the text.
    """
    reader = _Reader(subjects, tokenizer, categories, seed)
    for coded in batches:
        reader.add(coded)
    names = subjects.names
    found, left_out = measurable(range(len(names)), reader.evidence)
    return Gathered(
        evidence={names[line]: evidence for line, evidence in found.items()},
        unscored={names[line]: reason for line, reason in left_out.items()},
        tokens=reader.tokens,
        documents=reader.documents,
    )


class _Reader:
    """What is kept of the text that was read."""

    def __init__(
        self, subjects: Subjects, tokenizer: PreTrainedTokenizerBase, categories: Sequence[Category], seed: int
    ) -> None:
        self._subjects, self._tokenizer, self._seed = subjects, tokenizer, seed
        self._pieces = vocabulary_texts(tokenizer)
        self._chance = torch.Generator().manual_seed(seed)
        n = len(subjects.names)
        others = subjects.neighbours[~torch.isin(subjects.neighbours, subjects.columns)].unique()
        self._columns = torch.cat([subjects.columns, others])
        places = {column: place for place, column in enumerate(self._columns.tolist())}
        self._neighbours = subjects.neighbours.clone().apply_(places.__getitem__)
        self._counts = FiringCounts(categories, n)
        self._mass = torch.zeros(N_PARTS, n)
        self._explaining, self._firing, self._any = FiringSample(n), FiringSample(n), AnySample(len(self._columns))
        self._largest = torch.zeros(n)
        self.tokens, self.documents = 0, 0

    def add(self, coded: CodedBatch) -> None:
        """Read one batch."""
        batch, selected = coded.batch, coded.selected.cpu()
        codes = coded.codes[:, self._columns.to(coded.codes.device)].float().cpu()
        parts, testing = parts_of(batch, self._pieces), are_for_testing(batch, self._seed)
        explaining = selected & ~testing[:, None]
        self._count(batch.input_ids, explaining, codes[explaining[selected], : len(self._largest)], parts[explaining])
        stretches = Stretches.cut(batch, parts, selected, codes, self.documents)
        keys = torch.rand(len(stretches.document), generator=self._chance)
        tests = testing[stretches.document - self.documents]
        self._explaining.add(stretches.restricted(~tests), keys[~tests])
        self._firing.add(stretches.restricted(tests), keys[tests])
        self._any.add(stretches.restricted(tests), keys[tests])
        self.tokens += len(codes)
        self.documents += len(testing)

    def _count(
        self,
        input_ids: Int[Tensor, "row position"],
        selected: Bool[Tensor, "row position"],
        codes: Float[Tensor, "token latent"],
        parts: Int[Tensor, " token"],
    ) -> None:
        """Count firings on selected tokens, which are of documents to explain."""
        self._counts.add(input_ids, selected, codes)
        self._mass.index_add_(0, parts, codes)
        self._largest = torch.cat([self._largest[None], codes]).amax(dim=0)

    def evidence(self, line: int) -> Evidence:
        """All that is known of a latent; raises `TooFewError` for one with too few passages."""
        name = self._subjects.names[line]
        explaining, tests = self._explaining.places(line), self._firing.places(line)
        if min(len(explaining), len(tests)) < FEWEST_PASSAGES:
            raise TooFewError(
                f"latent {name} fires in {len(explaining)} passages of the documents to explain and in {len(tests)} of"
                f" those to test, {self.tokens:,} tokens in all: {FEWEST_PASSAGES} of each are needed; read more text"
            )
        chance = Random(f"{self._seed} {name}")
        explained = self._explaining.of(line, _of_tenths(explaining, EXPLAINING_OF_TENTH, chance))
        firing = self._firing.of(line, _of_tenths(tests, FIRING_OF_TENTH, chance))
        near, far = self._any.silent(
            line,
            self._neighbours[line],
            self._subjects.likeness[line],
            Counter(each.parts for each in firing),
            torch.Generator().manual_seed(chance.getrandbits(63)),
        )
        if len(near) + len(far) < FEWEST_PASSAGES:
            raise TooFewError(
                f"latent {name} is silent in {len(near) + len(far)} of {self._any.n:,} passages of test documents, of"
                f" the regions in which it fires: {FEWEST_PASSAGES} are needed; read more text, or leave it out, as it"
                " fires nearly everywhere there"
            )
        return Evidence(
            latent=name,
            explaining=self._passages(explained),
            firing=self._passages(firing),
            near=self._passages(near),
            far=self._passages(far),
            largest=float(self._largest[line]),
            frequency=float(self._counts.fired[line]) / self._counts.tokens,
            promoted=self._subjects.promoted[line],
            suppressed=self._subjects.suppressed[line],
            lifts=self._lifts(line),
            regions=self._regions(line),
        )

    def _lifts(self, line: int) -> dict[str, float]:
        seen, _ = self._counts.seen()
        larger = torch.stack([self._counts.lift(place)[:, line] for place in PLACES]).amax(dim=0)
        return {name: float(larger[index]) for name, index in seen.items()}

    def _regions(self, line: int) -> dict[str, float] | None:
        mass = self._mass[: len(PARTS), line]
        if not mass.any():
            return None
        return dict(zip(PARTS, (mass / mass.sum()).tolist(), strict=True))

    def _passages(self, stretches: Iterable[Stretch]) -> tuple[Passage, ...]:
        return tuple(
            Passage(
                document=each.document,
                tokens=token_texts(self._tokenizer, self._pieces, each.token_ids),
                codes=each.codes,
            )
            for each in stretches
        )


def _of_tenths(ordered: Sequence[int], each: int, chance: Random) -> list[int]:
    """Draw as many of each tenth, and return the last ones first."""
    cuts = [len(ordered) * tenth // TENTHS for tenth in range(TENTHS + 1)]
    drawn = [
        index
        for low, high in pairwise(cuts)
        for index in sorted(chance.sample(range(low, high), min(each, high - low)))
    ]
    return [ordered[index] for index in reversed(drawn)]
