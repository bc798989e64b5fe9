"""Simulated studies of known truth: how often the 95 % intervals of the group level hold it.

``python -m bench.studies [--studies 200] [--write docs/statistics.md]``: one row a statistic. Each study is
drawn anew from its own seed; of each, one estimate (one region, contrast, group) is looked at, so that
the studies are independent. 91 to 98 % of 200 is where 95 % may fall.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy import special

from bench.report import replace_part
from softseg_bids.stats.agreement import agreement
from softseg_bids.stats.centres import POOLED, centres, vendor_variation
from softseg_bids.stats.change import changes, slopes
from softseg_bids.stats.estimate import Interval
from softseg_bids.stats.groups import differences
from softseg_bids.stats.outliers import OTHER_CONTRASTS, outliers
from softseg_bids.stats.power import people_needed, sample_sizes
from softseg_bids.stats.reference import from_table, own_controls
from softseg_bids.stats.rescan import rescan
from softseg_bids.stats.variability import contrast_effects

SEED = 20240501
NAMES = ["T1w", "T2w", "T2starw", "MTon", "GRET1w"]
MEAN, PEOPLE_SD, BIAS_SD, NOISE_SD, SITE_SD = 72.0, 6.0, 1.5, 1.2, 2.5
MALE, AGE, PATIENT = 4.5, -0.05, -5.0
BAND = (0.91, 0.98)
# Statistic, study, truth, low, high.
Finding = tuple[str, str, float, float, float]
Rows = list[dict[str, Any]]


def pick(rows: Rows, **wanted: Any) -> dict[str, Any]:
    """The one row with these values."""
    [found] = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    return found


def finding(study: str, truth: float, row: dict[str, Any]) -> Finding:
    """What one row says of a truth."""
    return row["statistic"], study, truth, row["ci_low"], row["ci_high"]


def person(rng: Generator, n: int, *, patient: bool = False, site: str = "S") -> dict[str, Any]:
    """Someone with covariates and an own size; patients are older, so age confounds."""
    age = float(rng.uniform(20, 50) + 8 * patient)
    sex = "M" if rng.random() < 0.5 else "F"
    return {
        "participant_id": f"sub-{n}", "person_id": f"sub-{n}", "session_id": "", "age": age, "sex": sex,
        "group": "MS" if patient else "HC", "site": site, "manufacturer": "A", "region": "vert-C3",
        "contrast": "T2w", "csa_fit": "good", "flags": None, "source_image": f"{n}", "run": None, "acq": None,
        "ce": None, "rec": None, "_size": MEAN + MALE * (sex == "M") + AGE * (age - 35) + PATIENT * patient,
    }  # fmt: skip


def over_contrasts(rng: Generator) -> Iterator[Finding]:
    """30 people, five contrasts whose biases are drawn anew: variability, agreement, ICC."""
    bias = BIAS_SD * rng.normal(size=5)
    size = MEAN + PEOPLE_SD * rng.normal(size=30)
    area = size[:, None] + bias + NOISE_SD * rng.normal(size=(30, 5))
    rows = [
        {**person(rng, n), "contrast": name, "area_mm2": area[n, k], "area_binary_mm2": area[n, k]}
        for n in range(30)
        for k, name in enumerate(NAMES)
    ]
    frame = pd.DataFrame(rows)
    model = contrast_effects(frame, NAMES)
    study = "30 people, 5 contrasts"
    yield finding(study, MEAN + bias[0], pick(model, contrast="T1w", statistic="mean"))
    yield finding(study, bias[0] - bias.mean(), pick(model, contrast="T1w", statistic="bias"))
    yield finding(study, PEOPLE_SD, pick(model, statistic="sd_between_people"))
    yield finding(study, NOISE_SD, pick(model, statistic="sd_within_people"))
    share = PEOPLE_SD**2 / (PEOPLE_SD**2 + NOISE_SD**2)
    yield finding(study, share, pick(model, statistic="share_between_people"))
    found = agreement(frame, NAMES)
    pair = {"contrast": "T1w", "versus": "T2w"}
    spread = np.sqrt(2) * NOISE_SD
    yield finding(f"{study}, pair", bias[0] - bias[1], pick(found, **pair, statistic="bias"))
    for name, sign in (("limit_low", -1), ("limit_high", 1)):
        yield finding(study, bias[0] - bias[1] + sign * 1.96 * spread, pick(found, **pair, statistic=name))
    yield finding(study, spread, pick(found, **pair, statistic="sd_difference"))
    yield finding(study, 0.0, pick(found, **pair, statistic="slope"))
    second = PEOPLE_SD**2 / (PEOPLE_SD**2 + BIAS_SD**2 + NOISE_SD**2)
    yield finding(study, second, pick(found, statistic="icc_2_1"))
    yield finding(study, share, pick(found, statistic="icc_3_1"))


def unequal_contrasts(rng: Generator) -> Iterator[Finding]:
    """Contrasts of very different noise, a sixth of the images missing; few and many people."""
    for count in (8, 40):
        noise = np.array([0.5, 0.7, 1.0, 1.5, 3.0])
        rows = []
        for n in range(count):
            size = MEAN + PEOPLE_SD * rng.normal()
            rows += [
                {**person(rng, n), "contrast": name, "area_mm2": size + k + noise[k] * rng.normal()}
                for k, name in enumerate(NAMES)
                if rng.random() > 1 / 6
            ]
        row = pick(contrast_effects(pd.DataFrame(rows), NAMES), contrast="GRET1w", statistic="bias")
        yield finding(f"{count} people, unequal noise, gaps", 2.0, row)


def repeated(rng: Generator) -> Iterator[Finding]:
    """20 people scanned twice: scan-rescan, and the change of somebody else."""
    rows = []
    for n in range(20):
        size = MEAN + PEOPLE_SD * rng.normal()
        rows += [{**person(rng, n), "run": run, "area_mm2": size + NOISE_SD * rng.normal()} for run in "12"]
    found = rescan(pd.DataFrame(rows))
    study = "20 people twice"
    for name, truth in (
        ("sd_within", NOISE_SD), ("cov_within", 100 * NOISE_SD / MEAN),
        ("minimum_detectable_change", 1.96 * np.sqrt(2) * NOISE_SD),
    ):  # fmt: skip
        yield finding(study, truth, pick(found, statistic=name))
    needed = sample_sizes(pd.DataFrame(rows), pd.DataFrame(rows), ())
    mean = float(np.mean([row["area_mm2"] for row in rows]))
    truth = people_needed(0.02 * mean, np.sqrt(2) * NOISE_SD, groups=1)
    yield finding(study, truth, pick(needed, statistic="people_for_change", effect_percent=2.0))
    sd = pick(found, statistic="sd_within")
    known = {**person(rng, 99), "scanner": "A", "software": "1", "coverage": 1.0, "shift_error_mm": 0.5}
    areas = [MEAN - 2.0 * n + NOISE_SD * rng.normal() for n in range(2)]
    visits = pd.DataFrame(
        [
            {**known, "session_id": f"ses-{n}", "years": 2.0 * n, "area_mm2": area}
            for n, area in enumerate(areas)
        ]
    )
    [row] = changes(visits, {("vert-C3", "T2w"): Interval(sd["estimate"], df=sd["df"])})
    yield "change_mm2", "one person, noise from 20", -2.0, row["ci_low"], row["ci_high"]
    yield "annual_mm2", "one person, two years", -1.0, row["annual_ci_low"], row["annual_ci_high"]


def revisited(rng: Generator) -> Iterator[Finding]:
    """20 people in two sessions of three contrasts; and 12 sites of 12, whose noisy scans are repeated."""
    visit_sd, noise, own = 1.5, 6.0, 2.0
    rows = []
    for n in range(20):
        size = MEAN + PEOPLE_SD * rng.normal()
        for visit in "AB":
            there = size + visit_sd * rng.normal()
            rows += [
                {**person(rng, n), "session_id": visit, "contrast": name, "area_mm2": area}
                for name, area in zip(NAMES, there + NOISE_SD * rng.normal(size=3), strict=False)
            ]
    model, study = contrast_effects(pd.DataFrame(rows), NAMES), "20 people, 2 sessions, 3 contrasts"
    share = PEOPLE_SD**2 / (PEOPLE_SD**2 + NOISE_SD**2)
    for name, truth in (
        ("sd_between_people", PEOPLE_SD), ("sd_within_people", NOISE_SD), ("share_between_people", share),
    ):  # fmt: skip
        yield finding(study, truth, pick(model, statistic=name))
    shift = SITE_SD * rng.normal(size=12)
    rows = []
    for n in range(144):
        size = MEAN + shift[n % 12] + own * rng.normal()
        rows += [
            {**person(rng, n, site=f"S{n % 12:02d}"), "run": run, "area_mm2": size + noise * rng.normal()}
            for run in "12"
        ]
    found, study = centres(pd.DataFrame(rows), []), "12 sites of 12, twice, noisy"
    share = SITE_SD**2 / (SITE_SD**2 + own**2 + noise**2)
    for name, truth in (("sd_site", SITE_SD), ("sd_people", own), ("icc_site", share)):
        yield finding(study, truth, pick(found, statistic=name))


def grouped(rng: Generator) -> Iterator[Finding]:
    """Patients and controls: one site, patients more spread; and eight sites of unequal mixes."""
    rows = [person(rng, n, patient=n < 20) for n in range(70)]
    even = pd.DataFrame([{**row, "area_mm2": row["_size"] + PEOPLE_SD * rng.normal()} for row in rows])
    found = differences(even, "group", "HC")
    yield finding("50 + 20 people", PATIENT / PEOPLE_SD, pick(found, statistic="effect_size"))
    wide = pd.DataFrame(
        [
            {**row, "area_mm2": row["_size"] + PEOPLE_SD * (1 + 0.6 * (row["group"] == "MS")) * rng.normal()}
            for row in rows
        ]
    )
    row = pick(differences(wide, "group", "HC"), statistic="difference")
    yield finding("50 + 20 people, patients more spread", PATIENT, row)
    for sites, name in ((8, "8 sites, unequal mixes"), (3, "3 sites (fixed)")):
        shift = SITE_SD * rng.normal(size=sites)
        rows = []
        for n in range(12 * sites):
            site = n % sites
            each = person(rng, n, patient=rng.random() < 0.15 + 0.5 * site / sites, site=f"S{site}")
            rows.append({**each, "area_mm2": each["_size"] + shift[site] + PEOPLE_SD * rng.normal()})
        row = pick(differences(pd.DataFrame(rows), "group", "HC"), statistic="difference")
        yield finding(name, PATIENT, row)
    rows = []
    for n in range(60):
        each = person(rng, n, patient=n < 20)
        own = PEOPLE_SD * rng.normal()
        for k in range(1 + n % 2):
            rows.append(
                {
                    **each,
                    "participant_id": f"sub-{n}-{k}",
                    "area_mm2": each["_size"] + own + NOISE_SD * rng.normal(),
                }
            )
    found, study = differences(pd.DataFrame(rows), "group", "HC"), "60 people, half of them twice"
    yield finding(study, PATIENT, pick(found, statistic="difference"))
    truth = PATIENT / float(np.hypot(PEOPLE_SD, NOISE_SD))
    yield finding(study, truth, pick(found, statistic="effect_size"))


def multicentric(rng: Generator) -> Iterator[Finding]:
    """12 sites of 12 people, one contrast, then with repeats, then pooled over two contrasts."""
    sites = 12
    shift = SITE_SD * rng.normal(size=sites)
    rows, again, both = [], [], []
    for n in range(12 * sites):
        each = person(rng, n, site=f"S{n % sites:02d}")
        area = each["_size"] + shift[n % sites] + PEOPLE_SD * rng.normal()
        noise = NOISE_SD * rng.normal(size=4)
        rows.append({**each, "area_mm2": area})
        again += [
            {**each, "run": run, "area_mm2": area + noise[k]}
            for k, run in enumerate("12")
            if k == 0 or n % 3 == 0
        ]
        both += [
            {**each, "contrast": name, "area_mm2": area + 3 * k + noise[2 + k]}
            for k, name in enumerate(NAMES[:2])
        ]
    frame = pd.DataFrame(rows)
    found = centres(frame)
    study = "12 sites of 12"
    yield finding(study, SITE_SD, pick(found, statistic="sd_site"))
    yield finding(study, PEOPLE_SD, pick(found, statistic="sd_people"))
    yield finding(study, SITE_SD**2 / (SITE_SD**2 + PEOPLE_SD**2), pick(found, statistic="icc_site"))
    yield finding(study, shift[0] - shift.mean(), pick(found, statistic="site_effect", site="S00"))
    found = centres(pd.DataFrame(again))
    yield finding(f"{study}, some twice", SITE_SD, pick(found, statistic="sd_site"))
    yield finding(f"{study}, some twice", PEOPLE_SD, pick(found, statistic="sd_people"))
    yield finding(f"{study}, some twice", NOISE_SD, pick(found, statistic="sd_repeat"))
    share = SITE_SD**2 / (SITE_SD**2 + PEOPLE_SD**2 + NOISE_SD**2)
    yield finding(f"{study}, some twice", share, pick(found, statistic="icc_site"))
    truth = shift[0] - shift.mean()
    yield finding(f"{study}, some twice", truth, pick(found, statistic="site_effect", site="S00"))
    pooled = pick(centres(pd.DataFrame(both)), contrast=POOLED, statistic="sd_site")
    yield finding(f"{study}, two contrasts pooled", SITE_SD, pooled)
    plain = frame.assign(area_mm2=MEAN + np.tile(shift, 12) + PEOPLE_SD * rng.normal(size=len(frame)))
    vendor = vendor_variation(plain)
    c4 = np.sqrt(2 / 11) * special.gamma(6) / special.gamma(5.5)
    inverse = (1 + (SITE_SD**2 + PEOPLE_SD**2 / 12) / MEAN**2) / MEAN
    yield finding(study, 100 * c4 * PEOPLE_SD * inverse, pick(vendor, statistic="cov_within_site"))
    spread = np.sqrt(SITE_SD**2 + PEOPLE_SD**2 / 12)
    yield finding(study, 100 * spread / MEAN, pick(vendor, statistic="cov_between_sites"))
    yield finding(f"{study}, sites of one vendor", MEAN, pick(vendor, statistic="mean"))
    few = pd.DataFrame(rows)[lambda each: each["site"] < "S03"]
    truth = shift[0] - shift[:3].mean()
    yield finding("3 sites (fixed)", truth, pick(centres(few), statistic="site_effect", site="S00"))


def planned(rng: Generator) -> Iterator[Finding]:
    """Sample size from 40 controls; norms from them, for one more healthy person."""
    rows = [person(rng, n) for n in range(41)]
    # Beyond the controls' ages there is no range.
    ages = [row["age"] for row in rows[:40]]
    age = float(np.clip(rows[40]["age"], min(ages), max(ages)))
    rows[40] |= {"age": age, "_size": rows[40]["_size"] + AGE * (age - rows[40]["age"])}
    frame = pd.DataFrame([{**row, "area_mm2": row["_size"] + PEOPLE_SD * rng.normal()} for row in rows])
    controls = frame.iloc[:40]
    row = pick(sample_sizes(controls, controls), statistic="people_per_group", effect_percent=5.0)
    mean = float(controls["area_mm2"].mean())
    yield finding("40 controls", people_needed(0.05 * mean, PEOPLE_SD, groups=2), row)
    band = own_controls(frame, pd.Series(frame.index < 40, index=frame.index)).iloc[40]
    yield (
        "reference range",
        "one more healthy person",
        frame["area_mm2"][40],
        band["reference_low"],
        band["reference_high"],
    )
    level = pd.DataFrame(
        [{**row, "area_mm2": 72 - 4 * (row["sex"] == "F") + 3 + PEOPLE_SD * rng.normal()} for row in rows]
    )
    means = [72.0, 68.0] + PEOPLE_SD / np.sqrt(50) * rng.normal(size=2)
    table = pd.DataFrame(
        {"level": ["C3", "C3"], "sex": ["M", "F"], "n": 50, "csa_mm2_mean": means, "csa_mm2_sd": PEOPLE_SD}
    )
    _, [offset] = from_table(level, pd.Series(True, index=level.index), table, "table")
    yield finding("41 controls against a table", 3.0, offset)


def over_time(rng: Generator) -> Iterator[Finding]:
    """Two groups of 25 with slopes of their own, seen two or three times; and two of six people."""
    for times, count in ((2, 25), (3, 25), (3, 6)):
        rows = []
        for n in range(2 * count):
            patient = n % 2 == 1
            level, slope = MEAN + PEOPLE_SD * rng.normal(), -0.2 - 1.0 * patient + 0.5 * rng.normal()
            rows += [
                {
                    **person(rng, n, patient=patient), "years": t, "session_id": f"ses-{k}",
                    "area_mm2": level + slope * t + NOISE_SD * rng.normal(),
                }
                for k in range(times)
                for t in [k + float(rng.uniform(-0.2, 0.2)) * (k > 0)]
            ]  # fmt: skip
        found = slopes(pd.DataFrame(rows), "group", "HC")
        study = f"2 x {count} people, {times} visits"
        yield finding(study, -0.2, pick(found, statistic="annual_change", group="HC"))
        yield finding(study, -1.0, pick(found, statistic="difference"))
        yield finding(study, 100 * -1.2 / MEAN, pick(found, statistic="annual_percent", group="MS"))


def with_outliers(rng: Generator) -> Iterator[Finding]:
    """40 people, five contrasts; masks of six images miss 30 %. What is flagged is excluded."""
    count, lost = 40, 6
    bias = BIAS_SD * rng.normal(size=5)
    size = MEAN + PEOPLE_SD * rng.normal(size=count)
    area = size[:, None] + bias + NOISE_SD * rng.normal(size=(count, 5))
    area[rng.permutation(count)[:lost], rng.integers(5, size=lost)] *= 0.7
    frame = pd.DataFrame(
        {**person(rng, n), "contrast": name, "area_mm2": area[n, k], "source_image": f"{n}_{name}"}
        for n in range(count)
        for k, name in enumerate(NAMES)
    ).assign(area_binary_mm2=np.nan)
    flags = outliers(frame)["flags"]
    kept = frame[[OTHER_CONTRASTS not in flags[image] for image in frame["source_image"]]]
    model = contrast_effects(kept, NAMES)
    study = f"{count} people, {lost} bad masks, flagged ones excluded"
    yield finding(study, bias[0] - bias.mean(), pick(model, contrast="T1w", statistic="bias"))
    yield finding(study, NOISE_SD, pick(model, statistic="sd_within_people"))
    pair = pick(agreement(kept, NAMES), contrast="T1w", versus="T2w", statistic="bias")
    yield finding(f"{study}, pair", bias[0] - bias[1], pair)


STUDIES: tuple[Callable[[Generator], Iterator[Finding]], ...] = (
    over_contrasts, unequal_contrasts, repeated, grouped, multicentric, planned, over_time, with_outliers,
    revisited,
)  # fmt: skip


def coverage(
    studies: int, chosen: tuple[Callable[[Generator], Iterator[Finding]], ...] = STUDIES
) -> pd.DataFrame:
    """Share of studies whose interval holds the truth, per statistic and kind of study.

    Returns
    -------
    DataFrame
        ``statistic study n coverage width``; width is the median one.
    """
    found: list[Finding] = []
    for n in range(studies):
        for number, draw in enumerate(STUDIES):
            if draw in chosen:
                found += draw(np.random.default_rng([SEED, n, number]))
        sys.stderr.write(f"\r{n + 1} of {studies} studies")
    frame = pd.DataFrame(found, columns=["statistic", "study", "truth", "low", "high"])
    held = (frame["low"] <= frame["truth"]) & (frame["truth"] <= frame["high"])
    grouped_rows = frame.assign(held=held, width=frame["high"] - frame["low"]).groupby(
        ["statistic", "study"], sort=False
    )
    return grouped_rows.agg(
        n=("held", "size"), coverage=("held", "mean"), width=("width", "median")
    ).reset_index()


def as_markdown(table: pd.DataFrame) -> str:
    """The table for the documentation."""
    lines = [
        "| statistic | studies | n | the interval holds the truth in | median width |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.statistic} | {row.study} | {row.n} | {100 * row.coverage:.1f} % | {row.width:.3g} |"
        for row in table.itertuples()
    ]
    return "\n".join(lines)


def main() -> int:
    """Simulate; exit code 1 if a statistic's intervals hold the truth too rarely or too often."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=None, metavar="NAME")
    parser.add_argument("--write", type=Path, help="page whose table is written anew")
    arguments = parser.parse_args()
    chosen = tuple(draw for draw in STUDIES if arguments.only is None or draw.__name__ in arguments.only)
    table = coverage(arguments.studies, chosen)
    text = as_markdown(table)
    sys.stdout.write(f"\n{text}\n")
    if arguments.write is not None:
        replace_part("studies", text, arguments.write)
    outside = table[~table["coverage"].between(*BAND)]
    for row in outside.itertuples():
        sys.stderr.write(
            f"{row.statistic} ({row.study}): {100 * row.coverage:.1f} % is not within 91 to 98 %\n"
        )
    return int(len(outside) > 0)


if __name__ == "__main__":
    sys.exit(main())
