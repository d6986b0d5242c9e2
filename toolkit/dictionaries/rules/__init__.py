"""The table of sparsity rules: their names, and what settings must know of them. It imports nothing heavy.

All else that makes a rule is in the module of its name beside this file. A new rule is a module and a row here.
"""

from typing import Literal

Sparsity = Literal["l1", "topk", "batchtopk", "jumprelu"]

RULES: dict[str, Literal["k", "sparsity_coefficient"]] = {
    "l1": "sparsity_coefficient",
    "topk": "k",
    "batchtopk": "k",
    "jumprelu": "sparsity_coefficient",
}
"""The setting that decides how sparse each rule's codes are; it ignores the other one."""


def check_rule(sparsity: str) -> None:
    """Raise `ValueError` for a sparsity rule that is not in the table."""
    if sparsity not in RULES:
        raise ValueError(f"sparsity {sparsity!r:.60} is no rule known here: give {', '.join(RULES)}")
