"""Documents of numbered words."""

import random
from collections.abc import Callable

import pytest
from datasets import Dataset, IterableDataset


@pytest.fixture
def make_documents() -> Callable[..., IterableDataset]:
    """`count` documents of 3 to 12 random words each, in one file or several."""

    def make(count: int, files: int = 1) -> IterableDataset:
        rng = random.Random(0)
        texts = [" ".join(f"w{rng.randrange(40)}" for _ in range(rng.randint(3, 12))) for _ in range(count)]
        return Dataset.from_dict({"text": texts}).to_iterable_dataset(num_shards=files)

    return make
