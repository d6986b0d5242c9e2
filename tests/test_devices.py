"""Where there is an accelerator, models and crosscoders land there, and what stands elsewhere is taken to them.

The accelerator is the machine's own, or a pretended one, which computes as this CPU does and refuses tensors of two
devices as CUDA does.
"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pretended_device
import pytest
import torch

from toolkit.adapters.adapted_model import AdaptedModel
from toolkit.adapters.configs import AdapterTrainingConfig
from toolkit.adapters.fidelity import fidelity
from toolkit.adapters.trainer import AdapterTrainer
from toolkit.devices import accelerators, as_device, default_device
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.latent_scaling import LatentScaling
from toolkit.dictionaries.metrics import evaluate
from toolkit.dictionaries.training import CrosscoderTrainer
from toolkit.dictionaries.transcoders import Adapter, AdapterConfig
from toolkit.harvest.tokens import TokenBatch, TokenMask
from toolkit.interventions.clamping import SetLatent
from toolkit.interventions.edits import shift, steer
from toolkit.interventions.splice import splice_effects
from toolkit.latents.examples import TopExamples
from toolkit.latents.logit_lens import logit_lens
from toolkit.models.model.sampling import Sampling
from toolkit.models.pair import ModelPair
from toolkit.models.where import Where

ROOT = Path(__file__).parents[1]
AWAY = pretended_device.AWAY
PROMPTS = [[1, 2, 3, 4], [5, 6]]


assert_alike = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-4)  # devices sum in orders of their own


@pytest.fixture
def accelerator() -> Iterator[None]:
    """This machine has the device while the test runs."""
    with pretended_device.present():
        yield


@pytest.fixture(scope="module")
def away(folders: tuple[Path, Path]) -> ModelPair:
    """The tiny pair, loaded where an accelerator is."""
    with pretended_device.present():
        return ModelPair.from_pretrained(base=str(folders[0]), distilled=str(folders[1]), layers=[2])


@pytest.fixture
def saved(random_crosscoder, tmp_path: Path) -> Path:
    """A crosscoder of the tiny pair in a folder."""
    random_crosscoder(n_latents=64, scale=(1.0, 1.0)).save_pretrained(tmp_path)
    return tmp_path


def test_the_pretended_device_refuses_what_a_gpu_refuses(accelerator):
    here, there = torch.arange(3.0), torch.arange(3.0, device=AWAY)
    for mixed in (lambda: here + there, lambda: torch.stack([here, there]), lambda: here[there > 1]):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            mixed()
    with pytest.raises((RuntimeError, TypeError), match="numpy"):
        there.numpy()
    assert (there[here > 1] + torch.tensor(1.0)).tolist() == [3.0]
    assert there.cpu().numpy().tolist() == [0.0, 1.0, 2.0]
    assert torch.eye(3, device=AWAY).matmul(there).shape == there[None].squeeze_(0).shape == there.shape


def test_one_function_says_where_things_land(accelerator):
    assert default_device().type == as_device("auto").type == AWAY.type
    assert accelerators()[0] == AWAY == as_device(0)
    with pytest.raises(ValueError, match=f"device '{AWAY.type}:99' is not there: this machine has cpu, {AWAY}"):
        as_device(f"{AWAY.type}:99")


def test_without_an_accelerator_things_land_on_the_cpu():
    if not torch.accelerator.is_available():
        assert default_device() == torch.device("cpu")
        assert accelerators() == []


def test_readmes_first_lines_run(accelerator, monkeypatch):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    [lines, *_] = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    exec(lines.replace("generate(prompt", "generate(prompt, new_tokens=8"), names)
    assert names["activations"].device == names["latents"].device == AWAY
    assert (names["latents"] > 0).any()


def test_models_land_there_and_read_what_they_read_here(away, here_pair, batch):
    assert {away.base.device, away.distilled.device, away.device} == {AWAY}
    ids, mask = batch
    for read in ("residual", "selected"):
        more = (mask.bool(),) if read == "selected" else ()
        found = getattr(away, read)(ids, mask, *more)
        assert found.device == AWAY
        assert_alike(found.cpu(), getattr(here_pair, read)(ids, mask, *more))
    assert_alike(away.distilled.logits(ids, mask).cpu(), here_pair.distilled.logits(ids, mask))
    there = away.residual(ids.to(AWAY), mask.to(AWAY))
    assert_alike(there.cpu(), away.residual(ids, mask).cpu())


def test_two_models_on_two_devices_are_read_as_one_tensor(accelerator, folders, here_pair, batch):
    base, distilled = map(str, folders)
    for places in ({"base_device": "cpu"}, {"distilled_device": "cpu"}):
        pair = ModelPair.from_pretrained(base=base, distilled=distilled, layers=[2], where=Where(**places))
        assert pair.base.device != pair.distilled.device
        found = pair.residual(*batch)
        assert found.device == pair.device == pair.distilled.device
        assert_alike(found.cpu(), here_pair.residual(*batch))


def test_a_crosscoder_lands_there_and_takes_activations_from_anywhere(accelerator, saved):
    x = torch.randn(5, 2, 32)
    lands, stays = Crosscoder.from_pretrained(saved), Crosscoder.from_pretrained(saved, device="cpu")
    assert (lands.b_dec.device, stays.b_dec.device) == (AWAY, torch.device("cpu"))
    for crosscoder in (lands, stays):
        for given in (x, x.to(AWAY), x.tolist()):
            codes = crosscoder.encode(given)
            assert codes.device == crosscoder.b_dec.device
            assert_alike(codes.cpu(), stays.encode(x))
            assert_alike(crosscoder(given).cpu(), stays(x))
        assert_alike(crosscoder.decode(codes.to(AWAY)).cpu(), stays(x))
        assert evaluate(crosscoder, [x.to(AWAY), x]).fve == pytest.approx(evaluate(stays, [x, x]).fve, rel=1e-4)


@pytest.mark.parametrize("where", ["cpu", AWAY])
def test_edits_follow_the_model_wherever_the_crosscoder_is(away, here_pair, saved, where):
    here = Crosscoder.from_pretrained(saved, device="cpu")
    with pretended_device.present():
        crosscoder = Crosscoder.from_pretrained(saved, device=where)
    sampling = Sampling(new_tokens=6, temperature=0.7, seeds=(1, 2))

    def written(pair: ModelPair, crosscoder: Crosscoder) -> list[object]:
        edits = (
            steer(crosscoder, latent=[3, 4], strength=2.0),
            SetLatent(pair, crosscoder, latent=3, value=4.0),
            shift(2, crosscoder.W_dec[0, 1]),
        )
        return [pair.distilled.generate_ids(PROMPTS, edit=edit, sampling=sampling) for edit in edits]

    assert written(away, crosscoder) == written(here_pair, here)
    lenses = [logit_lens(pair, each, [1, 2], tokens=3) for pair, each in ((away, crosscoder), (here_pair, here))]
    assert repr(lenses[0]) == repr(lenses[1])


@pytest.mark.parametrize("where", ["cpu", AWAY])
def test_splices_and_examples_are_the_same_wherever_the_crosscoder_is(away, here_pair, saved, batch, where):
    here = Crosscoder.from_pretrained(saved, device="cpu")
    with pretended_device.present():
        crosscoder = Crosscoder.from_pretrained(saved, device=where)

    def effects(pair: ModelPair, crosscoder: Crosscoder) -> torch.Tensor:
        mask = TokenMask(special_ids=frozenset(), outlier_factor=10.0, keep_position_0=True)
        found = splice_effects(pair, [crosscoder], [TokenBatch(*batch)], mask, mean=torch.zeros(2, 32))[0]
        return torch.tensor([[effect.kl.value, effect.kl_mean.value] for effect in found])

    assert_alike(effects(away, crosscoder), effects(here_pair, here))
    ids, mask = batch
    x = away.selected(ids, mask, mask.bool())
    codes = crosscoder.encode(x)
    examples = TopExamples(64, generator=torch.Generator().manual_seed(0))
    examples.add(ids, mask, mask.bool(), codes)
    assert any(examples.strongest(latent) for latent in range(64))
    scaling = LatentScaling(crosscoder)
    scaling.add(x, codes)
    assert scaling.ratios().own.device == torch.device("cpu")


@pytest.mark.parametrize("sparsity", ["l1", "jumprelu", "topk", "batchtopk"])
def test_training_there_gives_what_training_here_gives(accelerator, sparsity):
    config = TrainingConfig(
        sparsity=sparsity, n_latents=24, k=4, tokens=1024, batch_tokens=128, lr=1e-2, precision="fp32"
    )
    batches = list(torch.randn(8, 128, 2, 16, generator=torch.Generator().manual_seed(0)))

    def trained(device: torch.device | str) -> Crosscoder:
        first = initialise(config, 2, batches[0].to(device), torch.Generator().manual_seed(0))
        trainer = CrosscoderTrainer(config, first, models=("base", "distilled"), layers=(2,))
        for x in islice(batches, 4):
            trainer.step(x)
            trainer.step(x.to(AWAY))
        return trainer.crosscoder()

    there, here = trained(AWAY), trained("cpu")
    assert there.b_dec.device == AWAY
    for name, tensor in here.state_dict().items():
        assert_alike(there.state_dict()[name].cpu(), tensor)


def test_an_adapter_trains_there_as_here_and_its_modes_read_alike(accelerator, folders, batch):
    base, distilled = map(str, folders)

    def trained(where: str) -> tuple[AdaptedModel, list[float]]:
        shape = AdapterConfig(d_model=32, n_layers=4, n_latents=24)
        adapter = Adapter.initialised(shape, torch.Generator().manual_seed(0))
        adapted = AdaptedModel.from_pretrained(base=base, distilled=distilled, adapter=adapter, where=where)
        training = AdapterTrainingConfig(n_latents=24, sequences=8, batch_sequences=2, lr=1e-2, recompute=False)
        trainer = AdapterTrainer(training, adapted, seed=0)
        return adapted, [trainer.step(*batch).loss for _ in range(4)]

    (there, losses), (here, expected) = trained("auto"), trained("cpu")
    assert losses == pytest.approx(expected, rel=1e-3)
    assert there.transcoders[0].W_dec.device == AWAY
    for one, other in zip(there.mlp_inputs(*batch), here.mlp_inputs(*batch), strict=True):
        assert_alike(one.cpu(), other)
    for read in (lambda m: m.adapter, lambda m: m.hybrid, lambda m: m.without([(1, 3)], -0.5)):
        assert_alike(read(there).logits(*batch).cpu(), read(here).logits(*batch))
    assert_alike(fidelity(there, [TokenBatch(*batch)]).kl, fidelity(here, [TokenBatch(*batch)]).kl)
