"""Every public call takes tensors, dictionaries and models of two devices.

In a case, what is called is of one device, its owner's, and what it is given is of the other. Results are those of the
CPU, and are with the owner; statistics and files are on the CPU.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pretended_device
import pytest
import torch
from public_calls import with_tensors
from safetensors.torch import load_file
from things_of_a_device import Things
from torch import Tensor

import toolkit
from toolkit.adapters.modes import LayerMode
from toolkit.adapters.transcoder_set import export_transcoder_set
from toolkit.harvest.harvesting import open_mask
from toolkit.latents.classification import NRN_CUTS

HERE, AWAY = torch.device("cpu"), pretended_device.AWAY
PLACES = {"the CPU's": (HERE, AWAY), "the accelerator's": (AWAY, HERE)}
TEXTS = [" ".join(f"w{(7 * text + 3 * place) % 40}" for place in range(5 + text % 5)) for text in range(24)]
WRITING: dict[str, Any] = {"new_tokens": 4, "temperature": 0.7, "seed": 1}
CLASSES = ("even", "odd")


def logits(model: Any, given: Things) -> Tensor:
    found: Tensor = model.logits(given.ids, given.mask)
    return found


def adapted_anew(own: Things, given: Things) -> Tensor:
    anew = toolkit.AdaptedModel.from_pretrained(**own.models, adapter=deepcopy(given.adapter), where=str(own.device))
    return logits(anew.adapter, own)


def with_other_adapter(own: Things, given: Things) -> Tensor:
    return logits(own.adapted.with_adapter(deepcopy(given.adapter)).adapter, own)


def in_scaled_mode(own: Things, given: Things) -> Tensor:
    return logits(own.adapted.in_mode((LayerMode(mlp="base", scale=given.scale, bias=True),) * 4), own)


def attributed(own: Things, given: Things) -> list[Any]:
    graph = toolkit.attribute(own.adapted, given.ids[0, :4], logit_ids=[5])
    return [graph, graph.completeness()]


def ablated(own: Things, given: Things) -> list[Any]:
    found = toolkit.ablate(own.pair, given.crosscoder, "w1 w2 w3 w4", latents=given.latents)
    mean = found["given", "chosen"]
    return [mean.beside(mean), found.best("given", "chosen", "base")]


def answered(own: Things, given: Things) -> Any:
    arms = {"plain": own.pair.base, "shifted": (own.pair.distilled, toolkit.shift(2, given.point))}
    return toolkit.evaluate_reasoning(arms, [("w1 w2", "1"), ("w3", "2")], new_tokens=4).results["arms"]


def read_chunks(own: Things, given: Things) -> list[Tensor]:
    chunks = toolkit.harvest_chunks(own.pair, list(given.ids), chunk_tokens=12)
    return [part for chunk in chunks for part in (chunk.activations, chunk["base"])]


def masked(_: Things, given: Things) -> list[Any]:
    mask = open_mask()
    return [mask.judge(given.batch)[0].cpu(), mask.tokens(given.batch).cpu(), mask.norms(given.x)]


def latents_read(own: Things, given: Things) -> list[Any]:
    found = toolkit.read_latents(given.pair, own.crosscoder, TEXTS)
    return [found.frequency, found.firing.mass, found.classes.nrn_tags(), map(str, found.examples(given.latents))]


def probed(own: Things, given: Things) -> list[Any]:
    probes = [
        fit(own.x[:, 0], given.y, given.documents, classes=CLASSES)
        for fit in (toolkit.fit_logistic, toolkit.fit_harmonic)
    ]
    x = own.x[:, 0]
    return [part for probe in probes for part in (probe.log_probabilities(x), probe.accuracy(x, given.y))]


def scaled(own: Things, given: Things) -> list[Any]:
    found = toolkit.latent_scaling(own.crosscoder, given.x)
    return [found, found.nu_error, found.nu_reconstruction, found.survives]


def classified(own: Things, given: Things) -> list[Any]:
    found = toolkit.classify(own.crosscoder, given.x)
    return [found, found.rdn, found.tags(given.nrn, NRN_CUTS)]


def stable(own: Things, given: Things) -> list[Any]:
    found = toolkit.stability(own.crosscoder, given.crosscoder)
    return [found, found.persists]


def stitched(own: Things, given: Things) -> list[Tensor]:
    stitch = toolkit.Stitch(own.pair.base, given.map, layer=2)
    return [own.logits_under(stitch), stitch.mapped(given.stream, given.mask), stitch.of_text(given.ids, given.mask)]


def stitched_writing(own: Things, given: Things) -> list[Any]:
    stitch = toolkit.fit_stitch(given.pair.base, own.pair.distilled, TEXTS, layer=2, map="mean_shift")
    return [own.logits_under(stitch), own.pair.distilled.generate(own.ids[:, :4], edit=stitch, **WRITING)]


def trained(own: Things, given: Things) -> toolkit.Crosscoder:
    how = {"n_latents": 24, "k": 4, "batch_tokens": 64, "precision": "fp32"}
    return toolkit.train_crosscoder([own.x, given.more_x, own.x], **how)


def vectors_saved(own: Things, given: Things) -> list[Any]:
    file, exported = own.folder / "vector.safetensors", own.folder / "vector.pt"
    toolkit.save_steering_vector(toolkit.shift(2, given.point), file, own.pair.distilled)
    toolkit.export_lm_eval(toolkit.shift(2, given.point), exported, own.pair.distilled)
    return [load_file(file), torch.load(exported)]


def adapter_saved(own: Things, _: Things) -> list[Any]:
    toolkit.save_adapter(own.adapter, own.folder / "adapter")
    export_transcoder_set(own.adapter, own.folder / "set")
    return [load_file(path) for path in sorted(own.folder.glob("[as]*/*.safetensors"))]


def clamped(own: Things, given: Things) -> toolkit.SetLatent:
    return toolkit.SetLatent(own.pair, given.crosscoder, latent=given.latents, value=2.0)


def written(own: Things, given: Things) -> list[Any]:
    model, edit = own.pair.distilled, toolkit.shift(2, given.point)
    rows = given.ids[:, :4]
    return [
        model.generate(rows, edit=edit, **WRITING),
        model.generate_ids(rows, attention_mask=given.mask[:, :4], edit=clamped(own, given), **WRITING),
        dict(model.generate_each(rows.tolist(), edit=edit, sampling=toolkit.Sampling(**WRITING))),
    ]


CASES: dict[str, Callable[[Things, Things], Any]] = {
    "AdaptedModel.from_pretrained AdaptedModel.open": adapted_anew,
    "AdaptedModel.in_mode": in_scaled_mode,
    "AdaptedModel.mlp_inputs": lambda own, given: own.adapted.mlp_inputs(given.ids, given.mask),
    "AdaptedModel.with_adapter": with_other_adapter,
    "Crosscoder.decode": lambda own, given: own.crosscoder.decode(given.codes),
    "Crosscoder.decoder_norms": lambda own, _: own.crosscoder.decoder_norms(),
    "Crosscoder.encode": lambda own, given: own.crosscoder.encode(given.x),
    "Crosscoder.forward": lambda own, given: own.crosscoder(given.x),
    "Edit.__call__ Edit.plain": lambda own, given: given.edit()(own.stream),
    "Edit.of_text": lambda own, given: own.logits_under(given.edit()),
    "Edit.only": lambda own, given: own.edit().only(given.mask == 0)(own.stream),
    "Edit.row_bytes": lambda own, given: own.edit().row_bytes(len(given.ids)).tolist(),
    "Edit.rows": lambda own, given: own.edit().rows(given.order)(own.stream),
    "HarmonicLinear.forward": lambda own, given: own.layer(given.point),
    "Harvest.__getitem__ harvest_chunks": read_chunks,
    "ModelSet.check_ids": lambda own, given: own.pair.check_ids(given.ids, given.mask),
    "ModelSet.read": lambda own, given: own.pair.read(given.ids, attention_mask=given.mask),
    "ModelSet.residual": lambda own, given: own.pair.residual(given.ids, given.mask),
    "ModelSet.selected": lambda own, given: own.pair.selected(given.ids, given.mask, given.chosen),
    "ModelSet.selected_each": lambda own, given: [
        read for _, read in own.pair.selected_each([(None, (given.ids, given.mask, given.chosen))])
    ],
    "SetLatent.__init__ SetLatent.of_text": lambda own, given: own.logits_under(clamped(own, given)),
    "Stitch.__init__ Stitch.of_text Stitch.mapped": stitched,
    "StitchableModels.of": lambda own, given: logits(
        toolkit.StitchableModels.of(own.pair).reading("base")["distilled"], given
    ),
    "TracedModel.check_edit": lambda own, given: own.pair.base.check_edit(given.edit()),
    "TracedModel.end_ids": lambda own, _: own.pair.base.end_ids.tolist(),
    "TracedModel.generate TracedModel.generate_ids TracedModel.generate_each Edit.at SetLatent.at": written,
    "TracedModel.inputs": lambda own, given: own.pair.base.inputs(given.ids, given.mask, None),
    "TracedModel.logits": lambda own, given: own.pair.base.logits(given.ids, given.mask),
    "TracedModel.residual": lambda own, given: own.pair.base.residual(given.ids, given.mask, given.order),
    "TracedModel.selected": lambda own, given: own.pair.base.selected(given.ids, given.mask, given.chosen, [2]),
    "Transcoder.decode": lambda own, given: own.transcoder.decode(given.codes[:, :24]),
    "Transcoder.encode": lambda own, given: own.transcoder.encode(given.x),
    "fit_stitch Stitch.at": stitched_writing,
    "harvest_texts": lambda own, given: toolkit.harvest_texts(own.pair, given.ids, layers=given.order).activations,
    "move_toward": lambda own, given: own.logits_under(toolkit.move_toward(2, given.point, share=0.3)),
    "shift": lambda own, given: own.logits_under(toolkit.shift(2, given.points)),
    "steer": lambda own, given: own.logits_under(toolkit.steer(given.crosscoder, latent=given.latents, strength=2.0)),
    "train_crosscoder": trained,
}
STATISTICS: dict[str, Callable[[Things, Things], Any]] = {
    "LatentReading.frequency read_latents": latents_read,
    "save_adapter export_transcoder_set": adapter_saved,
    "save_steering_vector export_lm_eval": vectors_saved,
    "AttributionGraph.completeness attribute": attributed,
    "LatentClasses.rdn LatentClasses.tags classify": classified,
    "ScalingRatios.nu_error ScalingRatios.nu_reconstruction ScalingRatios.survives latent_scaling": scaled,
    "Stability.persists stability": stable,
    "TokenMask.judge TokenMask.norms TokenMask.tokens": masked,
    "ablate CategoryAblation.best Effects.beside": ablated,
    "evaluate": lambda own, given: toolkit.evaluate(own.crosscoder, [given.x, own.x]),
    "evaluate_reasoning": answered,
    "fit_harmonic fit_logistic HarmonicProbe.log_probabilities LogisticProbe.log_probabilities Probe.accuracy": probed,
    "logit_lens": lambda own, given: toolkit.logit_lens(own.pair, given.crosscoder, given.latents),
}


@pytest.fixture(scope="module")
def things(
    folders: tuple[Path, Path], random_crosscoder: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[torch.device, Things]]:
    """Both devices' things."""
    folder = tmp_path_factory.mktemp("things")
    made = random_crosscoder(n_latents=64, scale=(1.0, 1.0))
    made.save_pretrained(folder / "crosscoder")
    models = dict(zip(("base", "distilled"), folders, strict=True))
    with pretended_device.present():
        yield {device: Things(device, models, folder) for device in (HERE, AWAY)}


