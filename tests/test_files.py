"""Files are complete or absent, and errors name the remedy."""

from pathlib import Path

import pytest

from cytopipe import logs
from cytopipe.files import InputError, atomic_write, require


def test_a_written_file_appears_under_its_name_alone(tmp_path: Path) -> None:
    final = tmp_path / "new" / "volume.nii.gz"
    with atomic_write(final) as beside:
        assert beside.parent == final.parent  # a rename, not a copy to another disk
        assert beside.name.endswith(".nii.gz")  # writers choose the format by it
        beside.write_bytes(b"content")
        assert not final.exists()
    assert final.read_bytes() == b"content"
    assert list(final.parent.iterdir()) == [final]


@pytest.mark.parametrize("before", [None, b"old"])
def test_an_exception_leaves_what_was_there(tmp_path: Path, before: bytes | None) -> None:
    final = tmp_path / "table.parquet"
    if before is not None:
        final.write_bytes(before)
    with pytest.raises(ZeroDivisionError), atomic_write(final) as beside:
        beside.write_bytes(b"half")
        raise ZeroDivisionError
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.tif"):
        pass


def test_require_names_file_and_remedy(tmp_path: Path) -> None:
    assert require(tmp_path, "make it") == tmp_path
    with pytest.raises(InputError, match=r"absent\.tif: not found; scan it again"):
        require(tmp_path / "absent.tif", "scan it again")


def test_messages_go_to_the_rules_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "stage.log"
    logs.configure(log)
    logs.info("threshold 0.4")
    assert list(logs.progress(range(3), 3, "sections")) == [0, 1, 2]
    logs.configure(None)
    lines = log.read_text().splitlines()
    assert lines[0].endswith("threshold 0.4")
    assert "sections: 3 in" in lines[1]
