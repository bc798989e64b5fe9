import logging
from pathlib import Path

import pytest

from softseg_bids.bids.rows import find_row, read_rows


def test_hand_written_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "participants.tsv"
    table.write_bytes(
        b"\xef\xbb\xbfparticipant_id\tage\tsex\r\n"
        b"sub-01\t30\tn/a\r\n\r\n02\t-\t\r\nsub-03\r\nsub-04\t5\tF\textra\r\n"
    )
    with caplog.at_level(logging.WARNING):
        rows = read_rows(table)
    assert rows == [
        {"participant_id": "sub-01", "age": "30", "sex": None},
        {"participant_id": "02", "age": None, "sex": None},
        {"participant_id": "sub-03", "age": None, "sex": None},
        {"participant_id": "sub-04", "age": "5", "sex": "F"},
    ]
    assert [str(table) in message for message in caplog.messages] == [True, True]
    assert find_row(table, "participant_id", "02", "sub-")["age"] is None
    assert find_row(table, "participant_id", "01", "sub-")["age"] == "30"
    assert find_row(table, "participant_id", "99", "sub-") == {}


def test_missing_empty_latin_and_unreadable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_rows(tmp_path / "none.tsv") == []
    (tmp_path / "empty.tsv").write_text("\n")
    assert read_rows(tmp_path / "empty.tsv") == []
    (tmp_path / "latin.tsv").write_bytes("site\nMontréal\n".encode("latin-1"))
    assert read_rows(tmp_path / "latin.tsv") == [{"site": "Montréal"}]
    assert read_rows(tmp_path) == []
    assert str(tmp_path) in caplog.text