@pytest.fixture(scope="module")
def on_the_cpu(things: dict[torch.device, Things]) -> Callable[[str], list[Any]]:
    """What a case gives on the CPU alone."""
    found: dict[str, list[Any]] = {}

    def of(names: str) -> list[Any]:
        if names not in found:
            found[names] = flat((CASES | STATISTICS)[names](things[HERE], things[HERE]))
        return found[names]

    return of


def flat(found: Any) -> list[Any]:
    """Tensors, numbers and words of what a call returned, in order."""
    if isinstance(found, torch.nn.Module):
        return [*found.state_dict().values()]
    if dataclasses.is_dataclass(found):
        found = [getattr(found, field.name) for field in dataclasses.fields(found)]
    if isinstance(found, Mapping):
        found = [*found.values()]
    if isinstance(found, Iterable) and not isinstance(found, Tensor | str | bytes):
        return [leaf for each in found for leaf in flat(each)]
    return [found]


@pytest.mark.parametrize("whose", PLACES)
@pytest.mark.parametrize("names", CASES | STATISTICS)
def test_a_call_takes_what_lies_on_another_device(
    things: dict[torch.device, Things], on_the_cpu: Callable[[str], list[Any]], names: str, whose: str
):
    owner, giver = PLACES[whose]
    expected, device = on_the_cpu(names), HERE if names in STATISTICS else owner
    found = flat((CASES | STATISTICS)[names](things[owner], things[giver]))
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, Tensor):
            assert one.device == device
            torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-4, equal_nan=True)
        else:
            assert one == (pytest.approx(other, rel=1e-3, nan_ok=True) if isinstance(one, float) else other)


def test_every_call_with_tensors_has_a_case():
    assert {name for names in CASES | STATISTICS for name in names.split()} == with_tensors()
