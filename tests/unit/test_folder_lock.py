"""A folder has one user at a time, who is named; nothing is deleted while it has one."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.folder_lock import (
    FolderInUseError,
    NotASandboxError,
    empty_sandbox,
    lock_folder,
    remove_sandbox,
    remove_tree,
)

HOLD = "import sys; from pathlib import Path; from gateway.folder_lock import lock_folder; {}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "trial"
    (folder / "roles" / "witness-sz").mkdir(parents=True)
    (folder / "bank").mkdir()
    (folder / "sandbox.json").write_text("{}")
    return folder


def holder(folder: Path) -> "subprocess.Popen[str]":
    """Start a process that locks `folder` and waits."""
    code = HOLD.format("lock = lock_folder(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture(params=[".", "roles/witness-sz", "bank"])
def held(request: pytest.FixtureRequest, data: Path) -> Iterator["subprocess.Popen[str]"]:
    with holder(data / request.param) as process:
        yield process
        process.kill()


def test_a_folder_has_one_user_at_a_time_and_a_lock_that_is_released_can_be_taken(data: Path) -> None:
    lock = lock_folder(data)

    with pytest.raises(FolderInUseError):
        lock_folder(data)

    lock.release()
    lock_folder(data).release()


def test_who_is_refused_is_told_the_process_that_has_the_folder(data: Path) -> None:
    with holder(data) as process:
        with pytest.raises(FolderInUseError, match=f"in use by process {process.pid};"):
            lock_folder(data)
        process.kill()


def test_the_lock_of_a_killed_process_is_no_obstacle(data: Path) -> None:
    with holder(data) as process:
        process.kill()

    lock = lock_folder(data)

    assert (data / ".lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_dead_process_is_not_named_as_the_holder(data: Path) -> None:
    lock = lock_folder(data)
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    (data / ".lock").write_text(f"{dead.pid}\n")

    with pytest.raises(FolderInUseError, match="in use by another process") as caught:
        lock_folder(data)

    assert caught.value.process_id is None
    lock.release()


def test_a_lock_on_a_file_that_was_deleted_meanwhile_is_not_a_lock(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock
    replaced: list[int] = []

    def replace_first(descriptor: int, kind: int) -> None:
        # between our opening and our locking another command removes the folder's lock and makes a new one
        if not replaced:
            replaced.append(descriptor)
            (data / ".lock").unlink()
            (data / ".lock").touch()
        flock(descriptor, kind)

    monkeypatch.setattr("gateway.folder_lock.fcntl.flock", replace_first)

    lock = lock_folder(data)

    assert os.path.samestat((data / ".lock").stat(), os.fstat(lock.descriptor))
    lock.release()


def test_a_child_that_inherits_the_lock_keeps_it_when_its_parent_ends(data: Path) -> None:
    lock = lock_folder(data)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,)
    ) as child:
        lock.release()

        with pytest.raises(FolderInUseError):
            lock_folder(data)
        child.kill()

    lock_folder(data).release()


def test_nothing_is_deleted_while_a_process_uses_any_part(data: Path, held: "subprocess.Popen[str]") -> None:
    before = sorted(path for path in data.rglob("*") if path.name != ".lock")

    for remove in (remove_sandbox, remove_tree):
        with pytest.raises(FolderInUseError, match=str(held.pid)):
            remove(data)

    assert sorted(path for path in data.rglob("*") if path.name != ".lock") == before


def test_emptying_leaves_the_lock_and_nothing_else(data: Path) -> None:
    lock = lock_folder(data)

    empty_sandbox(data)

    assert [path.name for path in data.iterdir()] == [".lock"]
    with pytest.raises(FolderInUseError):
        lock_folder(data)
    lock.release()


def test_a_folder_that_is_not_a_sandbox_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")

    for remove in (empty_sandbox, remove_sandbox):
        with pytest.raises(NotASandboxError, match="not a sandbox"):
            remove(tmp_path)

    assert (tmp_path / "thesis.txt").exists()


def test_a_link_in_a_sandbox_is_deleted_and_not_what_it_leads_to(data: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (data / "link").symlink_to(tmp_path / "elsewhere")

    remove_sandbox(data)

    assert not data.exists()
    assert (tmp_path / "elsewhere" / "kept").exists()


def test_removing_what_is_not_there_is_done_already(tmp_path: Path) -> None:
    remove_sandbox(tmp_path / "nowhere")
    remove_tree(tmp_path / "nowhere")


def test_make_clean_refuses_in_one_sentence_and_deletes_once_the_process_has_ended(data: Path) -> None:
    command = [sys.executable, "-m", "gateway.folder_lock", str(data.parent)]
    with holder(data) as process:
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        process.kill()

    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"process {process.pid}" in refused.stderr
    assert (data / "sandbox.json").exists()
    assert subprocess.run(command, check=False).returncode == 0
    assert not data.exists()
