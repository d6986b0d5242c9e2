"""Jobs come back whole, once, whatever the server does; what cannot be helped is said at once, without the key."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import torch
from ndif_server import KEY, NdifServer
from torch import Tensor

from toolkit.models.connection import RemoteJobError
from toolkit.models.loading import load_model, load_tokenizer
from toolkit.models.opening import open_remote
from toolkit.models.remote import Remote
from toolkit.models.tracing import TracedModel

Batch = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def local(folders: tuple[Path, Path]) -> TracedModel:
    source = str(folders[0])
    return TracedModel(load_model(source, load_tokenizer(source)))


@pytest.fixture
def open_model(ndif: NdifServer, folders: tuple[Path, Path]) -> Callable[..., TracedModel]:
    """Opens the first of the folders on the server, with a short deadline."""
    source = str(folders[0])

    def make(**settings: object) -> TracedModel:
        options = {"wire": "fp32", "deadline": 2.0} | settings
        return open_remote(source, load_tokenizer(source), Remote(**options))

    return make


def test_a_model_on_ndif_reads_as_one_here(open_model, local: TracedModel, batch: Batch) -> None:
    model = open_model()
    for site, expected in zip(model.residual(*batch, [3, 0]), local.residual(*batch, [3, 0]), strict=True):
        assert torch.equal(site, expected)
    positions = batch[1].bool() & (batch[0] > 3)
    selected = model.selected(*batch, positions, [2, 1])
    assert torch.equal(selected, local.selected(*batch, positions, [2, 1]))
    assert selected.shape == (positions.sum(), 2, model.d_model)


def test_no_weights_are_loaded(open_model) -> None:
    assert all(parameter.is_meta for parameter in open_model().model._module.parameters())


@pytest.mark.parametrize(
    ("fault", "jobs", "retries"),
    [
        ("500", 1, 1),
        ("drop", 1, 0),  # the same job is asked for again
        ("lost", 1, 1),
        ("hang", 1, 1),
        ("evicted", 1, 1),
        ("truncated", 2, 1),
    ],
)
def test_a_fault_costs_an_attempt_and_nothing_else(
    open_model, local: TracedModel, batch: Batch, ndif: NdifServer, fault: str, jobs: int, retries: int
) -> None:
    model = open_model(deadline=2.0 if fault in ("hang", "lost") else 30.0)
    done = len(ndif.jobs_done)
    ndif.faults.append(fault)
    (site,) = model.residual(*batch, [2])
    assert torch.equal(site, local.residual(*batch, [2])[0])
    assert len(ndif.jobs_done) - done == jobs
    assert model.connection.traffic.retries == retries
    assert model.connection.traffic.jobs == 2  # the first was that of opening


def test_a_job_outlives_a_restart_of_the_server(open_model, local: TracedModel, batch: Batch, ndif: NdifServer) -> None:
    model = open_model(deadline=5.0)
    ndif.faults.append("hang")
    submitted = len(ndif.payloads)
    reads: list[Tensor] = []
    reader = threading.Thread(target=lambda: reads.extend(model.residual(*batch, [2])))
    reader.start()
    while len(ndif.payloads) == submitted:
        time.sleep(0.01)
    ndif.stop()
    ndif.start()
    reader.join()
    assert torch.equal(reads[0], local.residual(*batch, [2])[0])


def test_a_job_that_fails_for_good_says_which_model_and_how_it_ended(
    open_model, batch: Batch, ndif: NdifServer
) -> None:
    model = open_model(deadline=2.0, attempts=3)
    ndif.faults.extend(["500", "hang", "truncated"])
    with pytest.raises(
        RemoteJobError, match=r"failed 3 times on 127.0.0.1; the last time: the result .* is damaged"
    ) as e:
        model.residual(*batch, [2])
    assert model.connection.source in str(e.value)
    assert not ndif.faults


def test_a_fault_in_the_jobs_own_code_is_not_tried_again(open_model, batch: Batch, ndif: NdifServer) -> None:
    model = open_model()
    sent = len(ndif.payloads)
    with pytest.raises(RuntimeError, match="IndexError"):
        model.residual(batch[0] + 10_000, batch[1], [2])
    assert len(ndif.payloads) == sent + 1


def test_a_refused_key_is_said_at_once_and_not_shown(
    open_model, ndif: NdifServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NDIF_API_KEY", "a-wrong-key")
    with pytest.raises(ValueError, match=r"refuses the key in NDIF_API_KEY .*login\.ndif\.us") as refused:
        open_model()
    assert "a-wrong-key" not in str(refused.value)


def test_a_key_revoked_midway_stops_the_job(open_model, batch: Batch, ndif: NdifServer) -> None:
    model = open_model()
    ndif.faults.append("401")
    with pytest.raises(ValueError, match="refuses the key") as refused:
        model.residual(*batch, [2])
    assert KEY not in str(refused.value)


def test_no_key_is_an_error_with_its_remedy(open_model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NDIF_API_KEY")
    with pytest.raises(ValueError, match="export NDIF_API_KEY="):
        open_model()


def test_a_key_with_a_line_break_is_taken_without_it(open_model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NDIF_API_KEY", f"{KEY}\n")
    open_model()


@pytest.mark.parametrize("key", ["a-secret\nkey", "a-secret-kéy"])
def test_a_key_that_cannot_be_one_is_not_shown(open_model, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("NDIF_API_KEY", key)
    with pytest.raises(ValueError, match="holds characters that no key has: copy it again") as refused:
        open_model()
    assert "secret" not in str(refused.value)


def test_the_key_does_not_follow_to_another_server(open_model, batch: Batch, ndif: NdifServer) -> None:
    model = open_model()
    ndif.faults.append("moved")
    with pytest.raises(ValueError, match=r"refused a job of .* bytes with 307"):
        model.residual(*batch, [2])


@pytest.mark.parametrize(
    ("upload", "remedy"), [(10, r"no more than 1 MB: lower --forward-tokens"), (10**6, "check NDIF_HOST")]
)
def test_a_job_that_is_refused_says_how_large_it_was(
    open_model, batch: Batch, ndif: NdifServer, monkeypatch: pytest.MonkeyPatch, upload: int, remedy: str
) -> None:
    monkeypatch.setattr("toolkit.models.connection.UPLOAD", upload)
    model = open_model()
    ndif.faults.append("400")
    with pytest.raises(ValueError, match=rf"refused a job of [\d,]+ bytes with 400: .*an error.*{remedy}"):
        model.residual(*batch, [2])


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ("http://127.0.0.1:9", "no NDIF server at 127.0.0.1"),
        ("127.0.0.1:9", "NDIF_HOST '127.0.0.1:9': must start with http:// or https://"),
        ("me:secret@127.0.0.1:9", "NDIF_HOST '127.0.0.1:9': must start with"),
    ],
)
def test_an_unknown_host_is_named(open_model, monkeypatch: pytest.MonkeyPatch, host: str, complaint: str) -> None:
    monkeypatch.setenv("NDIF_HOST", host)
    with pytest.raises(ValueError, match=complaint):
        open_model()


def test_a_model_that_is_not_hosted_is_said_and_what_is(
    ndif: NdifServer, folders: tuple[Path, Path], save_organism_model
) -> None:
    source = save_organism_model(seed=7)
    with pytest.raises(ValueError, match="does not host") as unknown:
        open_remote(source, load_tokenizer(source), Remote(deadline=2.0))
    assert str(folders[0]) in str(unknown.value)


def test_bytes_are_counted(open_model, batch: Batch, ndif: NdifServer) -> None:
    model = open_model()
    before = model.connection.traffic.sent, model.connection.traffic.received
    (site,) = model.residual(*batch, [2])
    sent, received = model.connection.traffic.sent - before[0], model.connection.traffic.received - before[1]
    assert sent == len(ndif.payloads[-1])
    assert site.nbytes < received < site.nbytes + 2000


def test_jobs_of_several_threads_are_in_flight_at_once(open_model, batch: Batch, ndif: NdifServer) -> None:
    model = open_model(deadline=2.0)
    ndif.faults.extend(["hang"] * 6)
    started = time.perf_counter()
    threads = [threading.Thread(target=lambda: model.residual(*batch, [2])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.perf_counter() - started < 3 * 2.0


def test_the_server_of_the_tests_refuses_what_it_cannot_know(ndif: NdifServer) -> None:
    answer = httpx.post(f"{ndif.url}/request", data={"data": "{}"}, files={"blob": b""})
    assert answer.status_code == 401


@pytest.mark.parametrize("settings", [{"jobs": 0}, {"deadline": 0.0}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"--{next(iter(settings))} 0"):
        Remote(**settings)
