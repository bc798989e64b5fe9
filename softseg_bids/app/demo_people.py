"""Who is in the demo dataset, what their files are called, and what the sidecars say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

CITATION = (
    "Cohen-Adad et al., Nature Protocols 2021 (spine-generic), for the protocol that the sequences imitate"
)

README = """# Demo of softseg-bids

Four people who do not exist, drawn by the project's generator and scanned at two imagined sites;
sub-01 was scanned twice, some weeks apart. Each image shows the same neck in another contrast.

{labels}- `derivatives/truth/truth_area.tsv`: true cross-sectional area of each cord, from its geometry

No living person's data are in it; use it as you like (CC0).
"""

LABELS_LINE = """- `derivatives/labels`: disc labels on the T2w images, one voxel at the posterior tip of each
  disc (2 = C1-C2, 3 = C2-C3, ...), named as the spine-generic project does
"""


class Person(NamedTuple):
    """A participant; ``sessions`` without prefix, (None,) for a dataset level without sessions."""

    label: str
    seed: int
    sessions: tuple[str | None, ...]
    age: int
    sex: str
    height_cm: int
    weight_kg: int
    site: str


PEOPLE = (
    Person("01", 18, ("1", "2"), 34, "M", 181, 79, "north"),
    Person("02", 2, (None,), 27, "F", 166, 58, "north"),
    Person("03", 28, (None,), 45, "F", 171, 67, "south"),
    Person("04", 25, (None,), 52, "M", 176, 82, "south"),
)
WEEKS_APART = 6

PARTICIPANT_COLUMNS: dict[str, dict[str, Any]] = {
    "age": {"Description": "Age", "Units": "years"},
    "sex": {"Description": "Sex", "Levels": {"M": "male", "F": "female"}},
    "height": {"Description": "Height", "Units": "cm"},
    "weight": {"Description": "Weight", "Units": "kg"},
    "pathology": {"Description": "Pathology", "Levels": {"HC": "healthy control"}},
    "site": {
        "Description": "Where the person was scanned",
        "Levels": {"north": "imagined", "south": "imagined"},
    },
    "acq_week": {"Description": "Weeks since the first session", "Units": "week"},
}


TRUTH_COLUMNS: dict[str, dict[str, Any]] = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session, n/a without sessions"},
    "contrast": {"Description": "Contrast key: each image shows another stretch of cord"},
    "region": {"Description": "cord: all that the image shows; vert-C2:C3: from disc 2 to disc 4"},
    "area_mm2": {
        "Description": "True cross-sectional area, perpendicular to the cord, averaged along the region",
        "Units": "mm^2",
    },
    "length_mm": {"Description": "Length of the region along the cord", "Units": "mm"},
}


class File(NamedTuple):
    """How an image is filed: folder, end of its name, orientation codes of its axes, sidecar."""

    folder: str
    ending: str
    stored: str
    facts: dict[str, Any]


def _timing(
    repetition_s: float, echo_s: float, flip_deg: float, kind: str, mt: bool | None = None, **more: Any
) -> dict[str, Any]:
    facts = {
        "RepetitionTime": repetition_s,
        "EchoTime": echo_s,
        "FlipAngle": flip_deg,
        "MRAcquisitionType": kind,
        **more,
    }
    # BIDS requires both of an MT series, and the repetition time under this name.
    return facts if mt is None else facts | {"MTState": mt, "RepetitionTimeExcitation": repetition_s}


FILES = {
    "T1w": File("anat", "T1w", "PSR", _timing(2.0, 0.00374, 9, "3D", InversionTime=1.0)),
    "T2w": File("anat", "T2w", "PSR", _timing(1.5, 0.120, 120, "3D")),
    "T2starw": File("anat", "T2starw", "LAS", _timing(0.6, 0.0138, 30, "2D", SliceThickness=5.0)),
    "MTon": File("anat", "flip-1_mt-on_MTS", "LAS", _timing(0.035, 0.00313, 9, "3D", mt=True)),
    "MToff": File("anat", "flip-1_mt-off_MTS", "LAS", _timing(0.035, 0.00313, 9, "3D", mt=False)),
    "GRET1w": File("anat", "flip-2_mt-off_MTS", "LAS", _timing(0.015, 0.00313, 15, "3D", mt=False)),
    "DWI": File(
        "dwi",
        "rec-average_dwi",
        "LAS",
        _timing(
            0.62, 0.060, 90, "2D", SliceThickness=5.0, PhaseEncodingDirection="j", TotalReadoutTime=0.045
        ),
    ),
}

SCANNERS: dict[str, dict[str, Any]] = {
    "north": {
        "InstitutionName": "North Imaging Centre",
        "Manufacturer": "Siemens",
        "ManufacturersModelName": "Prisma_fit",
        "SoftwareVersions": "syngo MR E11",
        "MagneticFieldStrength": 3,
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "DIS2D"],
        "NonlinearGradientCorrection": True,
    },
    "south": {
        "InstitutionName": "South Imaging Centre",
        "Manufacturer": "Philips",
        "ManufacturersModelName": "Ingenia Elition X",
        "SoftwareVersions": "5.7.1",
        "MagneticFieldStrength": 3,
        "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"],
        "NonlinearGradientCorrection": False,
    },
}


def stem_of(label: str, session: str | None) -> str:
    """``sub-01`` or ``sub-01_ses-1``."""
    return f"sub-{label}" + (f"_ses-{session}" if session else "")


def participant_rows(people: Iterable[Person]) -> list[dict[str, Any]]:
    """Rows of participants.tsv."""
    return [
        {
            "participant_id": f"sub-{person.label}",
            "age": person.age,
            "sex": person.sex,
            "height": person.height_cm,
            "weight": person.weight_kg,
            "pathology": "HC",
            "site": person.site,
        }
        for person in people
    ]


def session_rows(person: Person) -> list[dict[str, Any]]:
    """Rows of a person's sessions.tsv; none without sessions."""
    return [
        {"session_id": f"ses-{session}", "acq_week": WEEKS_APART * number}
        for number, session in enumerate(person.sessions)
        if session
    ]
