"""Clamped generation against one that reads the whole text anew for every token."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from toolkit.dictionaries.crosscoder import Crosscoder
from toolkit.interventions.clamping import SetLatent
from toolkit.models.model.edits import Edit
from toolkit.models.model.sampling import Sampling


@pytest.fixture
def crosscoder(random_crosscoder) -> Crosscoder:
    return random_crosscoder()


def naive(pair, crosscoder, prompt: list[int], latents: list[int], value: float, new_tokens: int) -> list[int]:
    ids, answer = list(prompt), []
    for _ in range(new_tokens):
        batch = torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long)
        codes = crosscoder.encode(pair.residual(*batch)[0]).tolist()

        def clamp(residual, codes=codes):
            edited = residual.clone()
            for place in range(len(prompt), residual.shape[1]):
                for k in latents:
                    edited[0, place] += (value - codes[place][k]) * crosscoder.W_dec[k, 1].to(residual)
            return edited

        logits = pair.distilled.logits(*batch, edit=Edit(layer=2, function=clamp))
        answer.append(int(logits[0, -1].argmax()))
        ids.append(answer[-1])
        if answer[-1] in pair.distilled.end_ids:
            break
    return answer


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_clamping_reads_both_models_at_every_step(tiny_pair, crosscoder, value):
    prompts, latents = [[5, 6, 7, 8], [9, 10], [3, 4, 11]], [2, 7]
    clamp = SetLatent(tiny_pair, crosscoder, latent=latents, value=value)
    expected = [naive(tiny_pair, crosscoder, prompt, latents, value, 8) for prompt in prompts]
    for _ in range(2):  # the same object serves one generation after another
        assert tiny_pair.distilled.generate_ids(prompts, edit=clamp, sampling=Sampling(new_tokens=8)) == expected
    assert expected != tiny_pair.distilled.generate_ids(prompts, sampling=Sampling(new_tokens=8))


def test_rows_that_end_leave_the_others_as_they_are(tiny_pair, crosscoder):
    prompts = [[token] for token in range(1, 39)]
    clamp = SetLatent(tiny_pair, crosscoder, latent=4, value=5.0)
    together = tiny_pair.distilled.generate_ids(prompts, edit=clamp, sampling=Sampling(new_tokens=12))
    assert len({len(answer) for answer in together}) > 1
    for prompt, answer in list(zip(prompts, together, strict=True))[::9]:
        alone = tiny_pair.distilled.generate_ids([prompt], edit=clamp, sampling=Sampling(new_tokens=12))
        assert alone == [answer]


def test_ids_that_the_base_model_reads_as_others_are_refused(tiny_pair, crosscoder):
    def generate(prompt: list[int], new_tokens: int, **changes) -> list[int]:
        clamp = SetLatent(replace(tiny_pair, **changes), crosscoder, latent=2, value=0.0)
        return tiny_pair.distilled.generate_ids([prompt], edit=clamp, sampling=Sampling(new_tokens=new_tokens))[0]

    written = generate([5, 6], 2)
    with pytest.raises(ValueError, match=r"6 \(base 'a', distilled 'b'\)"):
        generate([5, 6], 2, clashing_ids={6: ("a", "b")})
    for clashing in ({written[0]: ("a", "b")}, {written[0]: ("a", "b"), 5: ("c", "d")}):
        assert generate([5, 6], 2, clashing_ids=clashing, clashes="allow") == written
    assert generate([7, 6], 1, clashing_ids={generate([7, 6], 1)[0]: ("a", "b")})  # not read any more
    with pytest.raises(ValueError, match=rf"{written[0]} \(base 'a', distilled 'b'\)"):
        generate([5, 6], 2, clashing_ids={written[0]: ("a", "b")})


def test_latents_and_values_come_as_notebooks_have_them(tiny_pair, crosscoder):
    sampling = Sampling(new_tokens=4)
    expected = tiny_pair.distilled.generate_ids(
        [[5, 6]], edit=SetLatent(tiny_pair, crosscoder, latent=2, value=3.0), sampling=sampling
    )
    for latent in (torch.tensor(2), np.int64(2), [2, 2], torch.tensor([2])):
        clamp = SetLatent(tiny_pair, crosscoder, latent=latent, value=torch.tensor(3))
        assert clamp.latents == [2]
        assert tiny_pair.distilled.generate_ids([[5, 6]], edit=clamp, sampling=sampling) == expected


def test_impossible_values_are_refused(tiny_pair, crosscoder):
    with pytest.raises(ValueError, match="value nan is not finite"):
        SetLatent(tiny_pair, crosscoder, latent=1, value=math.nan)
    with pytest.raises(ValueError, match="latent 12 does not exist"):
        SetLatent(tiny_pair, crosscoder, latent=12, value=0.0)


def test_models_on_ndif_are_refused(ndif_tiny_pair, crosscoder):
    clamp = SetLatent(ndif_tiny_pair, crosscoder, latent=2, value=0.0)
    with pytest.raises(ValueError, match="such as SetLatent"):
        ndif_tiny_pair.distilled.generate_ids([[5, 6]], edit=clamp, sampling=Sampling(new_tokens=8))


@pytest.mark.slow
def test_rows_that_join_and_answers_that_were_begun_are_clamped_as_they_are_alone(tiny_pair, crosscoder):
    prompts = [[token] * (1 + token % 5) for token in range(1, 39)]
    clamp = SetLatent(tiny_pair, crosscoder, latent=4, value=5.0) + SetLatent(
        tiny_pair, crosscoder, latent=2, value=1.0
    )
    model, sampling = tiny_pair.distilled, Sampling(new_tokens=12)
    together = model.generate_ids(prompts, edit=clamp, sampling=sampling)
    assert len({len(answer) for answer in together}) > 1
    for rows in (1, 3, 16):
        each = dict(model.generate_each(prompts, edit=clamp, sampling=sampling, rows=rows))
        assert [each[number] for number in range(len(prompts))] == together
    begun = [answer[: min(number % 5, len(answer) - 1)] for number, answer in enumerate(together)]
    rest = dict(model.generate_each(prompts, begun=begun, edit=clamp, sampling=sampling, rows=7))
    for number, (ids, answer) in enumerate(zip(begun, together, strict=True)):
        assert (ids + rest[number])[: len(answer)] == answer
