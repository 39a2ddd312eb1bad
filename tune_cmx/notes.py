"""Say together what an audit said of many models alike."""

import re
from collections.abc import Sequence


def together(warnings: Sequence[tuple[str, str]]) -> list[str]:
    """Warnings that differ in stage and share alone, as one each.

    Args:
        warnings: Arm and what the audit said of it.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for arm, text in warnings:
        groups.setdefault(re.sub(r"\d+%", "%", re.sub(r"stage \d", "stage", text)), []).append((arm, text))
    lines = []
    for members in groups.values():
        texts = [text for _, text in members]
        stages = sorted({stage for text in texts for stage in re.findall(r"stage (\d)", text)})
        shares = sorted(int(share) for text in texts for share in re.findall(r"(\d+)%", text))
        line = re.sub(r"stage \d", f"stage {'+'.join(stages)}", texts[0])
        if shares and shares[0] != shares[-1]:
            line = re.sub(r"\d+%", f"{shares[0]} to {shares[-1]}%", line)
        arms = dict.fromkeys(arm for arm, _ in members)
        lines.append(f"{line} ({next(iter(arms)) if len(arms) == 1 else f'{len(arms)} arms'})")
    return lines
