"""What latents do to predictions of text, told by the models themselves."""

import torch

from toolkit.experiments.adapter_run import AdapterRun
from toolkit.experiments.hesitation.on_text import predict_without
from toolkit.latents.categories import Category


def test_probabilities_and_losses_are_those_of_the_models(planted: AdapterRun, word: Category) -> None:
    arms = {"one": [[(1, 3)]], "control": [[(0, 1)], [(2, 4)]]}
    found = predict_without(planted, arms, word.token_ids, read=0, tokens=600)
    assert found is not None
    assert found.arms == {"one": [1], "control": [2, 3]}
    batch, *_ = planted.tokens()
    model = planted.models.without([(1, 3)])
    predicted = model.logits(batch.input_ids, batch.attention_mask).log_softmax(dim=-1).cpu()
    following, real = batch.input_ids[:, 1:], batch.attention_mask[:, 1:].bool()
    words = torch.isin(following, torch.tensor(word.token_ids)) & real
    expected = predicted[:, :-1][words][:, sorted(word.token_ids)].exp().sum(dim=1)
    torch.testing.assert_close(found.probability[1, : len(expected)], expected)
    own = -predicted[0, :-1].gather(-1, following[0, :, None])[:, 0][real[0] & ~words[0]].mean()
    torch.testing.assert_close(found.loss[1, 0], own)


def test_a_planted_latent_is_cut_where_others_are_not(planted: AdapterRun, word: Category) -> None:
    arms = {"planted": [[(1, 3)]], "other": [[(2, 4)]]}
    found = predict_without(planted, arms, word.token_ids, read=0, tokens=4000)
    assert found is not None
    assert found.cut("planted").value > 0.1 > 2 * abs(found.cut("other").value)


def test_text_that_ends_before_is_told(planted: AdapterRun, word: Category) -> None:
    assert predict_without(planted, {"one": [[(1, 3)]]}, word.token_ids, read=10**6, tokens=300) is None
