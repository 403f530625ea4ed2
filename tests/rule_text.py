"""The rules of the workflow as text: the names in each of their directives."""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from empty_study import ROOT

RULES = ROOT / "workflow" / "rules"
RULE_FILES = sorted(RULES.glob("*.smk"))


@dataclass(frozen=True)
class Rule:
    """A rule: its docstring, and the text of each directive, also of those that it inherits."""

    name: str
    docstring: str
    directives: dict[str, str]

    def names(self, directive: str) -> set[str]:
        """Names of the keyword arguments of a directive."""
        return set(re.findall(r"^        (\w+)=", self.directives.get(directive, ""), re.MULTILINE))

    def function(self) -> Callable[..., None]:
        """What `workflow/scripts/run_stage.py` calls for it."""
        stage, _, part = self.name.partition("_")
        module = importlib.import_module(f"cytopipe.{stage}")
        called: Callable[..., None] = getattr(module, f"run_{part}".rstrip("_"))
        return called


def _read() -> dict[str, Rule]:
    """All rules but `job`, from which they inherit."""
    start = re.compile(r"^(?:use rule (\w+) as (\w+) with|rule (\w+)):\n", re.MULTILINE)
    own: dict[str, tuple[str, str, dict[str, str]]] = {}
    for path in RULE_FILES:
        text = path.read_text()
        starts = [*start.finditer(text)]
        ends = [*(match.start() for match in starts[1:]), len(text)]
        for match, end in zip(starts, ends):
            base, derived, plain = match.groups()
            parts = re.split(r"^    (\w+):", text[match.end() : end], flags=re.MULTILINE)
            directives = dict(zip(parts[1::2], parts[2::2], strict=True))
            own[derived or plain] = (base, parts[0].strip(), directives)

    def inherited(name: str) -> dict[str, str]:
        base, _, directives = own[name]
        of_base = inherited(base) if base else {}
        # Snakemake adds params to those that are inherited; all else takes their place
        params = of_base.get("params", "") + directives.get("params", "")
        return of_base | directives | {"params": params}

    return {name: Rule(name, own[name][1], inherited(name)) for name in own if name != "job"}


ALL = _read()
