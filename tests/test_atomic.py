import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from unet2015 import atomic
from unet2015.atomic import (
    atomic_path,
    check_writable,
    flush_to_disk,
    is_writable,
    name_on_disk,
    rename,
    temporary_folder,
)
from unet2015.errors import InputError


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_names_may_be_as_long_as_the_disk_allows(tmp_path):
    target = tmp_path / f"{'n' * 247}.ome.tif"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffixes[-2:] == [".ome", ".tif"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_only_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_bytes(b"half" * (1 // temporary.write_bytes(b"")))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_errors_name_the_requested_file(tmp_path):
    target = tmp_path / "a.txt"
    with pytest.raises(FileNotFoundError) as error, atomic_path(target):
        pass  # nothing is written, so nothing can be renamed
    assert error.value.filename == str(target)


def test_a_missing_folder_is_created(tmp_path):
    target = tmp_path / "new" / "folder" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_a_full_disk_error_names_the_file(tmp_path):
    told = pytest.raises(OSError, match=r"No space left on device: '.*a.txt'")
    with told, atomic_path(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_file_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    target, there = tmp_path / "a.txt", []
    monkeypatch.setattr(os, "fsync", lambda _: there.append(target.exists()))
    with atomic_path(target) as temporary:
        temporary.write_text("new")
    assert there == [False]


@pytest.mark.parametrize("knows", [True, False])
def test_the_drive_cache_is_flushed_on_macos(monkeypatch, knows):
    done = []

    def fcntl(file, command):
        done.append((file, command))
        if not knows:
            raise OSError(45, "Operation not supported")

    monkeypatch.setattr(atomic, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setitem(sys.modules, "fcntl", SimpleNamespace(fcntl=fcntl, F_FULLFSYNC=51))
    monkeypatch.setattr(os, "fsync", lambda file: done.append(file))
    flush_to_disk(7)
    assert done == ([(7, 51)] if knows else [(7, 51), 7])


@pytest.mark.parametrize("attempts", [3, 99])
def test_replacing_an_open_file_is_retried_on_windows(tmp_path, monkeypatch, attempts):
    real, slept, tried = os.replace, [], []

    def replace(source, target):
        tried.append(source)
        if len(tried) < attempts:
            raise PermissionError(13, "used by another process")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(atomic.time, "sleep", slept.append)
    (tmp_path / "new").write_text("new")
    with pytest.raises(PermissionError):
        rename(tmp_path / "new", tmp_path / "a.txt")
    assert not slept  # only Windows retries

    tried.clear()
    monkeypatch.setattr(atomic, "sys", SimpleNamespace(platform="win32"))
    if attempts == 99:
        with pytest.raises(PermissionError):
            rename(tmp_path / "new", tmp_path / "a.txt")
        assert slept == list(atomic.WAITS)
    else:
        rename(tmp_path / "new", tmp_path / "a.txt")
        assert (tmp_path / "a.txt").read_text() == "new"
        assert slept == list(atomic.WAITS[:2])


def test_a_broken_link_to_a_folder_is_refused(tmp_path):
    (tmp_path / "drive").symlink_to(tmp_path / "unmounted")
    with pytest.raises(InputError, match="drive is not a writable folder"):
        check_writable(tmp_path / "drive" / "results" / "a.tif")


def test_is_writable_tries_to_write(tmp_path):
    (tmp_path / "file").touch()
    assert is_writable(tmp_path)
    assert not is_writable(tmp_path / "file")
    assert not is_writable(tmp_path / "nowhere")
    if os.path.isdir("/proc/self"):
        assert not is_writable(Path("/proc/self"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_temporary_folder_is_hidden_and_removed(tmp_path):
    with temporary_folder(tmp_path) as folder:
        (tmp_path / "plain").mkdir()
        assert folder.name.startswith(".")
        assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode  # not private
    with pytest.raises(ZeroDivisionError), temporary_folder(tmp_path) as folder:
        (folder / "a.txt").write_text(str(1 / 0))
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


@pytest.mark.parametrize(("age", "left"), [(0, True), (atomic.LEFTOVER_AGE + 60, False)])
def test_temporary_folders_of_killed_processes_are_removed(tmp_path, age, left):
    old = tmp_path / ".0123abcd.unfinished"
    (old / "result").mkdir(parents=True)
    (old / "result/mask000.tif").touch()
    os.utime(old / "result/mask000.tif", (time.time() - age,) * 2)
    for path in (old / "result", old):
        os.utime(path, (0, 0))
    (old / "broken").symlink_to("nowhere")
    os.utime(old / "broken", (0, 0), follow_symlinks=False)
    os.utime(old, (0, 0))
    mine = tmp_path / ".my-draft.unfinished"
    mine.mkdir()
    os.utime(mine, (0, 0))
    with temporary_folder(tmp_path):
        assert old.exists() == left
    assert mine.exists()


@pytest.mark.parametrize(("system", "same"), [("Linux", 6), ("Darwin", 4), ("Windows", 5)])
def test_names_are_compared_as_by_the_file_system(monkeypatch, system, same):
    monkeypatch.setattr(atomic.platform, "system", lambda: system)
    names = [
        "a/Cell.tif",
        "a/cell.tif",
        "a/Stra\u00dfe",
        "a/Strasse",
        "a/\u00e9.tif",
        "a/e\u0301.tif",
    ]
    assert len({name_on_disk(Path(name)) for name in names}) == same
