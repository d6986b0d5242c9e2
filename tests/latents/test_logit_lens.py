import pytest
import torch

from toolkit.latents import logit_lens as module
from toolkit.latents.logit_lens import logit_lens
from toolkit.models.pair import ModelPair


def test_each_row_is_read_by_its_own_models_unembedding(tiny_pair: ModelPair, random_crosscoder) -> None:
    crosscoder = random_crosscoder(n_latents=6)
    lens = logit_lens(tiny_pair, crosscoder, [4, 1], tokens=5)
    for index, (name, model) in enumerate((("base", tiny_pair.base), ("distilled", tiny_pair.distilled))):
        own = model.model._module
        for line, latent in enumerate((4, 1)):
            row = crosscoder.W_dec[latent, index].to(model.device)
            share = float(row.norm() / crosscoder.W_dec[latent].norm(dim=1).sum().to(row))
            with torch.no_grad():
                logits = (
                    share * own.lm_head(own.model.norm(row / row.norm() * 32**0.5))[: len(tiny_pair.tokenizer)].cpu()
                )
            order = logits.argsort(descending=True).tolist()
            assert lens[name].promoted[line].tolist() == order[:5]
            assert lens[name].suppressed[line].tolist() == order[::-1][:5]
            torch.testing.assert_close(lens[name].promoted_logits[line], logits[order[:5]], atol=1e-4, rtol=1e-3)
            torch.testing.assert_close(
                lens[name].suppressed_logits[line], logits[order[::-1][:5]], atol=1e-4, rtol=1e-3
            )


def test_planted_rows_promote_their_token(tiny_pair: ModelPair, random_crosscoder) -> None:
    """A row along one token's unembedding promotes that token; a model without a row says nothing."""
    crosscoder = random_crosscoder(n_latents=6)
    weight = tiny_pair.distilled.model._module.lm_head.weight.detach()
    crosscoder.W_dec[2, 1] = weight[7] - weight.mean(dim=0)
    crosscoder.W_dec[2, 0] = 0
    lens = logit_lens(tiny_pair, crosscoder, [2], tokens=3)
    assert lens["distilled"].promoted[0, 0] == 7
    assert not lens["base"].promoted_logits.any()


def test_latents_in_pieces_and_layers_beyond_the_last_change_nothing(
    tiny_pair: ModelPair, random_crosscoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = logit_lens(tiny_pair, random_crosscoder(n_latents=6), range(6), tokens=4)["base"]
    monkeypatch.setattr(module, "LARGEST_LOGITS", 100)
    pieces = logit_lens(tiny_pair, random_crosscoder(n_latents=6), range(6), tokens=4)["base"]
    assert torch.equal(whole.promoted, pieces.promoted)
    several = random_crosscoder(n_latents=6, layers=(1, 2))
    several.W_dec[:, 1::2] = random_crosscoder(n_latents=6).W_dec
    assert torch.equal(logit_lens(tiny_pair, several, range(6), tokens=4)["base"].promoted, whole.promoted)


def test_latents_that_do_not_exist_are_refused(tiny_pair: ModelPair, random_crosscoder) -> None:
    for latent in (6, -1):
        with pytest.raises(ValueError, match=f"latent {latent} does not exist: the crosscoder has latents 0 to 5"):
            logit_lens(tiny_pair, random_crosscoder(n_latents=6), torch.tensor([0, latent]))


def test_tokens_are_told_as_text_with_their_logits(tiny_pair: ModelPair, random_crosscoder) -> None:
    lens = logit_lens(tiny_pair, random_crosscoder(n_latents=6), [4, 1], tokens=3)
    for name, of_model in lens.items():
        ids, logits = of_model.suppressed[1].tolist(), of_model.suppressed_logits[1].tolist()
        words = [tiny_pair.tokenizer.decode([token]) for token in ids]
        assert of_model.tokens(1, promoted=False) == list(zip(words, logits, strict=True))
        (first, logit), *_ = of_model.tokens(4)
        assert f"{name:9} latent 4: {first!r} {logit:+.2f}, " in repr(lens)
    with pytest.raises(ValueError, match="latent 2 was not read: give one of 4, 1"):
        lens["base"].tokens(2)


@pytest.mark.parametrize("tokens", [0, 43])
def test_a_number_of_tokens_that_there_are_not_is_refused(tiny_pair: ModelPair, random_crosscoder, tokens) -> None:
    with pytest.raises(ValueError, match=f"tokens {tokens}: give 1 to 42, the tokens of the vocabulary"):
        logit_lens(tiny_pair, random_crosscoder(n_latents=6), 1, tokens=tokens)
