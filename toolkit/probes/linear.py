"""Directions that are fitted to a label: how well activations tell it where nobody asks for a sparse code."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor

PENALTY = 0.1
"""Inverse strength of the logistic probe's ridge penalty, on standardised activations."""
STEPS = 300


def linear_probe(x: Float[Tensor, "token width"], wanted: Bool[Tensor, " token"]) -> Float[Tensor, " width"]:
    """Return the direction of a logistic regression that tells the wanted tokens from the rest; project on it.

    Raises `ValueError` unless there are both wanted and other tokens.
    """
    spread = x.std(dim=0).clamp_min(torch.finfo(x.dtype).tiny)
    standard = ((x - x.mean(dim=0)) / spread).cpu().numpy()
    probe = LogisticRegression(C=PENALTY, max_iter=STEPS).fit(standard, wanted.cpu().numpy())
    return torch.from_numpy(np.asarray(probe.coef_[0])).to(x) / spread


def mean_difference(x: Float[Tensor, "token width"], wanted: Bool[Tensor, " token"]) -> Float[Tensor, " width"]:
    """Return the mean of the wanted tokens less that of the others."""
    wanted = wanted.to(x.device)
    return x[wanted].mean(dim=0) - x[~wanted].mean(dim=0)
