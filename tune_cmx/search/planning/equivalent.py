"""Arms that are one function under two names: a factor without effect, and noise where a report would see a gain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tune_cmx.config.arms import differing
from tune_cmx.config.parse import dump
from tune_cmx.config.study import Study
from tune_cmx.config.trial import StageFusion, TrialConfig
from tune_cmx.models.fusion import Truth, build_fusion, check_options
from tune_cmx.models.streams import stream_shape

_BATCH, _SIDE = 8, 4
"""Of the maps that a fusion is given."""
_SHADOWS = 4
"""Numbers that stand for a map."""
_TOLERANCE = 1e-9
"""Between outputs in float64, as a fraction: what another order of the same additions changes is less."""

Fingerprint = tuple[float, ...]


@dataclass(frozen=True)
class Candidate:
    """An arm, or an end of a range in a search whose arms are not all known yet."""

    id: str | None
    """None: an end of a range, which is no arm of its own."""
    label: str
    config: TrialConfig


@dataclass(frozen=True)
class Equivalent:
    """Arms that are the same function with the same parameters."""

    arms: tuple[Candidate, ...]
    factors: tuple[str, ...]
    """The fields, by dotted path, in which they differ all the same."""

    def __str__(self) -> str:
        names = [path.rpartition(".")[2] for path in self.factors]
        first, second = self.arms[:2]
        more = f" (and {len(self.arms) - 2} more)" if self.arms[2:] else ""
        have = "has" if len(names) == 1 else "have"
        return (
            f"{' and '.join(names)} {have} no effect: '{first.label}' and '{second.label}'{more} are the same function "
            "with the same parameters; a difference between them is run-to-run noise"
        )


def find_equivalent(study: Study) -> list[Equivalent]:
    """Groups of arms that differ in their fusions' names or options alone, and there in nothing that has an effect.

    Two are alike if the fusions at each stage are: as many parameters, and the same output from the same seed.
    """
    candidates = [Candidate(arm.id, arm.label, arm.config) for arm in study.arms.values()]
    candidates += [Candidate(None, place, config) for place, config in study.range_ends()]
    prints = _Fingerprints()
    alike: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        alike.setdefault(_apart_from_fusions(candidate.config), []).append(candidate)
    return [
        Equivalent(tuple(group), _factors(group))
        for some in alike.values()
        if len(some) > 1
        for group in _groups([(candidate, prints.of(candidate.config)) for candidate in some])
    ]


def equivalent_ids(equivalent: Sequence[Equivalent]) -> list[list[str]]:
    """As `study.json` has them: the ids of the arms of each group."""
    ids = [[arm.id for arm in group.arms if arm.id is not None] for group in equivalent]
    return [group for group in ids if len(group) > 1]


def equivalent_texts(equivalent: Sequence[Equivalent]) -> list[str]:
    """A sentence for each factor without effect: the first of its groups, and the number of all."""
    by_factors: dict[tuple[str, ...], list[Equivalent]] = {}
    for group in equivalent:
        by_factors.setdefault(group.factors, []).append(group)
    return [
        str(alike[0]) + (f" (one of {len(alike)} such groups)" if alike[1:] else "") for alike in by_factors.values()
    ]


class _Fingerprints:
    """What fusions make of noise; each fusion is tried once."""

    def __init__(self) -> None:
        self._known: dict[str, Fingerprint] = {}

    def of(self, config: TrialConfig) -> tuple[Fingerprint, ...]:
        """Of the fusion at each stage; none where there is one stream."""
        model = config.model
        if len(model.stream_modalities()) == 1:
            return ()
        shape = stream_shape(model.backbone)
        return tuple(self._of(*at) for at in zip(model.fusion.stage_fusions(), shape.widths, shape.heads, strict=True))

    def _of(self, fusion: StageFusion, channels: int, heads: int) -> Fingerprint:
        key = f"{channels} {heads} {fusion.kind} {check_options(fusion.kind, fusion.options)!r}"
        if key not in self._known:
            self._known[key] = _fingerprint(fusion, channels, heads)
        return self._known[key]


def _fingerprint(fusion: StageFusion, channels: int, heads: int) -> Fingerprint:
    """Outputs in evaluation mode, then in training mode with the same random numbers, and what flows back from those
    to the inputs, in a few numbers: two gates may be one function, and yet learn in two ways.

    All parameters are moved by noise, in their order, and the channels' means lie apart: so a branch that starts at
    zero shows, and a gate that hardly ever opens at the start does.
    """
    noise = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=noise, dtype=torch.float64)

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        built = build_fusion(fusion.kind, channels, fusion.options, heads=heads).double()
        weights = list(built.parameters())
        counts = [weight.numel() for weight in weights]
        for weight, move in zip(weights, torch.split(drawn(sum(counts)), counts), strict=True):
            weight.data.add_(move.view_as(weight) / max(weight[0].numel(), 4) ** 0.5)
        maps = [drawn(_BATCH, channels, _SIDE, _SIDE) + 3 * drawn(_BATCH, channels, 1, 1) for _ in range(2)]
        maps = [map_BCHW.requires_grad_() for map_BCHW in maps]
        seen = [torch.tensor([sum(counts)])]
        for training in (False, True):
            torch.default_generator.manual_seed(0)
            output = built.train(training)(*maps, truth=_truth() if training else None)
            found = [_shadows(map_BCHW) for map_BCHW in (output.rgb_BCHW, output.aux_BCHW, output.fused_BCHW)]
            found += [loss[None] for loss in output.losses.values()]
            seen += found
        back = torch.autograd.grad(torch.cat(found).sum(), maps, materialize_grads=True)
        seen += [_shadows(map_BCHW) for map_BCHW in back]
    return tuple(number for numbers in seen for number in numbers.tolist())


def _truth() -> Truth:
    """One object in each image, over the middle of the maps: what a loss makes of it is a part of the function."""
    box = torch.tensor([[_SIDE / 4, _SIDE / 4, _SIDE * 3 / 4, _SIDE * 3 / 4]])
    return Truth.of([box] * _BATCH, _SIDE, _SIDE)


def _shadows(map_BCHW: Tensor) -> Tensor:
    """Weighted sums of a map's values; the weights depend on its size alone."""
    noise = torch.Generator().manual_seed(1)
    weights = torch.randn(_SHADOWS, map_BCHW.numel(), generator=noise, dtype=map_BCHW.dtype)
    return weights @ map_BCHW.flatten()


