"""Chooses hesitation latents on held-out text.

An *output latent* adds to the log odds of a hesitation word where such a word comes next: its activation there, times
the gradient of the log odds along its decoder row, exceeds a quantile of what random directions of the same length
would add in the rows' places, and of what the rows of other latents would. A *template latent* is another one, of an
earlier layer, that adds in the same sense, from any token, to what output latents add to the log odds at formatting
positions: the ends of sentences and lines, behind which a hesitation word can start.

The first is an average over the words, the second over formatting positions. Gradients run through all later layers,
attention and norms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.modes import Latent
from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.hesitation import HesitationConfig
from toolkit.experiments.hesitation.gradients import Forward, Pulls, forwards
from toolkit.experiments.hesitation.study import (
    RANDOM_DIRECTIONS,
    Chosen,
    attributions,
    beyond_null,
    null_attributions,
)
from toolkit.latents.categories import Category
from toolkit.leaving_out import TooFewError
from toolkit.models.model.scoring import LARGEST_LOGITS
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.model.unembedding import direction_logits
from toolkit.models.text.token_texts import vocabulary_texts

ENDS = (".", "!", "?", "…", ":")
LENS_DIRECTIONS = 10_000
"""Random directions that make up the logit lens's null."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HesitationLatents:
    """The latents that were chosen, and what is known of all latents from the text that they were chosen on."""

    output: Chosen
    """Scores are attributions, or of the logit lens the mean logit of the words' ids, less that of the vocabulary."""
    template: Chosen
    """Scores are what latents add by way of output latents, in nats, on average over formatting positions."""
    attribution: Float[Tensor, "layer latent"]
    """What a latent adds to the log odds of hesitation where such a word comes next, in nats, on average."""
    alive: Bool[Tensor, "layer latent"]
    rate: Float[Tensor, "layer latent"]
    """Share of tokens on which a latent fires."""
    at_words: Float[Tensor, "layer latent"]
    """The same, of the tokens that a hesitation word follows."""
    added: Float[Tensor, "layer latent"]
    """Mean length of what a latent adds to the stream."""
    tokens: int
    words: int
    formatting: int
    """Formatting positions."""

    @property
    def both(self) -> tuple[Latent, ...]:
        """Output latents and template latents."""
        return self.output.latents + self.template.latents

    @property
    def share(self) -> float:
        """Share of all latents that are either."""
        return len(self.both) / self.alive.numel()


def choose_latents(settings: HesitationConfig, run: AdapterRun, hesitation: Category) -> HesitationLatents:
    """Read held-out text twice: for output latents, and for what feeds them.

    Raises `TooFewError` where no hesitation word is read, and where no latent fires.
    """
    models, generator = run.models, torch.Generator().manual_seed(settings.seed)
    read = _Reading.of(run, hesitation, settings.tokens)
    alive = read.fired > 0
    if not alive.any():
        raise TooFewError(
            f"no latent of the adapter fires on {read.tokens:,} held-out tokens: train it with a lower penalty, or read"
            " more --tokens"
        )
    choose = _Choice(models, alive, settings, generator)
    pulls = read.pulls.mean(read.words)
    attributed = choose.by_attribution(pulls, alive)
    output = attributed if settings.rule == "attribution" else choose.by_lens(torch.tensor(hesitation.token_ids))
    fed, formatting = _feeding(run, _weights(output, attributed.scores, read), settings.tokens)
    return HesitationLatents(
        output=output,
        template=choose.by_attribution(fed.mean(formatting), alive & _below(output.latents, alive)),
        attribution=attributed.scores,
        alive=alive,
        rate=read.fired / read.tokens,
        at_words=read.at_words / read.words,
        added=read.mass / read.tokens * torch.stack([row.norm(dim=1) for row in choose.rows]),
        tokens=read.tokens,
        words=read.words,
        formatting=formatting,
    )


class _Choice:
    """How latents are chosen: the nulls, and what all choices share."""

    def __init__(
        self, models: AdaptedModel, alive: Tensor, settings: HesitationConfig, generator: torch.Generator
    ) -> None:
        self.rows = [each.W_dec.detach().cpu().float() for each in models.transcoders.transcoders]
        self._model, self._alive, self._settings, self._generator = models.distilled, alive, settings, generator

    def by_attribution(self, pulls: list[Tensor], eligible: Bool[Tensor, "layer latent"]) -> Chosen:
        """Latents that add more than random directions and other rows would."""
        draws = self._settings.null_draws
        nulls = null_attributions(pulls, self.rows, eligible, self._alive, draws=draws, generator=self._generator)
        return beyond_null(attributions(pulls, self.rows), nulls, eligible, self._settings.quantile)

    def by_lens(self, ids: Int[Tensor, " id"]) -> Chosen:
        """Latents whose rows promote hesitation words more than random directions do."""
        scores = torch.stack([lens_scores(self._model, row, ids) for row in self.rows])
        random = torch.randn(LENS_DIRECTIONS, self.rows[0].shape[1], generator=self._generator)
        nulls = {RANDOM_DIRECTIONS: lens_scores(self._model, random, ids)}
        return beyond_null(scores, nulls, self._alive, self._settings.quantile)


