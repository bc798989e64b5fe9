from pathlib import Path

import pytest

from softseg_bids.bids.filters import FilterError, check_filters, groups_of, read_filters


def test_reads_groups_of_entities(tmp_path: Path) -> None:
    path = tmp_path / "filter.json"
    path.write_text('{"T1w": {"acquisition": "full"}, "mton": {"run": 1}, "bold": {"task": "rest"}}')
    filters = read_filters(path)
    assert filters["T1w"] == {"acquisition": "full"}
    assert groups_of("T1w", "T1w", filters) == ["T1w"]
    assert groups_of("MTS", "MTon", filters) == ["mton"]
    assert groups_of("T2w", "T2w", filters) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"T1": {}}', '{"T1w": "full"}', "[" * 100_000, "\ufffe\0"])
def test_refuses_what_would_do_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "filter.json"
    path.write_text(text)
    with pytest.raises(FilterError, match=r"filter\.json: "):
        read_filters(path)


def test_unknown_group_is_named_with_the_known_ones() -> None:
    with pytest.raises(FilterError, match=r"'T1'.*T1w"):
        check_filters({"T1": {}})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FilterError, match=r"none\.json"):
        read_filters(tmp_path / "none.json")
