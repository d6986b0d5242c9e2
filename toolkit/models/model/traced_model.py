"""One model behind nnsight: reads its residual stream or its logits, and generates text, with or without an edit."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex, Unpack, overload

import torch
from jaxtyping import Bool, Float, Int
from nnsight.modeling.transformers import TransformersModel
from torch import Tensor
from transformers import Cache, PreTrainedTokenizerBase

from toolkit.arguments import Indices, as_index
from toolkit.devices import sent
from toolkit.models.model.edits import Change, Edit, Edits, PlainEdit, check_change
from toolkit.models.model.generation import write_each
from toolkit.models.model.generation_jobs import jobs_of, until_end
from toolkit.models.model.generation_request import Request, check_prompts
from toolkit.models.model.layers import cache_name, check_layers, is_causal
from toolkit.models.model.row_cache import row_cache
from toolkit.models.model.sampling import GREEDY, Drawing, Sampling, with_keywords
from toolkit.models.places.ndif.expected_answers import Asked, Form, Job
from toolkit.models.places.ndif.server_side import at_sites, generated, logits_under, selected
from toolkit.models.places.ndif.wire import packed_form
from toolkit.models.places.place import Place
from toolkit.models.presets import in_checkout
from toolkit.models.text.inputs import Ids, Text, as_batch, as_mask, as_rows, check_context, check_range, is_single
from toolkit.models.text.rows import unpadded
from toolkit.tracking import track


class TracedModel:
    """A language model of transformers whose residual stream can be read and edited.

    The *site* `layer` is the residual stream at the input of decoder layer `layer`: transformers'
    `hidden_states[layer]`. Gradients are never kept. Any thread may call, but nnsight runs one trace at a
    time on a model, so a second caller waits for the first.
    """

    def __init__(self, place: Place, *, n_layers: int | None = None) -> None:
        """Take the model at `place`; `n_layers` is the whole model's depth, where only its first layers are loaded."""
        self.place = place
        config = place.model._module.config.get_text_config()
        self.d_model: int = config.hidden_size
        self.depth: int | None = None if n_layers is None else config.num_hidden_layers
        self.n_layers: int = config.num_hidden_layers if n_layers is None else n_layers
        self.vocab_size: int = config.vocab_size
        self.context: int = config.max_position_embeddings
        self.source: str = config.name_or_path

    def __repr__(self) -> str:
        read = "" if self.depth is None else f", the first {self.depth} read"
        name = in_checkout(self.source) or "without a name"
        return (
            f"TracedModel {name}, {self.place!r}:\n  {self.n_layers} layers{read}, d_model {self.d_model},"
            f" {self.vocab_size:,} ids, context {self.context:,}"
        )

    @property
    def model(self) -> TransformersModel:
        """The model behind nnsight."""
        return self.place.model

    @property
    def device(self) -> torch.device:
        """The device that reads come back on."""
        return self.place.device

    def check_loaded(self, layers: Sequence[int] = (), *, whole: bool = False) -> None:
        """Raise `ValueError` for sites, or a `whole` model, beyond the layers that were loaded."""
        if self.depth is not None and (whole or max(layers, default=0) > self.depth):
            raise ValueError(
                f"only the first {self.depth} of {self.n_layers} layers were loaded, to read sites up to {self.depth}:"
                " for later sites, logits and generation load the whole model, without depth="
            )

    def check_edit(self, edit: Edit | Edits) -> None:
        """Raise `ValueError` for an edit of a layer that the model does not have, or of a stream of another width."""
        check_layers(edit.layers, self.n_layers)
        for each in edit.edits:
            for operand in each.operands:
                if operand.shape[-1] != self.d_model:
                    raise ValueError(
                        f"an edit at layer {each.layer} has width {operand.shape[-1]}, and this model's stream has"
                        f" width {self.d_model}: give an edit that was made for this model"
                    )

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that the model was loaded with."""
        return self.model.tokenizer

    def residual(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        layers: Indices = (),
        *,
        edit: Change | None = None,
        past: Cache | None = None,
    ) -> list[Float[Tensor, "row position d_model"]]:
        """Read the residual stream at the input of each of `layers`, in the order given, in one pass.

        The pass stops at the last site: later layers, the final norm and the LM head never run. Values at
        padded positions mean nothing. `edit` is applied first: its own site is read as edited. With `past`,
        `input_ids` are the tokens that follow it, while `attention_mask` covers all.
        Raises `ValueError` for no layer, for a layer outside [0, n_layers), and as `inputs` does.
        """
        layers = check_layers(layers, self.n_layers)
        inputs = self.inputs(input_ids, attention_mask, past)
        edits = self._edits(edit, inputs)
        self.check_loaded([*layers, *(plain[0] for plain in edits)])
        ascending = sorted(set(layers))  # nnsight serves sites in the order they run
        asked = [Asked((*inputs["input_ids"].shape, self.d_model))] * len(ascending)
        sites = self.place.run(at_sites, inputs, ascending, edits, asked=asked)
        return [sites[ascending.index(layer)].to(self.device) for layer in layers]

    def selected(
        self,
        input_ids: Ids,
        attention_mask: Ids | None,
        positions: Bool[Tensor, "row position"] | Ids,
        layers: Indices,
    ) -> Float[Tensor, "token layer d_model"]:
        """Read the residual stream at the input of each of `layers` where `positions` is true, row after row.

        From NDIF the values come in the type of `Where.wire` (int8 as float32). Raises as `residual` does.
        """
        layers = check_layers(layers, self.n_layers)
        self.check_loaded(layers)
        inputs = self.inputs(input_ids, attention_mask, None, masked=False)
        chosen = as_mask(positions, inputs["input_ids"], "positions").flatten().nonzero()[:, 0].int()
        places = sent(chosen, self.place.inputs_device)
        ascending, wire = sorted(set(layers)), self.place.wire
        order = [ascending.index(layer) for layer in layers]
        asked = packed_form((len(chosen), len(layers), self.d_model), wire)
        return self.place.unpack(self.place.run(selected, inputs, places, ascending, order, wire, asked=asked))

    def logits(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        *,
        edit: Change | None = None,
        last: SupportsIndex = 0,
        past: Cache | None = None,
    ) -> Float[Tensor, "row asked vocab"]:
        """Run the whole model and return its logits, under `edit` if one is given.

        `last` asks for the logits of the last positions only (0: of all); rows may be padded on either side.
        With `past`, `input_ids` are the tokens that follow it, while `attention_mask` covers all.
        Raises `ValueError` for an edit of a layer outside [0, n_layers), and as `inputs` does.
        """
        self.check_loaded(whole=True)
        last = as_index(last, "last")
        if last < 0:
            raise ValueError(f"last {last}: give how many of the last positions, or 0 for all")
        inputs = self.inputs(input_ids, attention_mask, past) | {"logits_to_keep": last}
        rows, positions = inputs["input_ids"].shape
        asked = Asked((rows, min(last, positions) or positions, self.vocab_size))
        logits: Tensor = self.run(logits_under, inputs, self._edits(edit, inputs), asked=asked)
        return logits.to(self.device)

    def run(self, function: Callable[..., Any], *arguments: Any, asked: Form = ()) -> Any:
        """Call one of `server_side`'s functions where the model runs, on NDIF in one job.

        It gets the model and its decoder layers, both behind nnsight, then `arguments`; `asked` describes its result.
        """
        self.check_loaded(whole=True)
        return self.place.run(function, *arguments, asked=asked)

    def run_each(self, function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[Any]:
        """`run` on several lists of arguments, on NDIF `Where.jobs` of them at once; results in order."""
        self.check_loaded(whole=True)
        return self.place.run_each(function, jobs)

    def empty_cache(self) -> Cache:
        """Return an empty cache of keys and values, as `past` takes it."""
        return row_cache(self.model._module.config)

    @overload
    def generate(self, prompt: str, **how: Any) -> str: ...
    @overload
    def generate(self, prompt: Text, **how: Any) -> Any: ...
    def generate(
        self,
        prompt: Text,
        *,
        edit: Change | None = None,
        sampling: Sampling = GREEDY,
        attention_mask: Ids | None = None,
        **drawing: Unpack[Drawing],
    ) -> str | list[str]:
        """Continue one prompt or several, in one batch, under `edit` if one is given; by default greedily.

        A prompt is a string, chat messages up to where the assistant writes, ids, or what a tokenizer returned. Fields
        of `Sampling` may be given as keywords: new_tokens, temperature, top_p, top_k, seed. Returns the new text with
        its special tokens, up to and including the end-of-text token: a string for one string or conversation, else a
        list. The edit applies at every generated position, and with `edit_prompt`, or a `Stitch` in any case, at the
        prompt's too.
        Raises `ValueError` as `generate_ids` does.
        """
        rows = as_rows(self.tokenizer, prompt, attention_mask, answering=True)
        texts: list[str] = self.tokenizer.batch_decode(self._continue(rows, edit, with_keywords(sampling, drawing)))
        return texts[0] if is_single(prompt) else texts

    def generate_ids(
        self,
        prompts: Text,
        *,
        edit: Change | None = None,
        sampling: Sampling = GREEDY,
        attention_mask: Ids | None = None,
        **drawing: Unpack[Drawing],
    ) -> list[list[int]]:
        """Continue prompts as `generate` does, and return ids.

        Raises `ValueError` for no prompt, for a prompt that with the new tokens is longer than the model's context,
        for another number of seeds than of prompts, and for an edit with `positions`.
        """
        rows = as_rows(self.tokenizer, prompts, attention_mask, answering=True)
        return self._continue(rows, edit, with_keywords(sampling, drawing))

    def generate_each(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        begun: Sequence[Sequence[int]] = (),
        edit: Change | None = None,
        sampling: Sampling = GREEDY,
        rows: int = 256,
    ) -> Iterator[tuple[int, list[int]]]:
        """Continue any number of prompts, `rows` at a time, and yield each one's number and new ids once it has ended.

        `begun` are the ids of answers that were begun before, one for each prompt: they are read under the edit, as if
        the model had written them, and are not among the new ids. Raises `ValueError` as `generate_ids` does.
        """
        self.check_loaded(whole=True)
        if as_index(rows, "rows") < 1:
            raise ValueError(f"rows {rows}: write at least one answer at a time")
        request = Request(prompts=prompts, begun=begun, edit=edit, sampling=sampling, end_ids=self.end_ids)
        check_prompts(request.texts, sampling, self.context)
        if self.place.keeps_caches:
            return write_each(self, request, rows)
        return self._answers_of(jobs_of(request, rows=rows, vocab_size=self.vocab_size, job_bytes=self.place.job_bytes))

    def _continue(self, prompts: list[list[int]], edit: Change | None, sampling: Sampling) -> list[list[int]]:
        written = dict(self.generate_each(prompts, edit=edit, sampling=sampling, rows=len(prompts)))
        return [written[number] for number in range(len(prompts))]

    def _answers_of(self, jobs: list[Job]) -> Iterator[tuple[int, list[int]]]:
        written = track(self.run_each(generated, jobs), "jobs", "jobs", total=len(jobs))
        yield from enumerate(answer for rows in written for answer in until_end(rows, self.end_ids))

    @property
    def end_ids(self) -> Int[Tensor, " end"]:
        """Ids that end a text."""
        configured = self.model._module.generation_config.eos_token_id
        ids = {self.tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
        return torch.tensor(sorted(token_id for token_id in ids if token_id is not None))

    def inputs(
        self, input_ids: Ids, attention_mask: Ids | None, past: Cache | None, *, masked: bool = True
    ) -> dict[str, Any]:
        """Return what a pass takes; where it need not be `masked`, padding on the right is read as if it were text.

        Raises `ValueError` for ids without an embedding, rows longer than the context, anything but ids and a mask, and
        a `past` where the model cannot keep one.
        """
        if past is not None and not self.place.keeps_caches:
            raise ValueError(
                "a cache of keys and values stays neither on NDIF nor with split layers: give whole texts, without past"
            )
        # Without a mask nnsight attends to padding.
        ids, mask = as_batch(self.tokenizer, input_ids, attention_mask, past=past is not None)
        check_range(ids, self.vocab_size)
        check_context(int(mask.sum(dim=1).max()), self.context)
        if not masked and past is None and mask.shape[1] <= self.context and is_causal(self.model._module.config):
            mask = unpadded(mask)
        counts_itself = past is None and mask.shape[1] <= self.context and bool(mask[:, 0].all())
        ids, mask = (sent(each, self.place.inputs_device) for each in (ids, mask))
        inputs = {"input_ids": ids, "attention_mask": mask, "use_cache": past is not None}
        if not counts_itself:  # else transformers counts from 0, padding included, which is right
            inputs["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return inputs if past is None else inputs | {cache_name(self.model._module): past}

    def _edits(self, edit: Change | None, inputs: Mapping[str, Any]) -> list[PlainEdit]:
        """Return an edit as data, for the tokens of these inputs; raises `ValueError` for an unknown layer."""
        check_change(edit)
        if edit is None:
            return []
        made = edit.of_text(inputs["input_ids"], inputs["attention_mask"])
        self.check_edit(made)
        return made.plain()
