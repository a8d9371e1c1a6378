"""Which members are one row: those that were trained alike but for their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnctl import catalog
from rnnctl.config import RunConfig, Settings, option_of
from rnnctl.errors import UsageError
from rnnctl.results.base import Warning_
from rnnctl.results.comparison import DiagnosedOn, Member
from rnnctl.wording import first_few

INIT_ORDER = {"torch": 0, "good": 1, "chrono": 2}
Groups = dict[str, list[Member]]

_NOT_LEARNT = {
    "sources", "split_seed", "encoding", "text_field", "label_field",  # the fingerprint tells
    "task", "cell", "init", "hidden_size", "embedding_size", "num_layers", "level", "lr",  # Member
    "seed", "threads", "workers", "device", "engine", "checkpoint_every_s", "keep_text",
    "snapshots",
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


def group(
    members: Sequence[Member],
    warnings: list[Warning_],
    labels: Mapping[str, str] | None = None,
) -> Groups:
    """Members that differ in nothing but their seed, under names that tell the groups apart.

    A seed that comes twice is left out with a warning. `labels`: names of groups that somebody
    chose, by the path of any member. UsageError where one group has two, or two groups one.
    """
    found: dict[tuple[object, ...], list[Member]] = {}
    for member in sorted(members, key=_order):
        alike = found.setdefault(_identity(member), [])
        # The same seed again is no further draw: it would make the interval narrower for nothing.
        if any(other.seed == member.seed for other in alike):
            text = (
                f"{member.path} has the same seed ({member.seed}) as another run of its row, "
                "and is left out"
            )
            warnings.append(Warning_(code="SEED_TWICE", text=text))
        else:
            alike.append(member)
    by_name: dict[str, list[list[Member]]] = {}
    for alike in found.values():
        by_name.setdefault(_name(alike[0]), []).append(alike)
    usual = {
        name: alike
        for plain, groups in by_name.items()
        for name, alike in zip(_full_names(plain, groups), groups, strict=True)
    }
    return {_chosen(name, alike, labels, usual): alike for name, alike in usual.items()}


def _chosen(
    name: str, alike: Sequence[Member], labels: Mapping[str, str] | None, usual: Groups
) -> str:
    """The name that somebody chose for a group, or its usual one."""
    given = labels or {}
    found = list(dict.fromkeys(given[one.path] for one in alike if one.path in given))
    if not found:
        return name
    groups = [n for n, some in usual.items() if any(given.get(m.path) == found[0] for m in some)]
    others = set(usual) - set(groups)
    if len(found) > 1 or len(groups) > 1 or found[0] in others:
        raise UsageError(
            f"--label: the row {name!r} cannot be called {' and '.join(found)}",
            hint="runs that differ only in their seed form one row; give each row its own name",
        )
    return found[0]


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


# Which members can be held against each other: trained alike but for the cell, measured alike.

CLOSE_SIZE = 0.05
"""So far may the recurrent parameters of two cells lie apart that are called equal in size."""
# Hidden sizes are whole numbers, so small layers cannot be matched exactly; a training ends with
# the step in which its time is over; and how far is measured depends on the texts' lengths.
CLOSE_TIME = 0.1
CLOSE_DISTANCE = 0.1

_OF_THE_CELL = {"hidden-size", "lr", "nonlinearity"}
"""What a fair comparison gives each cell for itself; of sizes see `_matched`."""
_TOKENS = ("level", "vocab-size", "min-count", "words")


def trained_apart(
    first: Sequence[Member], second: Sequence[Member], *, any_size: bool = False
) -> str:
    """``trained differently: level, steps``; "" where two groups differ in what is theirs only.

    One of what `--match` offers must be equal: recurrent parameters, hidden size or training time;
    with `any_size` none need be.
    """
    a, b = settings(first[0]), settings(second[0])
    # The horizon is an option of chrono alone, and initial weights may differ.
    ignored = _OF_THE_CELL | ({"horizon"} if first[0].init != second[0].init else set())
    names = dict.fromkeys((*a, *b))
    apart = [name for name in names if name not in ignored and a.get(name) != b.get(name)]
    if not any_size and not _matched(first, second):
        apart.append("hidden-size")
    return f"trained differently: {first_few(apart)}" if apart else ""


def _matched(first: Sequence[Member], second: Sequence[Member]) -> bool:
    a, b = first[0], second[0]
    if a.hidden_size == b.hidden_size:
        return True
    if _is_close(a.recurrent_parameters, b.recurrent_parameters, CLOSE_SIZE):
        return True
    budgets = a.recipe.get("budget"), b.recipe.get("budget")
    return None not in budgets and budgets[0] == budgets[1] and _equal_times(first, second)


def _equal_times(first: Sequence[Member], second: Sequence[Member]) -> bool:
    took = [
        [one.train_seconds for one in side if one.train_seconds is not None]
        for side in (first, second)
    ]
    if not all(took):
        return False
    means = [sum(side) / len(side) for side in took]
    return _is_close(means[0], means[1], CLOSE_TIME)


def _is_close(a: float, b: float, share: float) -> bool:
    return abs(a - b) <= share * max(a, b)


def measured_apart(first: Sequence[Member], second: Sequence[Member]) -> str:
    """``measured on different texts`` where the horizons of two groups are; else ""."""
    texts = {one.diagnosed.text for one in (*first, *second) if one.diagnosed is not None}
    return "measured on different texts" if len(texts) > 1 else ""


def tokens(member: Member) -> tuple[str | None, ...]:
    """What decides on the tokens that a member reads."""
    found = settings(member)
    return tuple(found.get(name) for name in _TOKENS)


def different_tokens(members: Sequence[Member]) -> str:
    """``level=char; level=word``; "" where all members read the same tokens."""
    kinds = sorted({tokens(member) for member in members}, key=str)
    apart = [k for k in range(len(_TOKENS)) if len({kind[k] for kind in kinds}) > 1]
    each = [" ".join(f"{_TOKENS[k]}={kind[k]}" for k in apart if kind[k]) for kind in kinds]
    return "; ".join(each) if apart else ""


def diagnosed_apart(members: Sequence[Member]) -> list[Warning_]:
    """A warning that names the members whose memory was not measured alike, if there are such."""
    ways: dict[str, list[Member]] = {}
    for member in members:
        if member.diagnosed is not None:
            ways.setdefault(_way(member.diagnosed), []).append(member)
    known = [member for member in members if member.diagnosed is not None]
    # By what was measured and not by the words for it, in which near distances look different.
    if not any(_differ(known[0], other) for other in known[1:]):
        return []
    each = "; ".join(
        f"{first_few([one.path for one in alike], 3)} on {way}" for way, alike in ways.items()
    )
    text = f"the memory of the runs was not measured in the same way: {each}"
    return [Warning_(code="MEASURED_APART", text=text)]


def _differ(one: Member, other: Member) -> bool:
    a, b = one.diagnosed, other.diagnosed
    assert a is not None and b is not None
    if (a.text, a.preset, a.seed) != (b.text, b.preset, b.seed):
        return True
    # How far was measured is counted in words: other tokens reach another number of these.
    if a.longest is None or b.longest is None or tokens(one) != tokens(other):
        return False
    return not _is_close(a.longest, b.longest, CLOSE_DISTANCE)


def _way(how: DiagnosedOn) -> str:
    text = f"text {how.text[:8] or 'unknown'}, preset {how.preset or 'unknown'}"
    seed = f", seed {how.seed}" if how.seed else ""
    return text + seed + (f", up to {how.longest:.3g} {how.unit}" if how.longest else "")
