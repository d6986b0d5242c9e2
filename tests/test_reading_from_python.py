"""What a notebook asks of texts and latents: three lines at most each, with imports from `toolkit` alone."""

import pytest
import torch

import toolkit
from toolkit.models.model_set import ModelSet

TEXTS = [" ".join(f"w{(7 * text + 3 * place) % 40}" for place in range(4 + text % 9)) for text in range(40)]
WISHES = {
    "activations of texts, with ids and document numbers": """
found = toolkit.harvest_texts(models, texts, layers=[1, 2], row_length=8, keep_position_0=True)
assert found["base_layer1"].shape == (len(found.ids), 32) and found.documents[-1] == len(texts) - 1
""",
    "a crosscoder's codes of texts, piece by piece": """
codes = [crosscoder.encode(chunk.activations) for chunk in toolkit.harvest_chunks(models, iter(texts), chunk_tokens=50)]
assert len(codes) > 1
""",
    "how often latents fire, and whose they are": """
read = toolkit.read_latents(models, crosscoder, texts)
assert read.frequency.max() > 0 and read.classes.nrn_tags().count("shared") > 0
""",
    "the strongest examples of some latents, as text": """
examples = toolkit.read_latents(models, crosscoder, texts, examples=2).examples([3, 8])
assert all("«w" in example.text for example in examples) and len(examples) == 4
""",
    "the latents of a category by its name": """
best = toolkit.read_latents(models, crosscoder, texts, categories={"threes": ["w3", "w13"]}).of("threes", n=1)
assert best[0].lift > 1
""",
    "the tokens that a latent speaks for": """
lens = toolkit.logit_lens(models, crosscoder, 3)
(token, logit), *_ = lens["distilled"].tokens(3)
assert isinstance(token, str) and logit > 0
""",
}


@pytest.mark.parametrize("wish", WISHES)
def test_a_wish_takes_three_lines_and_no_import_beside_toolkit(tiny_pair, crosscoder, wish):
    lines = WISHES[wish].strip().splitlines()
    assert len(lines) <= 3
    told = "\n".join(lines)
    assert "import" not in told
    exec(f"import toolkit\n{told}", {"models": tiny_pair, "crosscoder": crosscoder, "texts": TEXTS})


def test_any_number_of_models_is_read_and_two_are_compared_by_name(folders, random_crosscoder):
    base, distilled = map(str, folders)
    names = ("base", "control", "distilled")
    with pytest.warns(UserWarning, match="the same weights"):
        three = ModelSet.from_pretrained(
            dict(zip(names, (base, distilled, distilled), strict=True)), layers=2, where="cpu"
        )
    found = toolkit.harvest_texts(three, TEXTS)
    assert found.streams == names
    assert torch.equal(found["control"], found["distilled"])
    crosscoder = random_crosscoder(models=names)
    read = toolkit.read_latents(three, crosscoder, TEXTS)
    assert torch.equal(read.firing.fired, (crosscoder.encode(found.activations) > 0).sum(dim=0))
    assert read.classify(("control", "distilled")).models == ("control", "distilled")
    assert toolkit.logit_lens(three, crosscoder, 3).keys() == set(names)
