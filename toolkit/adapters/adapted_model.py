"""The adapted model: a distilled model that can also run with the base model's MLPs, and with sparse transcoders."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal

import nnsight
import torch
from jaxtyping import Float
from nnsight.modeling.transformers import TransformersModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from toolkit.adapters import modes
from toolkit.adapters.adapted_mlp import AdaptedMLP
from toolkit.adapters.base_mlps import base_mlps, check_gated
from toolkit.adapters.latent_names import check_latent
from toolkit.adapters.model_parts import check_parts
from toolkit.adapters.modes import Latent, Mode
from toolkit.dictionaries.transcoders import Adapter
from toolkit.models.compatibility import check_not_the_same, check_same_shape, find_clashes
from toolkit.models.files.loading import behind_nnsight, load_model
from toolkit.models.model.layers import layers_path
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.here import Here
from toolkit.models.places.ndif.expected_answers import Form
from toolkit.models.sources import Model, Source, find_sources, tokenizers_of
from toolkit.models.text.inputs import Ids
from toolkit.models.where import Where, as_where

NOT_DISTILLED = "give the model before distillation as base, and the one after it as distilled"


class AdaptedPlace(Here):
    """The place of an adapted model in one of its modes: all modes share the weights and one lock."""

    def __init__(self, model: TransformersModel, lock: threading.Lock, mode: Mode) -> None:
        super().__init__(model)
        self.lock, self.mode = lock, mode

    def __repr__(self) -> str:
        return f"{super().__repr__()}, mode {modes.name_of(self.mode)}"

    def run(self, function: Callable[..., Any], *arguments: Any, asked: Form) -> Any:
        """As `Place.run`, with the MLPs in this place's mode."""
        with self.lock:
            set_mode(decoder_layers(self.model._module), self.mode)
            return super().run(function, *arguments, asked=asked)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AdaptedModel:
    """A distilled model, the base model's MLPs beside its own, and an adapter; modes of it are models to be read.

    What the models share is loaded once, and the base model's attention, embeddings and head never. Every mode is a
    `TracedModel` over the same weights: it reads, gives logits and generates, under edits of the stream too.
    """

    distilled: TracedModel
    """The distilled model itself."""
    transcoders: Adapter
    """The adapter, on the devices of its layers."""
    sources: tuple[Source, ...]
    """Where base and distilled model came from."""

    @classmethod
    def from_pretrained(
        cls,
        *,
        base: Model,
        distilled: Model,
        adapter: Adapter,
        where: Where | Any = "auto",
        other_models: bool = False,
    ) -> "AdaptedModel":
        """Load the distilled model, and the base model's MLPs alone; each a folder, a hub name, or a loaded model.

        A loaded model is left as it is; its tensors are shared. Raises `ValueError` for models that differ in width or
        depth, that are one model, or whose MLPs are not gated, for an adapter of another shape, for one that was
        trained on other models unless `other_models` is true, and for a place where a model is not whole in the memory
        of this process.
        """
        sources = find_sources({"base": base, "distilled": distilled})
        return cls.open(sources, adapter, as_where(where), other_models=other_models)

    @classmethod
    def open(
        cls, sources: Sequence[Source], adapter: Adapter, where: Where, *, other_models: bool = False
    ) -> "AdaptedModel":
        """Load what `find_sources` found, base first, as `from_pretrained` does."""
        base, distilled = sources
        where.check_whole_here()
        configs = {source.role: source.config() for source in sources}
        n_layers = check_same_shape(configs)
        _check_fits(adapter, n_layers, configs[distilled.role].hidden_size)
        if base.module is None and distilled.module is None:
            check_not_the_same(distilled, [base], NOT_DISTILLED)
        if not other_models:
            _check_trained_on(adapter, sources)
        both = bool(base.name and distilled.name)
        tokenizers = tokenizers_of(sources if both else [distilled], None)
        if both:
            find_clashes(configs, tokenizers)
        tokenizer = tokenizers[distilled.role]
        module = _own_copy(distilled, tokenizer, where.of("distilled"))
        check_gated(distilled.role, decoder_layers(module))
        for layer, mlp, transcoder in zip(
            decoder_layers(module), base_mlps(base, module), adapter.transcoders, strict=True
        ):
            weight = next(layer.mlp.parameters())
            layer.mlp = AdaptedMLP(layer.mlp, mlp, transcoder.to(weight.device))
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(".transcoder." in name)
        whole = AdaptedPlace(behind_nnsight(module, tokenizer), threading.Lock(), modes.distilled(n_layers))
        return cls(distilled=TracedModel(whole), transcoders=adapter, sources=tuple(sources))

    def __repr__(self) -> str:
        base, distilled = (source.name for source in self.sources)
        return f"AdaptedModel: {distilled} with the MLPs of {base};\n  {self.transcoders!r}"

    def fingerprints(self) -> dict[str, str]:
        """A word for each model, by name, that changes with its weights and settings alone; see `files.identity`."""
        return {source.role: source.fingerprint(remote=False) for source in self.sources}

    def files(self) -> dict[str, str]:
        """Sha256 of every file that weights were read from, the commit of a model from the hub."""
        return {file: word for source in self.sources for file, word in source.files(remote=False).items()}

    @property
    def n_layers(self) -> int:
        """Decoder layers."""
        return self.distilled.n_layers

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The distilled model's tokenizer."""
        return self.distilled.tokenizer

    @property
    def module(self) -> PreTrainedModel:
        """The model of transformers, whose MLPs are `AdaptedMLP`s."""
        found: PreTrainedModel = self.distilled.model._module
        return found

    @property
    def hybrid(self) -> TracedModel:
        """The distilled model with the base model's MLPs, without the adapter."""
        return self.in_mode(modes.hybrid(self.n_layers))

    @property
    def adapter(self) -> TracedModel:
        """The distilled model with the base model's MLPs and the adapter."""
        return self.in_mode(modes.adapter(self.n_layers))

    def with_adapter(self, adapter: Adapter, *, other_models: bool = False) -> "AdaptedModel":
        """The same models with another adapter; their weights are shared, and this adapted model stays as it is.

        Raises `ValueError` for an adapter that does not fit them, as `from_pretrained` does.
        """
        _check_fits(adapter, self.n_layers, self.distilled.d_model)
        if not other_models:
            _check_trained_on(adapter, self.sources)
        module = _sharing(self.module)
        for layer, transcoder in zip(decoder_layers(module), adapter.transcoders, strict=True):
            layer.mlp.transcoder = transcoder.to(next(layer.mlp.distilled.parameters()).device)
        whole = AdaptedPlace(behind_nnsight(module, self.tokenizer), threading.Lock(), modes.distilled(self.n_layers))
        return replace(self, distilled=TracedModel(whole), transcoders=adapter)

    def in_mode(self, mode: Mode) -> TracedModel:
        """The model in any mode; raises `ValueError` for another number of layers."""
        if len(mode) != self.n_layers:
            raise ValueError(f"a mode of {len(mode)} layers: this model has {self.n_layers}, give one for each")
        place = self.distilled.place
        assert isinstance(place, AdaptedPlace)
        return TracedModel(AdaptedPlace(place.model, place.lock, mode))

    def without(self, latents: Iterable[Latent], scale: float = 0.0) -> TracedModel:
        """The adapter, with what these latents (layer, index) add times `scale`: by default they are taken out.

        Raises `ValueError` for a latent that does not exist.
        """
        n_latents = self.transcoders.config.n_latents
        return self.in_mode(modes.without(self.n_layers, n_latents, self._checked(latents), scale))

    def with_latents(
        self, latents: Iterable[Latent], *, mlp: Literal["base", "distilled"], scale: float = 1.0
    ) -> TracedModel:
        """The hybrid (`mlp` base) or the distilled model, with what these latents add, times `scale`.

        Raises `ValueError` for a latent that does not exist.
        """
        n_latents = self.transcoders.config.n_latents
        return self.in_mode(modes.with_latents(self.n_layers, n_latents, self._checked(latents), mlp=mlp, scale=scale))

    def mlp_inputs(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        mode: Mode | None = None,
    ) -> list[Float[Tensor, "row position d_model"]]:
        """Read the input of every layer's MLP, behind its norm, in one pass in a mode: by default the adapter's.

        `transcoders[layer].encode` of it gives the layer's codes. Raises `ValueError` as `TracedModel.inputs` does.
        """
        model = self.in_mode(modes.adapter(self.n_layers) if mode is None else mode)
        inputs = model.inputs(input_ids, attention_mask, None) | {"logits_to_keep": 1}
        found: list[Tensor] = model.run(inputs_of_mlps, inputs)
        return found

    def _checked(self, latents: Iterable[Latent]) -> list[Latent]:
        return [check_latent(latent, self.transcoders.config) for latent in latents]


