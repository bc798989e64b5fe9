"""Design matrices from formulas; a covariate that is not there is left out, and said."""

from __future__ import annotations

import keyword
import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from numpy.typing import NDArray

from softseg_bids.stats.mixed import Random

Floats = NDArray[np.float64]

MISSING = frozenset({"", "-", "n/a", "na", "nan", "none", "unknown"})
# In a column of groups "none" (no disease) and "unknown" are names.
MISSING_GROUP = MISSING - {"none", "unknown"}
NUMERIC_SHARE = 0.9
LEAST_KNOWN = 0.5
OUTCOME = "csa"
# Where these lie is up to the scan: between people they compare fields of view.
OWN_STRETCHES = ("cord", "common")
# Site is random from here: fewer groups tell too little of a variance.
LEAST_RANDOM_SITES = 5
# A formula names columns and patsy's own functions: a misspelt column must not find a variable here.
NO_VARIABLES = -1
# Ages as DICOM writes them: 030Y, 018M.
_DICOM_AGE = re.compile(r"(\d{3})([DWMY])")
YEARS_OF = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_RANDOM = re.compile(r"\+?\s*\(\s*1\s*\|\s*(\w+)\s*\)")


class Design(NamedTuple):
    """What a model is fitted to.

    Attributes
    ----------
    frame : DataFrame
        The rows used.
    outcome : ndarray, shape (n,)
    matrix : ndarray, shape (n, p)
    names : list of str
    terms : list of Random
    random : list of str
        Columns behind ``terms``.
    formula : str
        As a reader would write it, random terms included.
    """

    frame: pd.DataFrame
    outcome: Floats
    matrix: Floats
    names: list[str]
    terms: list[Random]
    random: list[str]
    formula: str


def tidy(values: pd.Series, missing: Collection[str] = MISSING) -> pd.Series:
    """A covariate as numbers if nearly all of it is numbers, else as text; NaN where missing.

    Parameters
    ----------
    values : Series
    missing : collection of str
        What stands for nothing, in small letters.
    """
    text = values.astype(object).where(values.notna(), "").astype(str).str.strip()
    known = text.where(~text.str.lower().isin(list(missing)), None)
    numbers = pd.to_numeric(known, errors="coerce")
    seen = int(known.notna().sum())
    if seen and numbers.notna().sum() >= NUMERIC_SHARE * seen:
        return numbers.astype(float)
    return known.astype(object)


def ages(values: pd.Series) -> pd.Series:
    """Ages in years: numbers, or DICOM's ``030Y``; NaN for what is no single age (``45-50``, ``89+``)."""
    return values.map(_age).astype(float)


def _age(value: object) -> float:
    found = _DICOM_AGE.fullmatch(str(value).strip().upper())
    if found:
        return int(found.group(1)) * YEARS_OF[found.group(2)]
    try:
        age = float(str(value))
    except ValueError:
        return float("nan")
    return age if np.isfinite(age) else float("nan")


def usable_covariates(frame: pd.DataFrame, wanted: Iterable[str]) -> tuple[list[str], list[str]]:
    """Which covariates can be adjusted for, and why the others cannot.

    One is left out if there is no such column, if less than half of the rows have it, or if it
    is the same for all.

    Parameters
    ----------
    frame : DataFrame
        With covariates as of :func:`tidy`.
    wanted : iterable of str

    Returns
    -------
    kept, notes : list of str
    """
    kept, notes = [], []
    for name in wanted:
        known = frame[name].dropna() if name in frame else frame.index[:0].to_series()
        if name not in frame or known.empty:
            notes.append(f"not adjusted for {name}: there is none")
        elif len(known) < LEAST_KNOWN * len(frame):
            notes.append(f"not adjusted for {name}: only {len(known)} of {len(frame)} have it")
        elif known.nunique() < 2:
            notes.append(f"not adjusted for {name}: it is the same for all")
        else:
            kept.append(name)
            if len(known) < len(frame):
                notes.append(f"{len(frame) - len(known)} of {len(frame)} without {name} are left out")
    return kept, notes


