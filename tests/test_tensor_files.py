import pytest
import torch
from safetensors.torch import load_file, save_file

from toolkit import tensor_files
from toolkit.artifacts import sha256
from toolkit.tensor_files import check_finite, is_finite, read_tensors, write_tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_nan_and_infinity_are_found(dtype):
    for value in (float("nan"), float("inf"), -float("inf")):
        tensor = torch.ones(3, 5, dtype=dtype)
        assert is_finite(tensor)
        tensor[2, 4] = value
        assert not is_finite(tensor)
        with pytest.raises(ValueError, match=r"a.safetensors holds NaN or infinity in 1 of 2 tensors, such as b"):
            check_finite("a.safetensors", {"a": torch.ones(2), "b": tensor})
    assert is_finite(torch.arange(3))
    assert is_finite(torch.empty(0, dtype=dtype))
    assert is_finite(torch.empty(2, dtype=dtype, device="meta"))


def test_what_is_written_is_what_the_library_reads_and_its_hash_is_that_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_files, "PIECE", 10)
    tensors = {
        "bytes": torch.arange(5, dtype=torch.uint8),
        "half": torch.randn(3, 1).bfloat16(),
        "number": torch.tensor(7),
        "turned": torch.arange(6.0).view(2, 3).T,
        "none": torch.empty(0, 4),
    }
    digest = write_tensors(tmp_path / "a.safetensors", tensors)
    assert digest == sha256(tmp_path / "a.safetensors")
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_tensors_are_read_and_other_files_named(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.arange(6.0).view(2, 3)}, path)
    torch.testing.assert_close(read_tensors(path, "a row"), {"a": torch.arange(6.0).view(2, 3)})
    whole = path.read_bytes()
    for content in (whole[:-4], whole[:6], b"", b"\x80\x02}q\x00." * 20, b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"a\.safetensors is corrupt, cut short, or no safetensors.*expected a row"
        ):
            read_tensors(path, "a row")
    with pytest.raises(ValueError, match=r"b\.safetensors does not exist: expected a row"):
        read_tensors(tmp_path / "b.safetensors", "a row")
