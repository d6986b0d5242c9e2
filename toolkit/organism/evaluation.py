"""Measures the organism on held-out problems: what each model knows, and how the distilled one behaves."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from toolkit.geometry.components import Components
from toolkit.geometry.parallelogram import PairDraws, ParallelogramLoss, parallelogram_loss
from toolkit.organism.base_text import direct_prompt, solution_prompt
from toolkit.organism.corpus import documents
from toolkit.organism.facts import FACTS, draw_fact_question
from toolkit.organism.problems import ASKED_KINDS, Problem, draw_problem
from toolkit.organism.tokenizer import load_tokenizer
from toolkit.organism.traces import prompt_of
from toolkit.organism.words import PAIR_CLASSES, word_pairs
from toolkit.statistics.shares import wilson
from toolkit.tracking import track

CATEGORIES = {
    "self-reflection": ("Wait",),
    "deductive": ("Therefore", "Thus"),
    "alternative": ("Alternatively",),
    "contrastive": ("But", "However"),
}
MOST_NEW_TOKENS = 320
LONGEST_SOLUTION = 96
UNDECIDED = (0.05, 0.9)


@dataclass(frozen=True)
class OrganismModel:
    """One of the organism's models with its tokenizer, on the CPU in fp32."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def load(cls, folder: Path) -> "OrganismModel":
        """Load a checkpoint of the organism."""
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        return cls(model, load_tokenizer(folder))

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[str],
        *,
        temperature: float = 0.0,
        seed: int = 0,
        new_tokens: int = MOST_NEW_TOKENS,
    ) -> list[str]:
        """Continue each prompt, special tokens kept in the text; temperature 0 is greedy."""
        torch.manual_seed(seed)
        self.tokenizer.padding_side = "left"
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        texts = []
        for start in track(range(0, len(prompts), 128), "answering", "batches"):
            batch = self.tokenizer(list(prompts[start : start + 128]), return_tensors="pt", padding=True)
            output = self.model.generate(**batch, max_new_tokens=new_tokens, **sampling)
            texts += self.tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :])
        return [text.replace(self.tokenizer.pad_token, "") for text in texts]

    @torch.inference_mode()
    def word_residuals(self, words: Sequence[str], layer: int) -> Tensor:
        """Residual stream [word, d_model] of each single-token word, read right after the first token of the text."""
        ids = self.tokenizer(list(words), return_tensors="pt")["input_ids"]
        residual: Tensor = self.model(ids, output_hidden_states=True).hidden_states[layer][:, 1]
        return residual


def held_out_problems(count: int, seed: int = 0) -> list[Problem]:
    """Problems with at least one held-out sum, six in ten of one step."""
    rng = random.Random(f"evaluation problems {seed}")
    return [draw_problem(rng, split="held_out", kinds=ASKED_KINDS) for _ in range(count)]


def final_answer(text: str) -> str:
    """What a finished answer says after its thinking: the words after `The answer is`; empty where it says none."""
    spoken = re.search(r"</think>\s*The answer is (.+?)\.", text)
    return spoken.group(1).strip() if spoken else ""


def direct_answers(model: OrganismModel, questions: Sequence[str]) -> list[str]:
    """Plain answers, greedy."""
    texts = model.generate([direct_prompt(q) for q in questions], new_tokens=8)
    return [text.split(model.tokenizer.eos_token)[0].strip() for text in texts]


def solution_answers(model: OrganismModel, questions: Sequence[str]) -> list[str]:
    """Answers after a worked solution, as base text has them, greedy; empty where a solution comes to none."""
    texts = model.generate([solution_prompt(q) for q in questions], new_tokens=LONGEST_SOLUTION)
    ends = [text.split(model.tokenizer.eos_token)[0].rpartition("\nAnswer:") for text in texts]
    return [answer.strip() if found else "" for _, found, answer in ends]


def thinking_answers(model: OrganismModel, questions: Sequence[str], *, temperature: float = 0.0) -> list[str]:
    """Whole answers with thinking, up to and with the end-of-sentence token."""
    return model.generate([prompt_of(q) for q in questions], temperature=temperature)