def _apart_from_fusions(config: TrialConfig) -> str:
    content = dump(config.placeless())
    del content["seed"], content["report_split"], content["model"]["fusion"]
    content["schedule"].pop("preset")
    if len(config.model.stream_modalities()) == 1:
        del content["model"]["carry"]  # there is nothing to carry on but the one map
    return str(content)


def _groups(printed: Sequence[tuple[Candidate, tuple[Fingerprint, ...]]]) -> Iterator[list[Candidate]]:
    """Two or more that agree at every stage, no configuration twice."""
    groups: list[tuple[tuple[Fingerprint, ...], list[Candidate]]] = []
    for candidate, prints in printed:
        group = next((group for known, group in groups if all(map(_agree, known, prints))), None)
        if group is None:
            groups.append((prints, [candidate]))
        elif all(differing(other.config, candidate.config) for other in group):
            group.append(candidate)
    yield from (group for _, group in groups if len(group) > 1)


def _agree(first: Fingerprint, second: Fingerprint) -> bool:
    return len(first) == len(second) and all(
        abs(one - other) <= _TOLERANCE * max(abs(one), abs(other), 1.0)
        for one, other in zip(first, second, strict=True)
    )


def _factors(group: Sequence[Candidate]) -> tuple[str, ...]:
    first, *others = group
    return tuple(dict.fromkeys(path for other in others for path in differing(first.config, other.config)))
