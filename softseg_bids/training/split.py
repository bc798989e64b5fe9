"""Who is trained on, who stops the training, who is kept for the end: by participant and site.

A network that has seen a scanner knows it, and one that has seen a person knows that cord. So a site is on
one side only, and a person, too; who was scanned at several sites ties these together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from softseg_bids.image.volume import DataError

SIDES = ("train", "validation", "test")
# Shares of the participants that are not trained on.
SHARES = {"validation": 0.15, "test": 0.15}


class Person(NamedTuple):
    """A participant at a site: ``person`` ties several to one body, ``site`` may be unknown (empty).

    A participant scanned at several sites is several of these.
    """

    dataset: str
    participant: str
    person: str
    site: str


def split(people: Sequence[Person], seed: int, within_site: bool = False) -> dict[Person, str]:
    """Give each participant a side; whole sites together, unless sites are to be divided.

    Sites that share a person are one group. Groups come in random order: those that make up about 15 % of
    the participants become validation, then test (where three groups or more are there), the rest is
    trained on.

    Raises
    ------
    DataError
        If there are fewer than two groups to be divided.
    """
    groups = _tied(people, within_site)
    if len(groups) < 2:
        raise DataError(_undivided(people, within_site))
    sizes = {name: _participants(group) for name, group in groups.items()}
    rng = np.random.default_rng(seed)
    order = sorted(groups)
    order = [order[i] for i in rng.permutation(len(order))]
    sides = SIDES[1:] if len(groups) > 2 else SIDES[1:2]
    given: dict[Person, str] = {}
    for side in sides:
        wanted, got = SHARES[side] * _participants(people), 0
        # At least one group is left to train on and one for each side to come.
        while got < wanted and len(order) > len(sides) - sides.index(side):
            # A large site is worth more to training: at most twice what is wanted.
            fitting = [name for name in order if got + sizes[name] <= 2 * wanted]
            if not fitting and got:
                break
            name = fitting[0] if fitting else min(order, key=lambda name: sizes[name])
            order.remove(name)
            given |= dict.fromkeys(groups[name], side)
            got += sizes[name]
    given |= {person: "train" for name in order for person in groups[name]}
    return given


def check(
    rows: Iterable[Mapping[str, str | None]], people: Sequence[Person], within_site: bool
) -> dict[Person, str]:
    """The sides that a table gives.

    Parameters
    ----------
    rows : iterable of mapping
        ``dataset participant_id split``.
    people : sequence of Person
        Who is to be divided.
    within_site : bool
        Whether sites may be on both sides.

    Raises
    ------
    DataError
        If somebody is missing or has no known side, nobody is trained on or validated with, or a person
        or site is on two sides.
    """
    sides = {
        (row.get("dataset"), (row.get("participant_id") or "").removeprefix("sub-")): row for row in rows
    }
    found: dict[Person, str] = {}
    for person in people:
        side = (sides.get((person.dataset, person.participant)) or {}).get("split")
        if side not in SIDES:
            raise DataError(
                f"the split gives sub-{person.participant} of {person.dataset} {side or 'no side'}; "
                f"it must be one of {', '.join(SIDES)}"
            )
        found[person] = side
    for side in SIDES[:2]:
        if side not in found.values():
            raise DataError(f"the split has nobody for {side}")
    for what in ("person", "site"):
        if what == "site" and within_site:
            continue
        where: dict[str, set[str]] = defaultdict(set)
        for person, side in found.items():
            where[getattr(person, what)].add(side)
        both = {name: on for name, on in where.items() if len(on) > 1 and name}
        if both:
            name, on = sorted(both.items())[0]
            hint = "" if what == "person" else ", or allow it by --within-site"
            raise DataError(
                f"the split has {what} {name} on {len(on)} sides ({', '.join(sorted(on))}); mend it{hint}"
            )
    return found


def _tied(people: Sequence[Person], within_site: bool) -> dict[str, list[Person]]:
    """Who must be on one side: those that a chain of shared persons (and sites) connects.

    A group is named by the first of its sites, or of its persons.
    """
    parts: list[tuple[set[tuple[str, ...]], list[Person]]] = []
    for one in people:
        marks: set[tuple[str, ...]] = {("person", one.person), ("participant", one.dataset, one.participant)}
        if not within_site:
            marks.add(("site", one.site))
        members, apart = [one], []
        for part in parts:
            if part[0] & marks:
                marks |= part[0]
                members = part[1] + members
            else:
                apart.append(part)
        parts = [*apart, (marks, members)]
    return {min(one.person if within_site else one.site for one in members): members for _, members in parts}


def _participants(people: Iterable[Person]) -> int:
    return len({(one.dataset, one.participant) for one in people})


def _undivided(people: Sequence[Person], within_site: bool) -> str:
    if within_site:
        return "all participants are of one person; a split needs two"
    sites = sorted({one.site or "unknown" for one in people})
    remedy = "name the column of sites (--site-column), or say --within-site"
    if len(sites) > 1:
        return (
            f"the sites {', '.join(sites)} cannot be on different sides, because persons were scanned at "
            "several of them; add others, or say --within-site"
        )
    return f"all participants are of one site ({''.join(sites) or 'unknown'}); a split needs two: {remedy}"