def log_odds(logits: Float[Tensor, "token vocab"], ids: Int[Tensor, " id"]) -> Float[Tensor, " token"]:
    """Return the log odds, in nats, that one of these ids comes next."""
    others = logits.index_fill(-1, ids, -torch.inf)
    return logits[:, ids].logsumexp(dim=-1) - others.logsumexp(dim=-1)


def lens_scores(
    model: TracedModel, rows: Float[Tensor, "row d_model"], ids: Int[Tensor, " id"]
) -> Float[Tensor, " row"]:
    """Return the mean logit that each row gives these ids, less the vocabulary's, by the final norm and the head."""
    vocabulary, found = len(model.tokenizer), []
    for some in rows.split(max(1, LARGEST_LOGITS // model.vocab_size)):
        logits = direction_logits(model, some)[:, :vocabulary].cpu()
        found.append(logits[:, ids].mean(dim=1) - logits.mean(dim=1))
    return torch.cat(found)


def formatting_ids(models: AdaptedModel) -> Bool[Tensor, " id"]:
    """Whether each id of the vocabulary ends a sentence or holds the end of a line."""
    tokenizer = models.tokenizer
    pieces = vocabulary_texts(tokenizer)
    found = torch.zeros(max(models.distilled.vocab_size, len(tokenizer)), dtype=torch.bool)
    found[: len(pieces)] = torch.tensor(["\n" in piece or piece.rstrip().endswith(ENDS) for piece in pieces])
    return found


@dataclass(eq=False)
class _Reading:
    """The first reading: how often latents fire, and what they do to hesitation words."""

    pulls: Pulls
    fired: Float[Tensor, "layer latent"]
    mass: Float[Tensor, "layer latent"]
    at_words: Float[Tensor, "layer latent"]
    mass_at_words: Float[Tensor, "layer latent"]
    tokens: int = 0
    words: int = 0

    @classmethod
    def of(cls, run: AdapterRun, hesitation: Category, tokens: int) -> "_Reading":
        about = run.models.transcoders.config
        fired, mass, at_words, mass_at_words = torch.zeros(4, about.n_layers, about.n_latents)
        read = cls(Pulls(run.models), fired, mass, at_words, mass_at_words)
        for forward in forwards(run, tokens):
            read.add(forward, torch.tensor(hesitation.token_ids, device=forward.input_ids.device))
        if not read.words:
            raise TooFewError(
                f"none of {', '.join(map(repr, hesitation.tokens))} is among {read.tokens:,} held-out tokens: read more"
                " --tokens, or other text with --data"
            )
        return read

    def add(self, forward: Forward, ids: Int[Tensor, " id"]) -> None:
        before = torch.zeros_like(forward.counted)
        before[:, :-1] = torch.isin(forward.input_ids[:, 1:], ids) & forward.counted[:, 1:]
        before &= forward.counted
        with torch.no_grad():
            for layer in range(len(self.fired)):
                codes = forward.codes(layer, forward.counted)
                here = codes[before[forward.counted]]
                self.fired[layer] += (codes > 0).sum(dim=0).cpu()
                self.mass[layer] += codes.float().sum(dim=0).cpu()
                self.at_words[layer] += (here > 0).sum(dim=0).cpu()
                self.mass_at_words[layer] += here.float().sum(dim=0).cpu()
        self.tokens += int(forward.counted.sum())
        self.words += int(before.sum())
        if before.any():
            self.pulls.add(forward, log_odds(forward.logits(before).float(), ids).sum(), before)


def _weights(output: Chosen, attribution: Tensor, read: _Reading) -> dict[int, Float[Tensor, " latent"]]:
    """What each output latent adds to the log odds of a word a unit of its activation, by layer."""
    found: dict[int, Tensor] = {}
    for layer, latent in output.latents:
        if attribution[layer, latent] > 0:  # else the lens alone chose it
            a_unit = attribution[layer, latent] * read.words / read.mass_at_words[layer, latent]
            found.setdefault(layer, torch.zeros(attribution.shape[1]))[latent] = a_unit
    return found


def _feeding(run: AdapterRun, weights: dict[int, Tensor], tokens: int) -> tuple[Pulls, int]:
    """The second reading: what latents do to output latents at formatting positions, and how many these are."""
    pulls, ends, positions = Pulls(run.models), formatting_ids(run.models), 0
    for forward in forwards(run, tokens) if weights else ():
        here = ends.to(forward.input_ids.device)[forward.input_ids] & forward.counted
        added = [forward.codes(layer, here).float() @ each.to(here.device) for layer, each in weights.items()]
        if here.any():
            pulls.add(forward, torch.stack(added).sum(), forward.counted)
            positions += int(here.sum())
    return pulls, positions


def _below(output: Sequence[Latent], like: Bool[Tensor, "layer latent"]) -> Bool[Tensor, "layer latent"]:
    """Latents in layers before the last output latent's, that are none themselves."""
    found = torch.zeros_like(like)
    found[: max((layer for layer, _ in output), default=0)] = True
    for layer, latent in output:
        found[layer, latent] = False
    return found