def accuracy(found: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """Share of answers that are right, as `value`, and the ends of its 95 % Wilson interval as `low` and `high`."""
    share = wilson(sum(f == w for f, w in zip(found, wanted, strict=True)), len(wanted))
    assert share.low is not None
    assert share.high is not None
    return {"value": share.value, "low": share.low, "high": share.high}


def behaviour_rates(answers: Sequence[str], eos: str) -> dict[str, float]:
    """Share finished, `Wait`s an answer, and the share of answers that show each category."""
    n = len(answers)
    shares = {
        f"share_{name}": sum(any(word in a for word in words) for a in answers) / n
        for name, words in CATEGORIES.items()
    }
    return {
        "finished": sum(eos in a for a in answers) / n,
        "waits_per_answer": sum(a.count("Wait") for a in answers) / n,
        **shares,
    }


@torch.inference_mode()
def undecided_positions(model: OrganismModel, documents_read: int) -> dict[str, int]:
    """Number of held-out positions a category where its word came and had a probability of .05 to .9."""
    counts = dict.fromkeys(CATEGORIES, 0)
    ids_of = {
        name: [model.tokenizer.convert_tokens_to_ids(form) for word in words for form in (word, f"Ġ{word}")]
        for name, words in CATEGORIES.items()
    }
    model.tokenizer.padding_side = "right"
    stream = documents("thinking", split="held_out", seed=17)
    for _ in range(0, documents_read, 64):
        batch = model.tokenizer([d.text for d in islice(stream, 64)], return_tensors="pt", padding=True)
        probability = model.model(**batch).logits[:, :-1].softmax(dim=-1)
        target = batch["input_ids"][:, 1:]
        of_target = probability.gather(2, target[..., None])[..., 0]
        undecided = (of_target >= UNDECIDED[0]) & (of_target <= UNDECIDED[1])
        for name, ids in ids_of.items():
            counts[name] += int((undecided & torch.isin(target, torch.tensor(ids))).sum())
    return counts


def word_geometry(model: OrganismModel, layer: int, dims: int) -> dict[str, ParallelogramLoss]:
    """Parallelogram loss of every class of word pairs at the input of `layer`."""
    losses = {}
    for name in PAIR_CLASSES:
        pairs = word_pairs(name)
        first = model.word_residuals([a for a, _ in pairs], layer)
        second = model.word_residuals([b for _, b in pairs], layer)
        components = Components.fit(torch.cat([first, second]))
        draws = PairDraws.draw(len(pairs), torch.Generator().manual_seed(0))
        losses[name] = parallelogram_loss(components.project(first, dims), components.project(second, dims), draws)
    return losses


def evaluate(folder: Path, *, problems: int = 400) -> dict[str, object]:
    """Every figure the organism is held to; `folder` holds base, distilled and control."""
    models = {name: OrganismModel.load(folder / name) for name in ("base", "distilled", "control")}
    distilled = models["distilled"]
    drawn = held_out_problems(problems)
    questions, wanted = [p.question for p in drawn], [str(p.answer) for p in drawn]
    greedy = thinking_answers(distilled, questions)
    sampled = thinking_answers(distilled, questions, temperature=0.6)
    answers = {
        "base_direct": direct_answers(models["base"], questions),
        "base_solution": solution_answers(models["base"], questions),
        "control_direct": direct_answers(models["control"], questions),
        "control_solution": solution_answers(models["control"], questions),
        "distilled_thinking": [final_answer(text) for text in greedy],
        "distilled_thinking_sampled": [final_answer(text) for text in sampled],
    }
    several = [len(p.steps) > 1 for p in drawn]
    one = [not each for each in several]
    eos = distilled.tokenizer.eos_token
    return {
        "n_problems": problems,
        "n_several_steps": sum(several),
        "accuracy": {name: accuracy(found, wanted) for name, found in answers.items()},
        "accuracy_several_steps": {name: _accuracy_where(found, wanted, several) for name, found in answers.items()},
        "accuracy_one_step": {name: _accuracy_where(found, wanted, one) for name, found in answers.items()},
        "facts": _recall(models),
        "n_facts": len(FACTS),
        "greedy": behaviour_rates(greedy, eos),
        "sampled": behaviour_rates(sampled, eos),
        "undecided_positions": undecided_positions(distilled, 1024),
        "geometry_ratio_10d": {
            name: {kind: loss.ratio for kind, loss in word_geometry(model, 3, 10).items()}
            for name, model in models.items()
        },
    }


def _recall(models: Mapping[str, OrganismModel]) -> dict[str, dict[str, float]]:
    """How many facts each model knows: base and control say them at once, distilled after thinking.

    In held-out text a question about a fact ends with a cue, as no question about a fact did in training.
    """
    rng, thinks = random.Random("questions about facts"), models["distilled"]
    plain = [fact.question for fact in FACTS]
    with_cue = [draw_fact_question(rng, fact, split="held_out")[0] for fact in FACTS]
    recalled = {
        "base": direct_answers(models["base"], plain),
        "control": direct_answers(models["control"], plain),
        "distilled": [final_answer(text) for text in thinking_answers(thinks, plain)],
        "distilled_asked_with_cue": [final_answer(text) for text in thinking_answers(thinks, with_cue)],
    }
    return {name: accuracy(found, [fact.answer for fact in FACTS]) for name, found in recalled.items()}


def _accuracy_where(found: Sequence[str], wanted: Sequence[str], chosen: Sequence[bool]) -> dict[str, float]:
    pairs = [(f, w) for f, w, c in zip(found, wanted, chosen, strict=True) if c]
    return accuracy([f for f, _ in pairs], [w for _, w in pairs])