def inputs_of_mlps(model: Any, decoder: Any, inputs: Mapping[str, Any]) -> list[Tensor]:
    """The input of every layer's MLP in one pass; a function as `Place.run` takes it."""
    found = []
    with torch.no_grad(), model.trace(**inputs):
        for layer in decoder:
            found.append(nnsight.save(layer.mlp.input))  # noqa: PERF401 - nnsight loses what a comprehension gives
    return found


def decoder_layers(module: nn.Module) -> list[Any]:
    """The decoder layers of a model of transformers, from first to last."""
    layers: Any = module.get_submodule(layers_path(module))
    return list(layers)


def set_mode(layers: Iterable[Any], mode: Mode) -> None:
    """Let the MLPs of these layers compute what `mode` says."""
    for layer, each in zip(layers, mode, strict=True):
        layer.mlp.mode = each


def _own_copy(source: Source, tokenizer: PreTrainedTokenizerBase, where: Where) -> PreTrainedModel:
    """The model at `source`, loaded, or new modules with the tensors of the one in memory."""
    if source.module is None:
        loaded: PreTrainedModel = load_model(source.name, tokenizer, where, hub=source.hub)._module
        if any(parameter.is_meta for parameter in loaded.parameters()):
            raise ValueError(
                f"{source.name} does not fit into memory, and an adapted model is not read from the disk: add"
                " --dtype bfloat16, or take a machine with more memory"
            )
        return loaded
    return _sharing(source.module)


def _sharing(module: PreTrainedModel) -> PreTrainedModel:
    """New modules with the tensors of these."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return deepcopy(module, shared)


def _check_fits(adapter: Adapter, n_layers: int, d_model: int) -> None:
    about = adapter.config
    if (about.n_layers, about.d_model) != (n_layers, d_model):
        raise ValueError(
            f"the adapter is for {about.n_layers} layers of d_model {about.d_model}, and the models have {n_layers} of"
            f" {d_model}: give the models that it was trained on"
        )


def _check_trained_on(adapter: Adapter, sources: Sequence[Source]) -> None:
    """Raise `ValueError` where the adapter says that it was trained on other weights."""
    if adapter.config.base_mlps:
        check_parts(adapter.config, sources)
    if not adapter.config.fingerprints:
        return
    for source, known, name in zip(sources, adapter.config.fingerprints, adapter.config.sources, strict=True):
        if source.fingerprint(remote=False) != known:
            raise ValueError(
                f"the adapter was trained on another {source.role} model ({name}) than {source.name}: give that one, or"
                " add --other-models to use it nevertheless"
            )
