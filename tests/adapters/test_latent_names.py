import pytest

from toolkit.adapters.latent_names import latent_name, latent_number, numbered_latent, parse_latents
from toolkit.dictionaries.transcoders import AdapterConfig

ADAPTER = AdapterConfig(d_model=4, n_layers=3, n_latents=20)


def test_names_and_numbers_come_back():
    latents = parse_latents(["0/0", "2/19", " 1/5", "0/0"], ADAPTER)
    assert latents == ((0, 0), (2, 19), (1, 5))
    assert [latent_name(latent) for latent in latents] == ["0/0", "2/19", "1/5"]
    assert [latent_number(latent, 20) for latent in latents] == [0, 59, 25]
    assert [numbered_latent(latent_number(latent, 20), 20) for latent in latents] == list(latents)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("3/17", "latent 3/17 does not exist: the adapter has layers 0 to 2, each with latents 0 to 19"),
        ("2/20", "latent 2/20 does not exist"),
        ("17", "latent '17': give layer/index, such as 3/17"),
        ("-1/3", "latent '-1/3': give layer/index"),
    ],
)
def test_a_wrong_name_is_an_error(name: str, said: str):
    with pytest.raises(ValueError, match=said):
        parse_latents([name], ADAPTER)
