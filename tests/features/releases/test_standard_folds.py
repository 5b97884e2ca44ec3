from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import features.releases.standard_folds
from features.releases.standard_folds import fold_of

FOLDER = Path(features.releases.standard_folds.__file__).parent


def test_the_folds_of_mosei_have_their_published_sizes_and_share_no_video() -> None:
    assert Counter(fold_of("cmu_mosei").values()) == {"train": 2249, "valid": 300, "test": 678}
    n_lines = sum(len(path.read_text().splitlines()) for path in FOLDER.glob("cmu_mosei/*.txt"))
    assert n_lines == len(fold_of("cmu_mosei")) == 3227


def test_the_folds_of_mosei_are_the_published_ones(real: Path) -> None:
    published = json.loads((real / "mosei" / "standard_folds.json").read_bytes())
    assert fold_of("cmu_mosei") == {name: fold for fold, names in published.items() for name in names}
