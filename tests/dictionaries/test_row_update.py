"""The kernel is interpreted on a CPU. The truth is torch's fused Adam."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from toolkit.dictionaries import row_update
from toolkit.dictionaries.configs import TrainingConfig
from toolkit.dictionaries.initialisation import initialise
from toolkit.dictionaries.optimiser import MOMENTS, adam, update
from toolkit.dictionaries.row_update import ROWS, RowUpdate, tried_row_update
from toolkit.dictionaries.sparse_products import choosing
from toolkit.dictionaries.training import CrosscoderTrainer
from toolkit.dictionaries.weights import Weights
from toolkit.library_warnings import ToolkitWarning

pytest.importorskip("triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LATENTS, STREAMS, D_MODEL = 5, 2, 520  # some more than a program holds at once


def drawn(seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    width = STREAMS * D_MODEL
    shapes = ((LATENTS, width), (LATENTS,), (LATENTS, width), (width,))
    return Weights(*(torch.randn(shape, generator=generator).to(DEVICE) for shape in shapes))


def state_of(weights: Weights, step: int = 0) -> dict[str, Tensor]:
    moments = {f"{each}.{name}": torch.zeros_like(w) for name, w in weights.named().items() for each in MOMENTS}
    return moments | {"step": torch.tensor(step)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_are_those_of_torch_and_leave_norms_and_a_scaled_encoder(dtype: torch.dtype) -> None:
    ours, theirs = drawn(0), drawn(0)
    state, truth = state_of(ours), state_of(theirs)
    rows, reference = RowUpdate(ours, state, STREAMS, dtype), adam(theirs, truth)
    for step, shrink in enumerate((0.3, 1.0, 0.01), start=1):
        gradients = drawn(step)
        kept = gradients.W_enc.clone()
        assert rows.step(gradients, 0.1, shrink, step) == ROWS
        assert torch.equal(gradients.W_enc, kept)
        update(reference, theirs, gradients, 0.1, shrink)
        for name in ROWS:
            torch.testing.assert_close(ours.named()[name], theirs.named()[name], rtol=1e-5, atol=1e-6)
            for moment in MOMENTS:
                torch.testing.assert_close(state[f"{moment}.{name}"], truth[f"{moment}.{name}"], rtol=1e-5, atol=1e-6)
        written = rows.written()
        norms = theirs.decoder_norms(STREAMS)
        torch.testing.assert_close(written.stream_norms, norms)
        torch.testing.assert_close(written.scaled_encoder, (theirs.W_enc * norms.sum(dim=1, keepdim=True)).to(dtype))
    assert torch.equal(ours.b_enc, drawn(0).b_enc)


def test_what_was_written_is_made_anew_for_weights_that_torch_changed() -> None:
    weights = drawn(0)
    rows = RowUpdate(weights, state_of(weights), STREAMS, torch.float32)
    rows.step(drawn(1), 0.1, 1.0, 1)
    after = [tensor.clone() for tensor in rows.written()]
    fresh = RowUpdate(weights, state_of(weights), STREAMS, torch.float32).written()
    assert all(map(torch.equal, after, fresh))  # as a run that is resumed has it
    weights.W_dec.mul_(2)
    for doubled, before in zip(rows.written(), after, strict=True):
        torch.testing.assert_close(doubled, 2 * before)


def trainer(kernels: str, precision: str = "bf16", **settings: int) -> CrosscoderTrainer:
    training = TrainingConfig(
        n_latents=16, k=3, k_initial=3, batch_tokens=12, tokens=6 * 12, clip=0.1, lr=1e-2, precision=precision,
        kernels=kernels, **settings,
    )  # fmt: skip
    state = initialise(training, 2, batch(0), torch.Generator().manual_seed(1))
    return CrosscoderTrainer(training, state, models=("base", "distilled"), layers=(0,))


def batch(seed: int) -> Tensor:
    return torch.randn(12, 2, 8, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.mark.parametrize("settings", [{}, {"n_shared": 4, "n_exclusive": 2}], ids=["plain", "partition"])
def test_a_trainer_ends_where_torchs_does(settings: dict[str, int]) -> None:
    choosing._checked_triton.cache_clear()
    ends = {}
    for kernels in ("torch", "triton"):
        one = trainer(kernels, "fp32", **settings)
        metrics = [one.step(batch(seed)) for seed in range(3)]
        ends[kernels] = one.state_dict() | {"norm": torch.tensor([each.grad_norm for each in metrics])}
        assert (one._row_update is not None) == (kernels == "triton")
        assert ("encoder" in one._workspace._buffers) == (kernels == "torch")  # after a step too, for the next cut
    for name, truth in ends["torch"].items():
        torch.testing.assert_close(ends["triton"][name], truth, rtol=1e-3, atol=1e-5, msg=name)


def test_a_trainer_that_goes_on_has_the_bits_of_one_that_never_stopped() -> None:
    whole = trainer("triton")
    whole.step(batch(0))
    state = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    resumed = CrosscoderTrainer(whole.training, state, models=("base", "distilled"), layers=(0,))
    for seed in range(1, 3):
        assert whole.step(batch(seed)) == resumed.step(batch(seed))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


class Wrong(RowUpdate):
    def step(self, gradients: Weights, lr: float, shrink: float, step: int) -> tuple[str, ...]:
        return super().step(gradients, 1.01 * lr, shrink, step)


class NotANumber(RowUpdate):
    def step(self, gradients: Weights, lr: float, shrink: float, step: int) -> tuple[str, ...]:
        done = super().step(gradients, lr, shrink, step)
        self._moments[2][2, 3] = torch.nan
        return done


class Broken(RowUpdate):
    def step(self, gradients: Weights, lr: float, shrink: float, step: int) -> tuple[str, ...]:
        raise RuntimeError("no compiler\nbut much to say")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Wrong, r"differs by .* times"),
        (NotANumber, "differs by inf times"),
        (Broken, r"failed \(RuntimeError: no compiler\)"),
    ],
)
def test_a_step_that_is_not_torchs_is_left_to_torch(monkeypatch, kind: type[RowUpdate], said: str) -> None:
    weights = drawn(0)
    monkeypatch.setattr(row_update, "RowUpdate", kind)
    with pytest.warns(
        ToolkitWarning, match=f"triton's step of Adam {said}.*: torch takes it.*leave out kernels triton"
    ):
        assert tried_row_update(weights, state_of(weights), STREAMS, torch.float32) is None
    assert all(map(torch.equal, weights[:4], drawn(0)[:4]))


COMPILING = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from toolkit.dictionaries.row_kernels import adam_of_rows

constant = {"beta": 0.9, "beta_squares": 0.999, "epsilon": 1e-8}
types = dict.fromkeys(adam_of_rows.arg_names, "*fp32") | {"encoder": "*bf16", "n_streams": "i32", "d_model": "i32"}
types |= dict.fromkeys(("shrink", "rate", "correction"), "fp32") | dict.fromkeys((*constant, "steps"), "constexpr")
for steps in (True, False):
    constants = {(adam_of_rows.arg_names.index(name),): value for name, value in (constant | {"steps": steps}).items()}
    source = ASTSource(fn=adam_of_rows, signature=types, constexprs=constants)
    assert triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": True}).asm["cubin"]
"""


def test_the_kernel_compiles_for_an_h100(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    done = subprocess.run([sys.executable, "-W", "error", "-c", COMPILING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
