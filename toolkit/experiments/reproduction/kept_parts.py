"""Finished parts of long work, each saved with a record of what it was made of, so that the next call can reuse it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.artifacts import read_sealed, write_sealed
from toolkit.reports.files import read_findings, stored
from toolkit.reports.findings import Findings


@dataclass(frozen=True, kw_only=True)
class KeptPart:
    """A file that holds one part's findings."""

    path: Path
    made_of: Mapping[str, Any]
    """Settings, models, crosscoder, text, versions: whatever decides what the part finds; as `json.dumps` takes it."""

    @classmethod
    def of(cls, folder: Path, name: str, made_of: Mapping[str, Any]) -> "KeptPart":
        """The part of that name in `folder`."""
        stem = re.sub(r"[^\w-]+", "-", name)
        return cls(path=folder / f"{stem}.json", made_of=json.loads(json.dumps(made_of, sort_keys=True, default=str)))

    def save(self, findings: Findings) -> Findings:
        """Write the file in one move; returns what `load` will give, whose figures are drawn once and for all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"made_of": self.made_of, "findings": stored(findings)}
        write_sealed(self.path, content)
        return read_findings(content["findings"])

    def load(self) -> tuple[Findings | None, str]:
        """The findings, or why they must be found again; no reason where there is no file."""
        if not self.path.exists():
            return None, ""
        try:
            content = read_sealed(self.path)
            if changed := _differences(content["made_of"], self.made_of):
                return None, f"{self.path} was made with other {', '.join(changed)}"
            return read_findings(content["findings"]), ""
        except (ValueError, KeyError) as error:
            return None, f"{self.path} cannot be used ({error})"


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names of what differs, those of inner mappings after a dot."""
    names: list[str] = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            names.append(f"{prefix}{key}")
    return names
