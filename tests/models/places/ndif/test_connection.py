"""Jobs come back whole, once, whatever the server does; what cannot be helped is said at once, without the key."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import torch
from ndif_server import KEY, NdifServer
from nnsight.schema.response import Status
from torch import Tensor, nn

from toolkit.models.files.loading import load_model
from toolkit.models.files.tokenizer_files import load_tokenizer
from toolkit.models.model.edits import Edit
from toolkit.models.model.memory_fit import RowLimit
from toolkit.models.model.traced_model import TracedModel
from toolkit.models.places.here import Here
from toolkit.models.places.ndif.connection import RemoteCodeError
from toolkit.models.places.ndif.transport import RemoteJobError
from toolkit.models.places.open_model import open_model as open_one
from toolkit.models.where import Where

Batch = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def local(folders: tuple[Path, Path]) -> TracedModel:
    """The model as the server has it, on the CPU."""
    source = str(folders[0])
    return TracedModel(Here(load_model(source, load_tokenizer(source), Where(device_map="cpu"))))


@pytest.fixture
def open_model(ndif: NdifServer, folders: tuple[Path, Path]) -> Callable[..., TracedModel]:
    """Opens the first of the folders on the server, with a short deadline."""
    source = str(folders[0])

    def make(**settings: object) -> TracedModel:
        options = {"wire": "fp32", "deadline": 2.0} | settings
        return open_one(source, load_tokenizer(source), Where(remote=True, **options))

    return make


def test_a_model_on_ndif_reads_as_one_here(open_model, local: TracedModel, batch: Batch) -> None:
    model = open_model()
    for site, expected in zip(model.residual(*batch, [3, 0]), local.residual(*batch, [3, 0]), strict=True):
        assert torch.equal(site.cpu(), expected)
    positions = batch[1].bool() & (batch[0] > 3)
    selected = model.selected(*batch, positions, [2, 1])
    assert torch.equal(selected.cpu(), local.selected(*batch, positions, [2, 1]))
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
    assert torch.equal(site.cpu(), local.residual(*batch, [2])[0])
    assert len(ndif.jobs_done) - done == jobs
    assert model.place.traffic.retries == retries
    assert model.place.traffic.jobs == 2  # the first was that of opening


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
    assert torch.equal(reads[0].cpu(), local.residual(*batch, [2])[0])


def test_a_job_that_fails_for_good_says_which_model_and_how_it_ended(
    open_model, batch: Batch, ndif: NdifServer
) -> None:
    model = open_model(deadline=2.0, attempts=3)
    ndif.faults.extend(["500", "hang", "truncated"])
    with pytest.raises(
        RemoteJobError, match=r"failed 3 times on 127.0.0.1; the last time: the result .* is damaged"
    ) as e:
        model.residual(*batch, [2])
    assert model.source in str(e.value)
    assert not ndif.faults


def test_a_fault_in_the_jobs_own_code_is_not_tried_again(open_model, batch: Batch, ndif: NdifServer) -> None:
    model = open_model()
    sent = len(ndif.payloads)
    impossible = Edit(layer=1, function=torch.matmul, operands=(torch.ones(1, 1, model.d_model),))
    with pytest.raises(RemoteCodeError, match="size"):
        model.residual(*batch, [2], edit=impossible)
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
    monkeypatch.setattr("toolkit.models.places.ndif.connection.UPLOAD", upload)
    model = open_model()
    ndif.faults.append("400")
    with pytest.raises(ValueError, match=rf"refused a job of [\d,]+ bytes with 400: .*an error.*{remedy}"):
        model.residual(*batch, [2])


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ("http://127.0.0.1:9", "no NDIF server at 127.0.0.1"),
        ("ndif.example", "no NDIF server at ndif.example"),
        ("me:secret@127.0.0.1:9", "NDIF_HOST '127.0.0.1:9': must not hold"),
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
        open_one(source, load_tokenizer(source), Where(remote=True, deadline=2.0))
    assert str(folders[0]) in str(unknown.value)


def test_bytes_are_counted(open_model, batch: Batch, ndif: NdifServer) -> None:
    model = open_model()
    before = model.place.traffic.sent, model.place.traffic.received
    (site,) = model.residual(*batch, [2])
    sent, received = model.place.traffic.sent - before[0], model.place.traffic.received - before[1]
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
    with pytest.raises(ValueError, match=f"{next(iter(settings))} 0"):
        Where(remote=True, **settings)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def of_site(change: Callable[[Tensor], object]) -> Callable[[dict[str, object]], object]:
    return lambda saved: {"found": [change(saved["found"][0])]}


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda saved: [1, 2], "a list in place of names and values"),
        (lambda saved: {}, "no 'found' among 0 names"),
        (lambda saved: {"site": saved["found"]}, "no 'found' among 1 names"),
        (lambda saved: {"found": saved["found"] * 2}, r"found is a list of 2, not a list of 1"),
        (lambda saved: {"found": saved["found"][0]}, r"found is a float32 .*, not a list of 1"),
        (lambda saved: {"found": None}, "found is a NoneType, not a list of 1"),
        (of_site(lambda site: site[:, :5]), r"found\[0\] is a float32 of shape \(3, 5, 32\) .*, not .*\(3, 12, 32\)"),
        (of_site(lambda site: site.expand(2, 3, 12, 32)), "shape"),
        (of_site(Tensor.long), r"int64 of shape"),
        (of_site(lambda site: site.to("meta")), "on meta"),
        (of_site(Tensor.to_sparse), "shape"),
        (of_site(nn.Parameter), "Parameter of float32"),
        (of_site(Tensor.tolist), "list of 3"),
        (of_site(lambda site: "w" * 9), "is a str"),
    ],
)
def test_an_answer_that_was_not_asked_for_is_refused_at_once(
    open_model, batch: Batch, ndif: NdifServer, answer: Callable[..., object], complaint: str
) -> None:
    model = open_model(deadline=30.0)
    ndif.faults.append(answer)
    with pytest.raises(
        RemoteJobError, match=f"127.0.0.1 answered a job for .* something else .*{complaint}"
    ) as refused:
        model.residual(*batch, [2])
    assert "\n" not in str(refused.value)
    assert model.place.traffic.retries == 0


def test_only_names_that_were_asked_for_reach_the_caller(
    open_model, local: TracedModel, batch: Batch, ndif: NdifServer
) -> None:
    names = ("ascending", "self", "model", "layers", "edit", "torch", "tracer", "asked")
    ndif.faults.extend(["", lambda saved: saved | dict.fromkeys(names, torch.zeros(1))])
    (site,) = open_model().residual(*batch, [2])
    assert torch.equal(site.cpu(), local.residual(*batch, [2])[0])


def test_a_pickle_in_an_answer_is_never_run(open_model, batch: Batch, ndif: NdifServer, tmp_path: Path) -> None:
    model = open_model(deadline=2.0, attempts=2)
    ndif.faults.extend([lambda saved: saved | {"more": Bomb(tmp_path / "made")}] * 2)
    with pytest.raises(RemoteJobError, match="damaged"):
        model.residual(*batch, [2])
    assert not (tmp_path / "made").exists()


def test_more_bytes_than_were_asked_for_are_refused(open_model, batch: Batch, ndif: NdifServer) -> None:
    model = open_model()
    ndif.faults.append(lambda saved: saved | {"more": torch.zeros(10**6)})
    with pytest.raises(RemoteJobError, match=r"127.0.0.1 sends more than the [\d,]+ bytes that were asked for"):
        model.residual(*batch, [2])


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://me:secret@127.0.0.1/x?signature", "/result", "//"]
)
def test_a_result_is_fetched_over_http_alone(open_model, batch: Batch, ndif: NdifServer, address: str) -> None:
    model = open_model()
    ndif.faults.append({"data": address})
    with pytest.raises(RemoteJobError, match=r"127.0.0.1 says that a result is at .*, which is not asked") as refused:
        model.residual(*batch, [2])
    assert "secret" not in str(refused.value)
    assert "signature" not in str(refused.value)


@pytest.mark.parametrize(
    "reply", [{"data": None}, {"data": 7}, {"data": {}}, {"id": "another"}, {"id": "../status"}], ids=str
)
def test_a_reply_that_is_none_costs_an_attempt(
    open_model, local: TracedModel, batch: Batch, ndif: NdifServer, reply: dict[str, object]
) -> None:
    model = open_model(deadline=2.0)
    ndif.faults.append(reply)
    assert torch.equal(model.residual(*batch, [2])[0].cpu(), local.residual(*batch, [2])[0])
    assert model.place.traffic.retries == 1


def test_a_traceback_of_the_server_is_its_last_line_and_cannot_write_to_the_terminal(
    open_model, batch: Batch, ndif: NdifServer
) -> None:
    model = open_model()
    told = f"\x1b[2JTraceback (most recent call last):\n  File x\nKeyError: '\x1b]0;owned\x07{KEY}'\n"
    ndif.faults.append({"status": Status.ERROR, "description": told})
    with pytest.raises(RemoteCodeError, match=r"failed on 127.0.0.1: KeyError: '\(the key\)'$") as failed:
        model.residual(*batch, [2])
    assert failed.value.told == "Traceback (most recent call last):\n  File x\nKeyError: '(the key)'"


def test_memory_that_runs_out_on_the_server_halves_the_pass(
    open_model, local: TracedModel, batch: Batch, ndif: NdifServer
) -> None:
    told = "Traceback (most recent call last):\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    ndif.faults.extend(["", {"status": Status.ERROR, "description": told}])
    model, limit = open_model(), RowLimit()
    with pytest.warns(UserWarning, match="at most 1 such rows"):
        parts = limit.run(lambda ids, mask: model.residual(ids, mask, [2])[0], *batch)
    torch.testing.assert_close(torch.cat(parts).cpu(), local.residual(*batch, [2])[0])


def test_words_of_the_server_are_one_short_line(open_model, batch: Batch, ndif: NdifServer) -> None:
    model = open_model(attempts=1)
    ndif.faults.append({"status": Status.ERROR, "description": "\x1b[31mno\n" * 10_000})
    with pytest.raises(RemoteJobError, match=r"the server said: no no no .* … .*no no$") as failed:
        model.residual(*batch, [2])
    assert len(str(failed.value)) < 600
