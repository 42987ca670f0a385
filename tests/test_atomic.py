import pytest

from unet2015.atomic import atomic_path


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_bytes(b"half" * (1 // temporary.write_bytes(b"")))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    target = tmp_path / "nowhere" / "a.txt"
    with pytest.raises(FileNotFoundError) as error, atomic_path(target) as temporary:
        temporary.write_text("lost")
    assert error.value.filename == str(target)
