"""A base model and the model distilled from it, read as one tensor."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from toolkit.models.layers import check_layers
from toolkit.models.loading import fingerprint, load_config, load_model, load_tokenizer
from toolkit.models.presets import CHECKOUT, find_pair
from toolkit.models.tokenizers import Clashes, Text, as_rows, check_same_tokens, describe_clashes
from toolkit.models.tracing import TracedModel


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelPair:
    """Two models of one shape that read the same ids.

    A *stream* is the residual stream of one model at one layer. Streams are ordered by model, then by
    layer; with one layer there is one stream a model, so that `stream` reads as `model`.
    """

    base: TracedModel
    """The model before distillation."""
    distilled: TracedModel
    """The model after it."""
    tokenizer: PreTrainedTokenizerBase
    """The distilled model's tokenizer, used for both."""
    layers: tuple[int, ...]
    """Sites: the input of these decoder layers."""
    clashing_ids: Clashes
    """Ids that mean one thing to the base model and another to the distilled model."""
    sources: tuple[str, str]
    """Where each model came from: a local folder or a hub name."""
    clashes: Literal["refuse", "allow"] = "refuse"
    """Whether a clashing id in the text is an error, or is read by each model in its own way."""

    @classmethod
    def from_pretrained(
        cls,
        preset: str | None = None,
        *,
        base: str | None = None,
        distilled: str | None = None,
        layers: Sequence[int] | None = None,
        dtype: str | torch.dtype = "auto",
        device_map: str = "auto",
        clashes: Literal["refuse", "allow"] = "refuse",
    ) -> "ModelPair":
        """Load a pair by the name of a preset, or by a local folder or hub name for each model.

        `layers` defaults to the preset's, else to the middle of the model; `dtype` and `device_map` are
        transformers'. Warns of ids that mean different things to the two models.
        Raises `ValueError`, before any weights are loaded, for an unknown preset, a model that cannot be
        found or read, models of different width, depth or vocabulary, and a layer out of range.
        """
        sources = find_pair(preset, base, distilled)
        configs = [load_config(source) for source in (sources.base, sources.distilled)]
        depth = _check_same_shape(*configs)
        layers = tuple(layers or sources.layers or (depth // 2,))
        check_layers(layers, depth)
        base_tokenizer, tokenizer = load_tokenizer(sources.base), load_tokenizer(sources.distilled)
        clashing_ids = check_same_tokens(base_tokenizer, tokenizer)
        _check_embeddings(*configs, n_tokens=len(tokenizer))
        if clashing_ids:
            warnings.warn(
                f"{len(clashing_ids)} ids mean different things to the two models: {describe_clashes(clashing_ids)}",
                stacklevel=2,
            )
        return cls(
            base=TracedModel(load_model(sources.base, tokenizer, dtype, device_map)),
            distilled=TracedModel(load_model(sources.distilled, tokenizer, dtype, device_map)),
            tokenizer=tokenizer,
            layers=layers,
            clashing_ids=clashing_ids,
            sources=(sources.base, sources.distilled),
            clashes=clashes,
        )

    def fingerprints(self) -> dict[str, str]:
        """Sha256 of every weights file of a local model, the commit of a model from the hub."""
        commits = (getattr(model.model._module.config, "_commit_hash", None) for model in (self.base, self.distilled))
        return {
            k: v
            for source, commit in zip(self.sources, commits, strict=True)
            for k, v in fingerprint(source, commit).items()
        }

    @property
    def origins(self) -> tuple[str, str]:
        """The sources as artifacts record them: the embedded models by their place in the checkout."""
        base, distilled = (source.removeprefix(f"{CHECKOUT}/") for source in self.sources)
        return base, distilled

    @property
    def names(self) -> tuple[str, str]:
        """The models' roles, in the order of the streams."""
        return ("base", "distilled")

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.base.d_model

    @property
    def n_layers(self) -> int:
        """Decoder layers of either model."""
        return self.base.n_layers

    @property
    def vocab_size(self) -> int:
        """Logits that both models have: compare the first `vocab_size` only."""
        return min(self.base.vocab_size, self.distilled.vocab_size)

    @property
    def device(self) -> torch.device:
        """The device that reads come back on."""
        return self.distilled.device

    def residual(
        self,
        input_ids: Int[Tensor, "row position"],
        attention_mask: Int[Tensor, "row position"],
        layers: Sequence[int] | None = None,
    ) -> Float[Tensor, "row position stream d_model"]:
        """Read the residual streams of both models at `layers` (default: the pair's), one pass a model.

        Each pass stops at the last site. Values at padded positions mean nothing.
        Raises `ValueError` for a layer out of range and for ids that the models do not share.
        """
        self.check_ids(input_ids, attention_mask)
        layers = layers or self.layers
        streams = [
            stream.to(self.device)
            for model in (self.base, self.distilled)
            for stream in model.residual(input_ids, attention_mask, layers)
        ]
        return torch.stack(streams, dim=2)

    def selected(
        self,
        input_ids: Int[Tensor, "row position"],
        attention_mask: Int[Tensor, "row position"],
        positions: Bool[Tensor, "row position"],
    ) -> Float[Tensor, "token stream d_model"]:
        """Read the residual streams of both models where `positions` is true, row after row, one pass a model.

        Raises `ValueError` as `residual` does.
        """
        self.check_ids(input_ids, attention_mask)
        models = (self.base, self.distilled)
        parts = [model.selected(input_ids, attention_mask, positions, self.layers) for model in models]
        return torch.cat([part.to(self.device) for part in parts], dim=1)

    def read(self, text: Text, layers: Sequence[int] | None = None) -> Float[Tensor, "token stream d_model"]:
        """Read the residual streams of both models on one text or several, one after the other.

        Tokens stand in the order of the texts, without padding, all texts in one batch. The tokenizer adds
        its BOS or not, as it does by itself; a text that begins with the BOS gets no second one.
        Raises `ValueError` for a text without tokens, and as `residual` does.
        """
        rows = [torch.tensor(row) for row in as_rows(self.tokenizer, text)]
        input_ids = pad_sequence(rows, batch_first=True)
        attention_mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        return self.residual(input_ids, attention_mask, layers)[attention_mask.bool().to(self.device)]

    def check_ids(
        self, input_ids: Int[Tensor, "row position"], attention_mask: Int[Tensor, "row past_and_position"]
    ) -> None:
        """Raise `ValueError` for an id beyond a model's embedding, or one whose meaning clashes, by name.

        A BOS at the start of a row may clash: it is the attention sink of both models, whatever its name. The mask may
        cover tokens before these ids.
        """
        highest = int(input_ids.max())
        if highest >= self.vocab_size:
            raise ValueError(
                f"token id {highest} is out of range: both models have {self.vocab_size} embeddings. "
                "Tokenize with the pair's tokenizer."
            )
        if self.clashes == "allow" or not self.clashing_ids:
            return
        clashing = torch.tensor(list(self.clashing_ids), device=input_ids.device)
        here = slice(-input_ids.shape[1], None)
        used = torch.isin(input_ids, clashing) & attention_mask[:, here].bool()
        if self.tokenizer.bos_token_id is not None:
            used &= (input_ids != self.tokenizer.bos_token_id) | (attention_mask.cumsum(dim=1)[:, here] > 1)
        if used.any():
            used_ids = input_ids[used].unique().tolist()
            names = describe_clashes({token_id: self.clashing_ids[token_id] for token_id in used_ids})
            raise ValueError(
                f"the text uses ids that mean different things to the two models: {names}. Leave them out, "
                "or load the pair with clashes='allow' to let each model read them in its own way."
            )


def _check_same_shape(base: PreTrainedConfig, distilled: PreTrainedConfig) -> int:
    """Return the depth that both models have."""
    for noun, field in (("width (d_model)", "hidden_size"), ("depth (decoder layers)", "num_hidden_layers")):
        ours, theirs = getattr(base, field), getattr(distilled, field)
        if ours != theirs:
            raise ValueError(
                f"the models differ in {noun}: base has {ours}, distilled {theirs}. "
                "Choose two models of one architecture and size."
            )
    depth: int = base.num_hidden_layers
    return depth


def _check_embeddings(base: PreTrainedConfig, distilled: PreTrainedConfig, *, n_tokens: int) -> None:
    if n_tokens > min(base.vocab_size, distilled.vocab_size):
        raise ValueError(
            f"the models differ in vocabulary: the tokenizer has {n_tokens} tokens, but base has "
            f"{base.vocab_size} embeddings and distilled {distilled.vocab_size}. "
            "Choose models that both hold every token."
        )
