import errno
import json
import os
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from unet2015 import InputError, atomic
from unet2015.fileprediction import scratch as module
from unet2015.fileprediction.scratch import Ledger, Scratch, differences, unfinished_purpose

PURPOSE = {"input": "a" * 64, "tile": 60, "channels": (0,)}


def test_ledger_entries_are_restored_exactly(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    ledger["a"] = [0.1 + 0.2, 1e-300]
    ledger["b"] = None
    found = Ledger(tmp_path / "ledger")
    assert dict(found) == {"a": [0.1 + 0.2, 1e-300], "b": None}


@pytest.mark.parametrize(
    "torn", [b'["c', b'["c", null]', b"\0\0\0", b'\0\0\n["d", 1]\n', b"[1\n", b"5\n"]
)
def test_a_torn_line_is_dropped_and_never_mixed_with_the_next(tmp_path, torn):
    ledger = Ledger(tmp_path / "ledger")
    ledger["a"] = 1
    ledger.close()
    with open(tmp_path / "ledger", "ab") as file:
        file.write(torn)
    again = Ledger(tmp_path / "ledger")
    assert dict(again) == {"a": 1}
    again["b"] = 2
    assert dict(Ledger(tmp_path / "ledger")) == {"a": 1, "b": 2}


def test_pixels_are_synced_to_the_disk(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda n: (synced.append(os.readlink(f"/proc/self/fd/{n}")), real(n))
    )
    with Scratch(tmp_path / "s", PURPOSE) as scratch:
        assert synced[-1] == str(tmp_path / "s"), "the name of the purpose"
        synced.clear()
        pixels = scratch.pixels((2, 50, 40), np.dtype(np.uint8), (16, 16))
        folder, zarr = tmp_path / "s", pixels.path
        assert synced == [str(path) for path in (zarr / "zarr.json", zarr, folder)] + [
            str(folder / "ledger.jsonl")
        ]
        synced.clear()
        pixels[1, slice(32, 50), slice(16, 32)] = np.ones((18, 16), np.uint8)
        files = {name.split("/c/")[1] for name in synced if os.path.isfile(name)}
        assert files == {"1/2/1", "1/3/1"}
        folders = {name.removeprefix(str(zarr)) for name in synced if os.path.isdir(name)}
        assert folders == {"/c/1/2", "/c/1/3", "/c/1", "/c", ""}
        pixels[0, slice(0, 16), slice(0, 16)] = np.zeros((16, 16), np.uint8)
        assert pixels[0:2, 0:50, 0:40].sum() == 18 * 16


def test_late_writes_to_discarded_work_do_not_affect_new_work(tmp_path):
    shape, dtype, chunk = (9, 9), np.dtype(np.uint8), (9, 9)
    with Scratch(tmp_path / "s", PURPOSE) as scratch:
        late = scratch.pixels(shape, dtype, chunk)
    with Scratch(tmp_path / "s", PURPOSE, overwrite=True) as scratch:
        pixels = scratch.pixels(shape, dtype, chunk)
        everywhere = slice(0, 9), slice(0, 9)
        pixels[everywhere] = np.ones(shape, dtype)
        late[everywhere] = np.full(shape, 7, dtype)
        assert (pixels[everywhere] == 1).all()
        scratch.remove()
    assert not (tmp_path / "s").exists()


def test_work_is_resumed_refused_or_discarded(tmp_path):
    folder = tmp_path / "s"
    with Scratch(folder, PURPOSE) as scratch:
        scratch.pixels((9, 9), np.dtype(np.float32), (4, 4))[slice(0, 4), slice(0, 4)] = np.ones(
            (4, 4), np.float32
        )
        scratch.ledger["done"] = None
    with Scratch(folder, dict(PURPOSE)) as scratch:
        assert "done" in scratch.ledger
        assert scratch.pixels((9, 9), np.dtype(np.float32), (4, 4))[0:9, 0:9].sum() == 16
    refused = Scratch(folder, PURPOSE | {"tile": 70, "input": "b" * 64})
    with (
        pytest.raises(InputError, match=r"another input, tile 60 instead of 70: .*--overwrite"),
        refused,
    ):
        pass
    with Scratch(folder, PURPOSE | {"tile": 70}, overwrite=True) as scratch:
        assert "done" not in scratch.ledger
        scratch.remove()
    assert not folder.exists()


def test_work_of_another_version_is_refused_as_such(tmp_path):
    with Scratch(tmp_path / "s", {**PURPOSE, "gone": 1}) as scratch:
        scratch.ledger["done"] = None
    with pytest.raises(InputError, match="by another version"), Scratch(tmp_path / "s", PURPOSE):
        pass
    with Scratch(tmp_path / "s", {**PURPOSE, "gone": 1}) as scratch:
        assert "done" in scratch.ledger


def test_work_that_is_being_discarded_is_not_resumed(tmp_path, monkeypatch):
    with Scratch(tmp_path / "s", PURPOSE) as scratch:
        scratch.ledger["done"] = None
    monkeypatch.setattr(module, "empty_locked", lambda *_: 1 / 0)  # killed meanwhile
    with pytest.raises(ZeroDivisionError), Scratch(tmp_path / "s", PURPOSE, overwrite=True):
        pass
    assert unfinished_purpose(tmp_path / "s") == {}


def test_differences_are_those_of_the_written_values():
    written = json.loads(json.dumps(PURPOSE))
    assert differences(written, PURPOSE) == []
    assert differences(written, PURPOSE | {"new": 1, "tile": 70}) == ["tile", "new"]


def test_a_folder_without_a_purpose_is_restarted(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "ledger.jsonl").write_text(json.dumps(["done", None]) + "\n")
    with Scratch(folder, PURPOSE) as scratch:
        assert not scratch.ledger


def test_two_processes_do_not_share_a_folder(tmp_path):
    with (
        Scratch(tmp_path / "s", PURPOSE),
        pytest.raises(InputError, match="another process"),
        Scratch(tmp_path / "s", PURPOSE),
    ):
        pass


def test_waiting_for_the_lock_of_removed_work_gives_a_new_lock(tmp_path, monkeypatch):
    first, second = (Scratch(tmp_path / "s", PURPOSE) for _ in range(2))
    real = open

    def meanwhile(*arguments):
        """Open the lock just before it is deleted."""
        file = real(*arguments)
        monkeypatch.undo()
        first.remove()
        return file

    with first:
        first.ledger["a"] = 1
        monkeypatch.setattr(atomic, "open", meanwhile, raising=False)
        with second:
            assert not second.ledger
            assert (tmp_path / "s" / "ledger.jsonl").exists()
            with (
                pytest.raises(InputError, match="another process"),
                Scratch(tmp_path / "s", PURPOSE),
            ):
                pass


def test_a_folder_that_vanishes_during_locking_is_recreated(tmp_path, monkeypatch):
    real = open

    def meanwhile(path, *arguments):
        monkeypatch.undo()
        path.parent.rmdir()  # as another process does when it finishes
        return real(path, *arguments)

    monkeypatch.setattr(atomic, "open", meanwhile, raising=False)
    with Scratch(tmp_path / "s", PURPOSE) as scratch:
        scratch.ledger["a"] = 1
    assert (tmp_path / "s" / "ledger.jsonl").exists()


def test_locking_is_not_retried_forever(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        atomic.lock(tmp_path / "link" / "lock")


def test_no_other_process_enters_during_removal(tmp_path, monkeypatch):
    real, refused = shutil.rmtree, []

    def rmtree(path):
        with (
            pytest.raises(InputError, match="another process") as error,
            Scratch(tmp_path / "s", {}),
        ):
            pass
        refused.append(error)
        real(path)

    with Scratch(tmp_path / "s", PURPOSE) as scratch:
        scratch.pixels((9, 9), np.dtype(np.uint8), (4, 4))
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        scratch.remove()
    assert refused
    assert not list(tmp_path.iterdir())


def test_kept_work_is_finished_and_does_not_block_other_work(tmp_path):
    folder = tmp_path / "s"
    assert not unfinished_purpose(folder)
    with Scratch(folder, PURPOSE) as scratch:
        assert unfinished_purpose(folder)
        scratch.keep()
    assert not unfinished_purpose(folder)
    with Scratch(folder, PURPOSE) as scratch:
        assert scratch.ledger
    with Scratch(folder, PURPOSE | {"tile": 70}) as scratch:
        assert not scratch.ledger
        assert unfinished_purpose(folder)


@pytest.mark.parametrize("left", [b"", b"\0\0", b"5"])
def test_work_with_an_unreadable_purpose_is_restarted(tmp_path, left):
    with Scratch(tmp_path / "s", PURPOSE) as scratch:
        scratch.ledger["a"] = 1
    (tmp_path / "s" / "purpose.json").write_bytes(left)
    with Scratch(tmp_path / "s", PURPOSE) as scratch:
        assert not scratch.ledger


def test_two_processes_do_not_share_a_folder_on_windows(tmp_path, monkeypatch):
    taken = []

    def locking(file, mode, length):
        assert (mode, length) == (2, 1)
        if taken:
            raise PermissionError(13, "Permission denied")
        taken.append(file)

    monkeypatch.setattr(atomic, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    test_two_processes_do_not_share_a_folder(tmp_path)


def test_a_drive_without_locks_works_with_a_warning(tmp_path, monkeypatch, caplog):
    answer = errno.ENOTSUP

    def flock(*_):
        raise OSError(answer, "some reason")

    monkeypatch.setattr("fcntl.flock", flock)
    with Scratch(tmp_path / "s", PURPOSE) as scratch:
        scratch.ledger["a"] = 1
        scratch.remove()
    assert not list(tmp_path.iterdir())
    assert "a drive without locks" in caplog.text
    answer = errno.EIO
    with pytest.raises(OSError, match="some reason"), Scratch(tmp_path / "s", PURPOSE):
        pass


def test_work_that_cannot_be_removed_is_reported_and_not_resumed(tmp_path, monkeypatch, caplog):
    def rmtree(_):
        raise PermissionError(13, "Permission denied")

    with Scratch(tmp_path / "s", PURPOSE) as scratch, monkeypatch.context() as patched:
        scratch.pixels((9, 9), np.dtype(np.uint8), (4, 4))
        patched.setattr("shutil.rmtree", rmtree)
        scratch.remove()
    assert "not needed but could not be removed" in caplog.text
    with Scratch(tmp_path / "s", PURPOSE) as scratch:
        assert not scratch.ledger


def test_a_full_disk_leaves_the_ledger_unchanged(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "ledger")
    ledger["a"] = 1

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            ledger["b"] = 2
    assert "b" not in ledger
    ledger.close()
    assert Ledger(tmp_path / "ledger")["a"] == 1


def test_links_in_a_folder_are_removed_but_not_their_targets(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a").touch()
    (tmp_path / "s").mkdir()
    (tmp_path / "s/link").symlink_to(tmp_path / "elsewhere")
    with Scratch(tmp_path / "s", PURPOSE):
        assert not (tmp_path / "s/link").exists()
    assert (tmp_path / "elsewhere/a").exists()
