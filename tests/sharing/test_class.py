"""A class: the teacher has run a notebook, and the pupils read that store beside their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sharing.typists import TASKS, Typist

if TYPE_CHECKING:
    from pathlib import Path


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """
    Every file in a folder, with its size and time.
    """
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_class_reads_what_its_teacher_prepared(tmp_path: Path) -> None:
    """
    With `IPVM_LAYERS` naming a store that nobody may write to, a notebook that was run there is replayed whole: nothing is
    run, nobody has to be trusted, and the layer is as it was.
    """
    teacher = Typist(tmp_path / "teacher")
    study = teacher.writes()
    teacher.executes(study)
    pupil = Typist(tmp_path / "pupil", IPVM_LAYERS=str(teacher.home))
    alone = Typist(tmp_path / "alone")
    parts = [*teacher.home.rglob("*"), teacher.home]
    modes = {path: path.stat().st_mode for path in parts}
    for path in parts:
        path.chmod(modes[path] & ~0o222)
    before = listing(teacher.home)
    said = pupil.executes(pupil.writes())
    told = pupil.ipvm("store")
    again = pupil.ipvm("check", "study.ipynb", "--rerun", "all")
    after = listing(teacher.home)
    for path in parts:
        path.chmod(modes[path])
    alone.executes(alone.writes())

    assert f"{TASKS} tasks: {TASKS} replayed" in said
    assert " computed" not in said
    assert pupil.ran() == 0
    assert teacher.ran() == alone.ran() == TASKS
    assert str(teacher.home) in told
    assert f"{TASKS} same, 0 different" in again
    assert after == before
