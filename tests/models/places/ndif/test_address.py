"""The key goes to the server that was named and to no one who listens."""

import sys
from pathlib import Path

import pytest

from toolkit.models.places.ndif.address import find_host, find_key, may_hold_result


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("https://api.ndif.us", "https://api.ndif.us"),
        ("https://api.ndif.us///", "https://api.ndif.us"),
        (" https://lab.example/ndif/ ", "https://lab.example/ndif"),
        ("api.ndif.us", "https://api.ndif.us"),
        ("lab.example:8443/ndif", "https://lab.example:8443/ndif"),
        ("HTTPS://Lab.example", "https://Lab.example"),
        ("http://127.0.0.1:8001/", "http://127.0.0.1:8001"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:5", "http://[::1]:5"),
        ("http://[::ffff:127.0.0.1]", "http://[::ffff:127.0.0.1]"),
        ("http://localhost:5", "http://localhost:5"),
        ("http://LOCALHOST", "http://LOCALHOST"),
        ("localhost:5", "http://localhost:5"),
        ("127.0.0.1:5", "http://127.0.0.1:5"),
    ],
)
def test_an_address_is_taken_as_it_is_meant(given: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NDIF_HOST", given)
    assert find_host() == host


@pytest.mark.parametrize(
    "given",
    [
        "http://api.ndif.us",
        "http://10.0.0.3:5",
        "http://0.0.0.0",
        "http://169.254.1.1",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://2130706433",
        "http://[fe80::1]",
    ],
)
def test_the_key_crosses_no_network_in_the_open(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NDIF_HOST", given)
    with pytest.raises(ValueError, match="over plain http anyone on the way can read the key") as refused:
        find_host()
    name = str(refused.value).rpartition("--insecure-host ")[2]
    assert find_host(name) == given
    with pytest.raises(ValueError, match="over plain http"):
        find_host("another.example")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("ftp://api.ndif.us", "must start with https://"),
        ("file:///etc/passwd", "must be the address of a server"),
        ("https://", "must be the address of a server"),
        ("https://api.ndif.us:99999", "must be the address of a server"),
        ("https://[::1", "must be the address of a server"),
        ("https://api.ndif.us/?key=secret", "must be the address of a server"),
        ("https://two words", "must be the address of a server"),
        ("https://me:secret@api.ndif.us", "must not hold a user name or a password"),
        ("me:secret@api.ndif.us", "must not hold a user name or a password"),
        ("http://api.ndif.us@evil.example", "must not hold a user name or a password"),
    ],
)
def test_other_text_is_refused_without_its_secrets(given: str, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NDIF_HOST", given)
    with pytest.raises(ValueError, match=complaint) as refused:
        find_host()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "host", "may"),
    [
        ("https://store.example/x?sign", "https://api.ndif.us", True),
        ("https://10.0.0.3/x", "https://api.ndif.us", True),
        ("http://store.example/x", "https://api.ndif.us", False),
        ("http://store.lab/x", "http://ndif.lab", True),
        ("http://127.0.0.1:9000/x", "http://127.0.0.1:80", True),
        ("https://store.example/x", "http://127.0.0.1:80", True),
        ("https://127.0.0.1/x", "https://api.ndif.us", False),
        ("http://localhost:8888/x", "http://ndif.lab", False),
        ("https://[::1]/x", "https://api.ndif.us", False),
        ("https://169.254.169.254/latest", "https://api.ndif.us", False),
        ("https://0.0.0.0/x", "https://api.ndif.us", False),
        ("https://me:secret@store.example/x", "https://api.ndif.us", False),
        ("file:///etc/passwd", "https://api.ndif.us", False),
        ("ftp://store.example/x", "https://api.ndif.us", False),
        ("/result/1", "https://api.ndif.us", False),
        ("https://store.example/\r\nx", "https://api.ndif.us", False),
        ("", "https://api.ndif.us", False),
    ],
)
def test_a_result_lies_where_asking_for_it_does_no_harm(address: str, host: str, may: bool) -> None:
    assert may_hold_result(address, host) == may


def test_nnsights_own_config_is_read_without_loading_nnsight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("API:\n  APIKEY: kept-there\n  HOST: https://lab.example\n")
    for name in ("NDIF_API_KEY", "NDIF_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NNSIGHT_CONFIG", str(path))
    monkeypatch.delitem(sys.modules, "nnsight", raising=False)
    assert (find_key(), find_host()) == ("kept-there", "https://lab.example")
    path.write_text("API: [")
    with pytest.raises(ValueError, match="is not nnsight's config"):
        find_key()
    path.unlink()
    with pytest.raises(ValueError, match="needs a key"):
        find_key()
