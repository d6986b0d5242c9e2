"""An answer is what was asked for, or it is refused; its file unpacks to no more than it is."""

import io
import zipfile
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from toolkit.models.places.ndif.expected_answers import Asked, largest, read_answer

SITE = Asked((2, 3), (torch.float32,))
IDS = Asked((2, range(1, 4)), (torch.int64,), below=50)


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save({"found": value}, buffer)
    return buffer.getvalue()


def rewritten(content: bytes, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    archive, out = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as other:
        for name in archive.namelist():
            other.writestr(name, change(name, archive.read(name)))
    return out.getvalue()


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (torch.ones(2, 3), SITE),
        (torch.ones(3, 2).T, SITE),
        (torch.ones(1).expand(2, 3), SITE),
        ([torch.ones(2, 3)] * 2, [SITE, SITE]),
        (torch.tensor([[0, 49], [1, 2]]), IDS),
        (torch.full((2, 3), float("nan")), SITE),  # a model's affair, not the server's
    ],
)
def test_what_was_asked_for_is_returned(value: Tensor | list[Tensor], form: Asked | list[Asked]) -> None:
    found = read_answer(saved(value), {"found": form})["found"]
    torch.testing.assert_close(found, value, equal_nan=True)


@pytest.mark.parametrize(
    ("value", "form", "complaint"),
    [
        (torch.ones(2, 4), SITE, r"found is a float32 of shape \(2, 4\) on cpu, not float32 of shape \(2, 3\)"),
        (torch.ones(2, 3).half(), SITE, "float16"),
        (torch.zeros(2, 4).long(), IDS, r"not int64 of shape \(2, 1 to 3\)"),
        (torch.zeros(2, 0).long(), IDS, r"shape \(2, 0\)"),
        (torch.tensor([[50], [0]]), IDS, "found holds ids outside 0 to 49"),
        (torch.tensor([[-1], [0]]), IDS, "found holds ids outside 0 to 49"),
        ([torch.ones(2, 3)], SITE, "found is a list of 1"),
        ([torch.ones(2, 3), torch.ones(2, 2)], [SITE, SITE], r"found\[1\] is a float32 of shape \(2, 2\)"),
        ({"found": torch.ones(2, 3)}, SITE, "found is a dict of 1"),
        (torch.ones(2, 3).to_sparse(), SITE, "not float32 of shape"),
    ],
)
def test_anything_else_is_refused(value: object, form: Asked | list[Asked], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_answer(saved(value), {"found": form})


def test_a_file_that_unpacks_to_more_than_it_is_is_not_unpacked() -> None:
    bomb = rewritten(saved(torch.zeros(2, 3)), lambda name, content: content.ljust(10**7, b"\0"), zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10**5
    with pytest.raises(ValueError, match=r"bytes that unpack to [\d,]{9,}"):
        read_answer(bomb, {"found": SITE})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>no</html>",
        b"\x28\xb5\x2f\xfd" + b"x" * 100,
        saved(torch.ones(2, 3))[:-100],
        b"PK\x05\x06" + b"\0" * 18,
    ],
    ids=["nothing", "a page", "zstd", "cut short", "no record"],
)
def test_bytes_that_are_no_answer_are_damaged(content: bytes) -> None:
    with pytest.raises(OSError, match=rf"the result of {len(content):,} bytes is damaged"):
        read_answer(content, {"found": SITE})


def test_a_storage_that_claims_more_than_its_record_is_damaged() -> None:
    whole = saved(torch.arange(6.0).reshape(2, 3))
    with pytest.raises(OSError, match="damaged"):
        read_answer(
            rewritten(whole, lambda name, content: content[:8] if name.endswith("data/0") else content), {"found": SITE}
        )


def test_the_largest_answer_has_room_for_what_was_asked() -> None:
    form = {"found": [Asked((100, 1000), (torch.float64,)), Asked((2, range(1, 11)), (torch.int64,))]}
    content = saved([torch.zeros(100, 1000, dtype=torch.float64), torch.zeros(2, 10).long()])
    assert len(content) < largest(form) < 3 * len(content)
