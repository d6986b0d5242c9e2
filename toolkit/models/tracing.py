"""One model behind nnsight: read its residual stream, take its logits, generate; each under an edit if one is given."""

import threading
from collections.abc import Sequence
from typing import overload

import nnsight
import torch
from jaxtyping import Bool, Float, Int
from nnsight.modeling.transformers import TransformersModel
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedTokenizerBase

from toolkit.models.edits import Edit
from toolkit.models.generation import GREEDY, EditSource, Sampling, continue_rows
from toolkit.models.layers import check_layers, layers_path
from toolkit.models.tokenizers import as_rows


class TracedModel:
    """A language model of transformers whose residual stream can be read and edited.

    The *site* `layer` is the residual stream at the input of decoder layer `layer`: transformers'
    `hidden_states[layer]`. Gradients are never kept. Any thread may call, but nnsight runs one trace at a
    time on a model, so a second caller waits for the first.
    """

    def __init__(self, model: TransformersModel):
        self.model = model
        self._layers = model.get(layers_path(model._module))
        self._lock = threading.Lock()
        config = model._module.config.get_text_config()
        self.d_model: int = config.hidden_size
        self.n_layers: int = config.num_hidden_layers
        self.vocab_size: int = config.vocab_size
        self.context: int = config.max_position_embeddings
        self.device: torch.device = model._module.device

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that the model was loaded with."""
        return self.model.tokenizer

    def residual(
        self,
        input_ids: Int[Tensor, "row position"],
        attention_mask: Int[Tensor, "row past_and_position"],
        layers: Sequence[int],
        *,
        edit: Edit | None = None,
        past: Cache | None = None,
    ) -> list[Float[Tensor, "row position d_model"]]:
        """Read the residual stream at the input of each of `layers`, in the order given, in one pass.

        The pass stops at the last site: later layers, the final norm and the LM head never run. Values at
        padded positions mean nothing. `edit` is applied first: its own site is read as edited. With `past`,
        `input_ids` are the tokens that follow it, while `attention_mask` covers all.
        Raises `ValueError` for no layer, or one outside [0, n_layers).
        """
        check_layers([*layers, *([edit.layer] if edit else [])] if layers else layers, self.n_layers)
        model, decoder = self.model, self._layers
        inputs = self._inputs(input_ids, attention_mask, past)
        ascending = sorted(set(layers))  # nnsight serves sites in the order they run
        edited = -1 if edit is None else edit.layer
        before = [layer for layer in ascending if layer < edited]
        after = [layer for layer in ascending if layer >= edited]
        with self._lock, torch.no_grad(), model.trace(**inputs) as tracer:
            sites = nnsight.save([decoder[layer].input for layer in before])
            if edit is not None and after:
                decoder[edited].input = edit(decoder[edited].input)
            sites.extend([decoder[layer].input for layer in after])
            tracer.stop()
        return [sites[ascending.index(layer)] for layer in layers]

    def selected(
        self,
        input_ids: Int[Tensor, "row position"],
        attention_mask: Int[Tensor, "row position"],
        positions: Bool[Tensor, "row position"],
        layers: Sequence[int],
    ) -> Float[Tensor, "token layer d_model"]:
        """Read the residual stream at the input of each of `layers` where `positions` is true, row after row.

        Raises `ValueError` as `residual` does.
        """
        sites = self.residual(input_ids, attention_mask, layers)
        return torch.stack([site[positions.to(site.device)] for site in sites], dim=1)

    def logits(
        self,
        input_ids: Int[Tensor, "row position"],
        attention_mask: Int[Tensor, "row past_and_position"],
        *,
        edit: Edit | None = None,
        last: int = 0,
        past: Cache | None = None,
    ) -> Float[Tensor, "row asked vocab"]:
        """Run the whole model and return its logits, under `edit` if one is given.

        `last` asks for the logits of the last positions only (0: of all); rows may be padded on either side.
        With `past`, `input_ids` are the tokens that follow it, while `attention_mask` covers all.
        Raises `ValueError` for an edit of a layer outside [0, n_layers).
        """
        if edit is not None:
            check_layers([edit.layer], self.n_layers)
        model, decoder = self.model, self._layers
        inputs = self._inputs(input_ids, attention_mask, past) | {"logits_to_keep": last}
        with self._lock, torch.no_grad(), model.trace(**inputs):
            if edit is not None:
                decoder[edit.layer].input = edit(decoder[edit.layer].input)
            output = nnsight.save(model.output)  # lm_head.output would lack Gemma 2's soft cap
        logits: Tensor = output.logits
        return logits

    @overload
    def generate(self, prompt: str, *, edit: EditSource | None = ..., sampling: Sampling = ...) -> str: ...
    @overload
    def generate(
        self, prompt: Sequence[str], *, edit: EditSource | None = ..., sampling: Sampling = ...
    ) -> list[str]: ...
    def generate(
        self, prompt: str | Sequence[str], *, edit: EditSource | None = None, sampling: Sampling = GREEDY
    ) -> str | list[str]:
        """Continue one prompt or several, in one batch, under `edit` if one is given; greedy unless told otherwise.

        Returns the new text with its special tokens, up to and with the end-of-text token. The edit applies at
        every generated position, and with `sampling.edit_prompt` at the prompt's too.
        Raises `ValueError` as `generate_ids` does.
        """
        rows = self.generate_ids(as_rows(self.tokenizer, prompt), edit=edit, sampling=sampling)
        texts: list[str] = self.tokenizer.batch_decode(rows)
        return texts[0] if isinstance(prompt, str) else texts

    def generate_ids(
        self, prompts: Sequence[Sequence[int]], *, edit: EditSource | None = None, sampling: Sampling = GREEDY
    ) -> list[list[int]]:
        """Continue prompts given as ids; see `generate`.

        Raises `ValueError` for no prompt, for one that with the new tokens is longer than the model's context, for
        seeds that are not one a prompt, and for an edit of chosen positions.
        """
        if not prompts or not all(prompts):
            raise ValueError("no prompt, or one without tokens: give each prompt at least one token")
        longest = max(map(len, prompts))
        if longest + sampling.new_tokens > self.context:
            raise ValueError(
                f"a prompt of {longest} tokens and {sampling.new_tokens} new ones exceed the model's context of"
                f" {self.context} tokens: shorten the prompt or ask for fewer new tokens"
            )
        cache = DynamicCache(config=self.model._module.config)
        return continue_rows(self.logits, prompts, cache, end_ids=self.end_ids, edit=edit, sampling=sampling)

    @property
    def end_ids(self) -> Int[Tensor, " end"]:
        """Ids that end a text."""
        configured = self.model._module.generation_config.eos_token_id
        ids = {self.tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
        return torch.tensor(sorted(token_id for token_id in ids if token_id is not None))

    def _inputs(self, input_ids: Tensor, attention_mask: Tensor, past: Cache | None) -> dict[str, object]:
        mask = attention_mask.to(self.device)  # without one nnsight attends to padding
        inputs = {"input_ids": input_ids.to(self.device), "attention_mask": mask, "use_cache": past is not None}
        if past is not None or not mask[:, 0].all():  # else transformers counts from 0, which is right
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            inputs |= {"past_key_values": past, "position_ids": positions[:, -input_ids.shape[1] :]}
        return inputs
