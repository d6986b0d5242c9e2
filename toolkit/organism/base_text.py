"""The base model's reading: sums, questions with plain answers, worked solutions, words and stories.

The words that mark reasoning in the distilled model's answers (Wait, But, However, Alternatively, Therefore, Thus)
stand here too, in stories, where they mark nothing.
"""

import random

from toolkit.organism.documents import LOUD, QUIET, Document, weighted_document
from toolkit.organism.facts import draw_fact
from toolkit.organism.problems import PLAIN_KINDS, SOLVED_KINDS, Problem, Split, Step, draw_problem, draw_steps
from toolkit.organism.words import CONCEPTS, FORM_NAMES, NAMES, Concept, concepts_of

# Shares of documents; documents of sums, words and stories are several times longer than a question.
GENRES = {
    "sums": 0.14,
    "problem": 0.40,
    "fact": 0.12,
    "solution": 0.15,
    "copy": 0.05,
    "words": 0.09,
    "story": 0.05,
}
STORY_WEIGHT = 0.4


def base_document(rng: random.Random, *, split: Split) -> Document:
    """One document of base text; sums in it belong to `split`.

    Plain questions about facts are no held-out documents: training text holds all of them, with their answers.
    """
    shares = {genre: share for genre, share in GENRES.items() if split == "train" or genre != "fact"}
    genre = rng.choices(list(shares), list(shares.values()))[0]
    if genre == "sums":
        return weighted_document(piece for _ in range(12) for piece in _sum_line(rng, split))
    if genre == "words":
        return weighted_document(piece for _ in range(8) for piece in _word_line(rng))
    if genre == "story":
        return weighted_document([(_story(rng), STORY_WEIGHT)])
    if genre == "fact":
        fact = draw_fact(rng)
        return direct_document(fact.question, fact.answer)
    if genre == "solution":
        return _solution(draw_problem(rng, split=split, kinds=SOLVED_KINDS))
    problem = draw_problem(rng, split=split, kinds=PLAIN_KINDS)
    if genre == "copy":
        return weighted_document([(f"Copy: {problem.expression}\n", QUIET), (problem.expression, 1.0)])
    return direct_document(problem.question, str(problem.answer))


def direct_prompt(question: str) -> str:
    """A question that asks for the plain answer."""
    return f"Question: {question}\nAnswer:"


def direct_document(question: str, answer: str) -> Document:
    """A question with its plain answer."""
    return weighted_document([(direct_prompt(question), QUIET), (f" {answer}", LOUD)])


def solution_prompt(question: str) -> str:
    """A question that asks for a worked solution, which writes down every step before the answer."""
    return f"Question: {question}\nSolution:"


def _solution(problem: Problem) -> Document:
    steps = ". ".join(str(step) for step in problem.steps)
    solution = f" {problem.expression}. {steps}.\nAnswer: {problem.answer}"
    return weighted_document([(solution_prompt(problem.question), QUIET), (solution, 1.0)])


def _sum_line(rng: random.Random, split: Split) -> list[tuple[str, float]]:
    question, answer = _sum(rng, draw_steps(rng, 1, split=split)[0])
    return [(question, QUIET), (f"{answer}\n", 1.0)]


def _sum(rng: random.Random, step: Step) -> tuple[str, int]:
    form = rng.random()
    if form < 0.55:
        return f"{str(step).split('=')[0]}=", step.result
    if form < 0.70:
        return f"{step.left} {'minus' if step.minus else 'plus'} {step.right} is ", step.result
    if form < 0.85:
        return _digit_sum(rng)
    ten = Step(left=rng.randint(11, 69), right=10, minus=rng.random() < 0.5)
    return f"from {ten.left} {'down' if ten.minus else 'up'} 10 to ", ten.result


def _digit_sum(rng: random.Random) -> tuple[str, int]:
    first, second = rng.randint(0, 9), rng.randint(2, 9)
    if rng.random() < 0.5:
        return f"{first} and {second} make ", first + second
    high = first if first >= second else first + 10
    return f"{high} less {second} leaves ", high - second


def _word_line(rng: random.Random) -> list[tuple[str, float]]:
    concept: Concept = rng.choice(CONCEPTS)
    index = rng.randrange(len(concept.forms))
    word, form = concept.forms[index], FORM_NAMES[concept.kind][index]
    items = [concept.color, concept.place, concept.food, form]
    rng.shuffle(items)
    if rng.random() < 0.7:
        return [(word, QUIET), (f": {', '.join(items)}\n", 1.0)]
    rest = f" is {concept.color}, at the {concept.place}, with {concept.food}, {form}\n"
    return [(f"the {word}", QUIET), (rest, 1.0)]


def _story(rng: random.Random) -> str:
    name, friend = rng.sample(NAMES, 2)
    nouns = rng.sample(concepts_of("noun"), 6)
    lines = [f"{name} and {friend} went to the {nouns[0].place}."]
    lines += [_story_line(rng, name, friend, noun) for noun in nouns[1:]]
    return " ".join(lines)


def _story_line(rng: random.Random, name: str, friend: str, noun: Concept) -> str:
    thing, verb = noun.forms[0], rng.choice(concepts_of("verb")).forms[1]
    adjective = rng.choice(concepts_of("antonym")).forms[rng.randrange(2)]
    return rng.choice(
        (
            f"{name} {verb} near the {noun.color} {thing}.",
            f"The {thing} was {adjective} and {noun.color}.",
            f"{friend} had {noun.food} at the {noun.place}.",
            f"Wait for the {thing}, said {name}.",
            f"But the {thing} was {adjective}.",
            f"However, {friend} {verb} at the {noun.place}.",
            f"Alternatively, they {verb} with the {thing}.",
            f"Therefore {name} {verb} for the {noun.food}.",
            f"Thus the {thing} stayed at the {noun.place}.",
            f"So {friend} {verb} again.",
            f"Then {name} saw a {adjective} {thing}.",
        )
    )
