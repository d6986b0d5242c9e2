import re

import numpy as np
import pytest
import torch
from torch import Tensor

from toolkit.latents.examples import LatentExample
from toolkit.latents.reading import LatentReading, read_latents
from toolkit.organism.tokenizer import FROZEN_TOKENIZER, load_tokenizer

TEXTS = [" ".join(f"w{(7 * text + 3 * place) % 40}" for place in range(3 + text % 9)) for text in range(40)]
CATEGORIES = {"threes": ["w3", "w13"], "nines": ("w9",), "absent": ["w1 w2"]}


@pytest.fixture(scope="module")
def reading(tiny_pair, crosscoder) -> LatentReading:
    return read_latents(tiny_pair, crosscoder, iter(TEXTS), categories=CATEGORIES, examples=3)


@pytest.fixture(scope="module")
def codes(tiny_pair, crosscoder) -> list[Tensor]:
    """Codes of each text read alone, without its first token."""
    return [crosscoder.encode(tiny_pair.read(text)[1:]) for text in TEXTS]


def test_latents_fire_as_often_as_on_each_text_alone(reading, codes):
    assert torch.equal(reading.firing.fired, (torch.cat(codes) > 0).sum(dim=0))
    torch.testing.assert_close(reading.frequency, (torch.cat(codes) > 0).float().mean(dim=0))


def test_examples_are_the_strongest_firings_as_text_with_the_token_marked(reading, codes):
    latents = [int(latent) for latent in reading.frequency.topk(3).indices]
    found = reading.examples(latents, n=np.int64(2))
    assert [example.latent for example in found] == [latent for latent in latents for _ in range(2)]
    for latent in latents:
        best = max(float(of_text[:, latent].max()) for of_text in codes)
        first, second = (example for example in found if example.latent == latent)
        assert first.score == pytest.approx(best, rel=1e-4)
        assert first.score >= second.score
        for example in (first, second):
            words = TEXTS[example.document].split()
            place = codes[example.document][:, latent].argmax() + 1
            assert example.text == " ".join([*words[:place], f"«{words[place]}»", *words[place + 1 :]])
    assert repr(found).splitlines()[0].endswith(found[0].text)


def test_latents_of_a_category_come_by_its_name(reading, codes):
    ids = [[int(word[1:]) for word in text.split()[1:]] for text in TEXTS]
    threes = reading.firing.categories[0].token_ids  # w0 too, which stands for W3
    on_threes = torch.cat([of_text[[i in threes for i in row]] for of_text, row in zip(codes, ids, strict=True)]) > 0
    lift = on_threes.float().mean(dim=0) / reading.frequency
    lift[on_threes.sum(dim=0) < 5] = -1
    best = reading.of("threes", n=3)
    assert [found.lift for found in best] == pytest.approx(lift.sort(descending=True).values[:3].tolist(), rel=1e-4)
    assert [float(lift[found.latent]) for found in best] == pytest.approx([found.lift for found in best], rel=1e-4)
    assert best[0].lift == pytest.approx(float(lift.max()), rel=1e-4)
    assert best[0].rate == pytest.approx(best[0].lift * best[0].frequency, rel=1e-4)
    assert "for threes: fires on " in repr(best)
    assert reading.of("threes", place="predicting") != reading.of("threes")


def test_latents_are_classified_by_the_crosscoders_models(reading):
    assert reading.classes.models == ("base", "distilled")
    assert torch.equal(reading.classes.alive, reading.firing.fired > 0)
    torch.testing.assert_close(reading.classify(("distilled", "base")).nrn, 1 - reading.classes.nrn)


def test_streams_are_read_where_the_crosscoder_reads_them(tiny_pair, random_crosscoder):
    elsewhere = random_crosscoder(layers=(1,))
    found = read_latents(tiny_pair, elsewhere, TEXTS[:4], categories=CATEGORIES)
    codes = torch.cat([elsewhere.encode(tiny_pair.read(text, layers=1)[1:]) for text in TEXTS[:4]])
    assert torch.equal(found.firing.fired, (codes > 0).sum(dim=0))


def test_it_says_in_two_lines_what_was_read(reading, codes):
    first, second = repr(reading).splitlines()
    tokens, fired = sum(map(len, codes)), int((reading.firing.fired > 0).sum())
    l0 = float((torch.cat(codes) > 0).sum(dim=1).float().mean())
    assert first == f"LatentReading: {tokens} tokens of 40 texts; {fired} of 64 latents fired, {l0:.1f} a token"
    assert second == "categories: threes, nines, absent"


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda reading: reading.of("fours"), "no category 'fours': give one of threes, nines"),
        (lambda reading: reading.of("absent"), "category 'absent': none of ' W1 w2', 'W1 w2'"),
        (lambda reading: reading.of("threes", n=0), "n 0: give at least 1"),
        (lambda reading: reading.of("threes", place="there"), "place 'there': give one of predicting, token"),
        (lambda reading: reading.examples(64), "latent 64 does not exist: the crosscoder has latents 0 to 63"),
        (lambda reading: reading.examples(1, n=4), "n 4: give 1 to 3, or call read_latents with a larger examples="),
        (lambda reading: reading.examples("1"), "latent '1' is not a whole number"),
    ],
)
def test_what_was_not_read_is_refused_in_a_line(reading, ask, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        ask(reading)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"categories": {"a": "w1"}}, "categories: category 'a' holds 'w1': give a list of at least one word"),
        ({"categories": {}}, "categories holds no categories"),
        ({"examples": 0}, "top 0, sampled 0: top must be at least 1"),
        ({"texts": ["w1"]}, "the texts hold no token that counts: give texts of at least two tokens"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_line(tiny_pair, crosscoder, settings, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        read_latents(tiny_pair, crosscoder, **({"texts": TEXTS, "categories": CATEGORIES} | settings))


@pytest.mark.parametrize("text", ["First, wait: is 3 right?\n\nThen go on", "naïve — 漢字 … 🙂 end"])
def test_the_token_that_fires_is_marked_wherever_characters_end(text):
    tokenizer = load_tokenizer(FROZEN_TOKENIZER)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    for place in range(len(ids)):
        example = LatentExample(
            document=0, position=place, score=1.0, token_ids=tuple(ids), activations=(1.0,) * len(ids), peak=place
        )
        shown = example.text(tokenizer)
        assert shown.count("«") == shown.count("»") == 1
        if "\ufffd" not in shown:
            assert shown.replace("«", "").replace("»", "") == text
            assert tokenizer.decode([ids[place]]).strip() in shown[shown.index("«") : shown.index("»")]
    later = LatentExample(document=0, position=9, score=1.0, token_ids=tuple(ids), activations=(), peak=1)
    assert later.text(tokenizer).startswith("…")