def once(frame: pd.DataFrame, within: Sequence[str] = ("person_id", "region", "contrast")) -> pd.DataFrame:
    """The rows of each person's first participant (by ``years``, where there are some), all its repeats.

    Several participants of one person (travelling volunteers, visits under new names) are no independent
    people.

    Parameters
    ----------
    frame : DataFrame
        With ``person_id participant_id``, and what ``within`` names.
    within : sequence of str
        Columns within which one participant of a person counts.
    """
    keys = list(within)
    ordered = frame.sort_values("years", kind="stable") if "years" in frame else frame
    first = ordered.drop_duplicates(keys).set_index(keys)["participant_id"]
    own: pd.DataFrame = frame[
        first.reindex(frame.set_index(keys).index).to_numpy() == frame["participant_id"]
    ]
    return own


def site_term(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """How the site enters: ``(1|site)``, ``C(site)`` under 5 sites (with a note), or not at all."""
    count = frame["site"].nunique() if "site" in frame else 0
    if count >= LEAST_RANDOM_SITES:
        return ["(1|site)"], []
    if count > 1:
        return ["C(site)"], [f"{count} sites: too few for a random effect, site is fixed"]
    return [], []


def names_in(formula: str) -> set[str]:
    """Names of columns (and functions) that stand in a formula: ``age_group`` holds no ``group``."""
    quotes = re.findall(r"""Q\(\s*["']([^"']*)["']\s*\)""", formula)
    bare = re.sub(r"""(["']).*?\1""", "", formula)
    return set(re.findall(r"[^\W\d]\w*", bare)) | set(quotes)


def quoted(name: str) -> str:
    """A column's name as formulas take it: Python's own words (``class``) are no names there."""
    return name if name.isidentifier() and not keyword.iskeyword(name) else f'Q("{name}")'


def build(frame: pd.DataFrame, outcome: str, terms: Sequence[str]) -> Design:
    """Design of ``csa ~ terms``; rows with anything missing are left out.

    Parameters
    ----------
    frame : DataFrame
    outcome : str
        Column that is analysed.
    terms : sequence of str
        Formula terms; ``(1|name)`` is a random intercept.

    Raises
    ------
    ValueError
        If the formula cannot be read, names an unknown column, or no row is complete.
    """
    text = f"{OUTCOME} ~ " + (" + ".join(terms) if terms else "1")
    random = _RANDOM.findall(text)
    fixed = _RANDOM.sub("", text)
    fixed = re.sub(r"~\s*\+?\s*$", "~ 1", re.sub(r"~\s*\+", "~", fixed))
    data = frame.assign(**{OUTCOME: frame[outcome].astype(float)})
    unknown = [name for name in random if name not in data]
    if unknown:
        raise ValueError(f"{text}: no column {', '.join(unknown)}")
    data = data.dropna(subset=[OUTCOME, *random])
    if data.empty:
        raise ValueError(f"{text}: no complete row")
    try:
        with warnings.catch_warnings():
            # statsmodels 0.15 would have a dict, which 0.14 does not take.
            warnings.simplefilter("ignore", FutureWarning)
            model = smf.ols(fixed, data.reset_index(drop=True), missing="drop", eval_env=NO_VARIABLES)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    except Exception as error:  # patsy raises its own, and Python's for a misspelt term
        raise ValueError(f"{text}: cannot be read ({str(error).splitlines()[0]})") from error
    used = data.reset_index(drop=True).loc[model.data.row_labels]
    codes = [Random(pd.factorize(used[name])[0].astype(np.intp)) for name in random]
    return Design(
        used,
        np.asarray(model.endog, dtype=float),
        np.asarray(model.exog, dtype=float),
        list(model.exog_names),
        codes,
        random,
        text,
    )


def weights_of(design: Design, *names: str) -> Floats:
    """Weights that pick (the sum of) named coefficients, shape (p,)."""
    return np.array([float(name in names) for name in design.names])
