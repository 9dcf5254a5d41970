"""`python -m tools.check`: print every violation of the house rules; exit 1 if there is one."""

from __future__ import annotations

import sys
from pathlib import Path

from tools import docs_rules, performance, reference, source_rules, tree_rules

__all__ = ["RULES"]

RULES = (
    *source_rules.RULES,
    *tree_rules.RULES,
    *docs_rules.RULES,
    *performance.RULES,
    *reference.RULES,
)


def main(root: Path) -> int:
    """Run every rule over ``root`` and return the exit code."""
    broken = 0
    for rule in RULES:
        violations = rule(root)
        broken += bool(violations)
        for violation in violations:
            print(f"{violation} [{rule.__name__}]")
    print(f"House rules: {len(RULES) - broken} kept, {broken} broken.")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1]))
