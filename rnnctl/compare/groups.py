"""Which members are one row: those that were trained alike but for their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnctl import catalog
from rnnctl.config import RunConfig, Settings, option_of
from rnnctl.results.base import Warning_
from rnnctl.results.comparison import Member

INIT_ORDER = {"torch": 0, "good": 1, "chrono": 2}
Groups = dict[str, list[Member]]

_NOT_LEARNT = {
    "sources", "split_seed", "encoding", "text_field", "label_field",  # the fingerprint tells
    "task", "cell", "init", "hidden_size", "embedding_size", "num_layers", "level", "lr",  # Member
    "seed", "threads", "workers", "device", "engine", "checkpoint_every_s", "keep_text",
    "schema_version",
}  # fmt: skip
"""Settings that `recipe` leaves out: they do not change what is learnt, or stand in the member."""
_MOST_NAMED = 3


def recipe(config: RunConfig) -> dict[str, str]:
    """Settings beside cell, size and rate that decide on what is learnt, as options of `train`."""
    parts: tuple[Settings, ...] = (config.corpus, config.tokenizer, config.model, config.training)
    found = {
        option_of(name).removeprefix("--"): value
        for part in parts
        for name, value in part
        if name not in _NOT_LEARNT and value is not None
    }
    if "from" in found:
        found["from"] = True  # whichever run it was: each seed may go on from one of its own
    return {name: _text(value) for name, value in found.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def group(members: Sequence[Member], warnings: list[Warning_]) -> Groups:
    """Members that differ in nothing but their seed, under names that tell the groups apart.

    A seed that comes twice is left out with a warning.
    """
    found: dict[tuple[object, ...], list[Member]] = {}
    for member in sorted(members, key=_order):
        alike = found.setdefault(_identity(member), [])
        if any(other.seed == member.seed for other in alike):
            text = f"{member.path} repeats seed {member.seed} and is left out"
            warnings.append(Warning_(code="SEED_TWICE", text=text))
        else:
            alike.append(member)
    by_name: dict[str, list[list[Member]]] = {}
    for alike in found.values():
        by_name.setdefault(_name(alike[0]), []).append(alike)
    return {
        name: alike
        for plain, groups in by_name.items()
        for name, alike in zip(_full_names(plain, groups), groups, strict=True)
    }


def _order(member: Member) -> tuple[object, ...]:
    known = catalog.names("cell")
    place = known.index(member.cell) if member.cell in known else len(known)
    return (
        member.untrained, place, member.cell, INIT_ORDER.get(member.init, 9),
        member.hidden_size, member.lr, sorted(member.recipe.items()), member.seed,
    )  # fmt: skip


def _identity(member: Member) -> tuple[object, ...]:
    return member.cell, member.init, member.untrained, *sorted(settings(member).items())


def settings(member: Member) -> Mapping[str, str]:
    """What decides on what a member learns, beside its cell, initial weights and seed."""
    return {
        "level": member.level,
        "hidden-size": str(member.hidden_size),
        "embedding-size": str(member.embedding_size),
        "layers": str(member.layers),
        "lr": f"{member.lr:.10g}",
        **member.recipe,
    }


def _name(member: Member) -> str:
    return f"untrained {member.cell}" if member.untrained else f"{member.cell} {member.init}"


def _full_names(plain: str, groups: Sequence[Sequence[Member]]) -> list[str]:
    """`plain` with what the groups of that name differ in; numbered where that is too long."""
    each = [settings(members[0]) for members in groups]
    names = dict.fromkeys(name for one in each for name in one)
    differing = [name for name in names if len({one.get(name) for one in each}) > 1]
    shown = differing[:_MOST_NAMED]
    full = [
        " ".join([plain, *(f"{name}={one[name]}" for name in shown if name in one)]) for one in each
    ]
    return [
        name if full.count(name) == 1 else f"{name} #{full[:k].count(name) + 1}"
        for k, name in enumerate(full)
    ]
