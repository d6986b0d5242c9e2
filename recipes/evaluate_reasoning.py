"""Do models answer rightly, how long do they think, and what do edits of their streams change of that?

    python recipes/evaluate_reasoning.py
    python recipes/evaluate_reasoning.py --arms distilled "distilled + steer 623 0.05" "distilled + ablate 623" hybrid
    python recipes/evaluate_reasoning.py --pair qwen-1.5b --problems math-500 --n-problems 500 --samples 4

Every arm, a model as it is or under edits, answers the same problems with the same random seeds. Of each the page says
how many answers are right, how long it thinks and how often it hesitates, and how that differs from the first arm. It
also stops each thought after 2, 4, 8, ... tokens and asks for the answer: how much thought do right answers take?

On the embedded pair, in two minutes on two cores: distilled is right on 71 % of problems. Base and control say no
answer where they are asked alike, as they never saw <think>; asked plainly for a worked solution, they are right on 61
and 62 %, and on 160 problems neither difference shows (adjusted p .07). Of distilled's answers 23 % are right after 40
tokens of thought, and 66 % after 80. Latent 623, added, makes thoughts a fifth longer, more than three random
directions do, and costs 21 points of accuracy: .71 becomes .50.

Every answer is kept in answers.jsonl: a stopped run goes on from there, and a run with more arms or problems answers
only those that are missing. As in open-r1, answers are sampled at temperature .6 and top_p .95, and models other than
the embedded pair are asked to box their answers; beside accuracy this tells how many answers the limit of tokens cut.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.examine import publish
from toolkit.experiments.reasoning_evaluation import ReasoningEvaluationConfig

if __name__ == "__main__":
    run_recipe(publish, ReasoningEvaluationConfig, again="continue")
