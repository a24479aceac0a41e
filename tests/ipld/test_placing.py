"""Files of strangers on the user's disk: every trick that is known for getting out of a folder, and what is left of it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput, IpvmError, LimitExceeded, NotAllowed, NotFound
from ipvm_kernel.ipld import placing
from ipvm_kernel.ipld.placing import DEPTH, FILES, Place, safe_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRICKS = {
    "an empty name": ("", "an empty one"),
    "the folder itself": (".", "begins with a dot"),
    "the folder above": ("..", "begins with a dot"),
    "climbing": ("../outside", "begins with a dot"),
    "climbing from inside": ("a/../../outside", "begins with a dot"),
    "climbing at the end": ("a/..", "begins with a dot"),
    "the folder itself inside": ("a/./b", "begins with a dot"),
    "a hidden file": (".bashrc", "begins with a dot: it would be hidden"),
    "hooks of git": (".git/hooks/post-checkout", "begins with a dot"),
    "settings of an editor": ("a/.vscode/settings.json", "begins with a dot"),
    "three dots": ("...", "begins with a dot"),
    "absolute": ("/etc/passwd", "an empty one"),
    "absolute twice": ("//etc/passwd", "an empty one"),
    "a slash at the end": ("a/", "an empty one"),
    "two slashes": ("a//b", "an empty one"),
    "a backslash": ("a\\b", "which separates folders"),
    "climbing with backslashes": ("..\\..\\outside", "begins with a dot"),
    "climbing with backslashes, inside": ("a\\..\\..\\outside", "which separates folders"),
    "a share": ("\\\\server\\share\\x", "which separates folders"),
    "a drive": ("C:/Windows/x", "which separates folders, drives or streams"),
    "a drive without a slash": ("C:x", "drives or streams"),
    "a stream of NTFS": ("notes.txt:hidden", "drives or streams"),
    "a stream that is a folder": ("a::$INDEX_ALLOCATION/x", "drives or streams"),
    "a zero byte": ("a\0.txt", r"the character U\+0000"),
    "a new line": ("a\nb", r"the character U\+000A"),
    "a carriage return": ("a\rb", r"the character U\+000D"),
    "a terminal escape": ("\x1b[2Ja", r"the character U\+001B"),
    "a C1 control": ("a\x9bb", r"the character U\+009B"),
    "delete": ("a\x7f", r"the character U\+007F"),
    "right to left": ("annex\u202efdp.exe", r"the character U\+202E"),
    "an invisible space": ("a\u200b", r"the character U\+200B"),
    "a mark of byte order": ("\ufeffa", r"the character U\+FEFF"),
    "a line separator": ("a\u2028b", r"the character U\+2028"),
    "half a character": ("a\ud800", r"the character U\+D800"),
    "a byte that is no text": ("a\udcff", r"the character U\+DCFF"),
    "a device": ("CON", "the name of a device"),
    "a device in small letters": ("nul", "the name of a device"),
    "a device with an ending": ("aux.txt", "the name of a device"),
    "a device with two endings": ("PRN.tar.gz", "the name of a device"),
    "a device with a space": ("COM1 .txt", "the name of a device"),
    "a device of another digit": ("LPT\u00b3", "the name of a device"),
    "the console": ("CONOUT$", "the name of a device"),
    "a folder that is a device": ("Lpt9/x", "the name of a device"),
    "a dot at the end": ("a.", "ends with a dot or a space"),
    "a space at the end": ("a ", "ends with a dot or a space"),
    "a folder with a dot at the end": ("a./b", "ends with a dot or a space"),
    "another space at the end": ("a\u00a0", "ends with a dot or a space"),
    "only a space": (" ", "ends with a dot or a space"),
    "a long name": ("n" * 256, "at most 255 bytes, found 256"),
    "a long name of few characters": ("é" * 128, "at most 255 bytes, found 256"),
    "a long path": ("/".join(["n" * 99] * 10 + ["n"]), "a path of at most 1,000 bytes"),
    "a deep path": ("/".join("d" * (DEPTH + 1)), f"at most {DEPTH} names, found {DEPTH + 1}"),
    "a very long path": ("a/" * 10_000_000, "a path of at most 1,000 bytes"),
}

PAIRS = {
    "twice": ("a", "a", "each path once, found a file"),
    "twice in a folder": ("a/b", "a/b", "each path once, found a file"),
    "a file where a folder is": ("a/b", "a", "each path once, found a folder"),
    "a folder where a file is": ("a", "a/b", "each path once, found a file"),
    "another case": ("readme", "README", "no system takes for one, found 'readme' and 'README'"),
    "folders of another case": ("a/x", "A/y", "no system takes for one, found 'a' and 'A'"),
    "a folder and a file of another case": ("a/x", "A", "no system takes for one"),
    "another case, inside": ("a/b/x", "a/B/x", "no system takes for one"),
    "another normal form": ("caf\u00e9", "cafe\u0301", "no system takes for one"),
    "another normal form and case": ("CAF\u00c9", "cafe\u0301", "no system takes for one"),
    "sharp s": ("stra\u00dfe", "STRASSE", "no system takes for one"),
    "a final sigma": ("\u03c3", "\u03c2", "no system takes for one"),
    "the sign of kelvin": ("k", "\u212a", "no system takes for one"),
    "a ligature": ("\ufb01x", "fix", "no system takes for one"),
    "order of accents": ("a\u0323\u0307", "a\u0307\u0323", "no system takes for one"),
    "a joiner that nobody sees": ("ab", "a\u200db", "no system takes for one"),
}


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing but `new` may come to be, with something beside it that is not to be touched."""
    (tmp_path / "outside").write_text("untouched")
    yield tmp_path
    assert (tmp_path / "outside").read_text() == "untouched"
    assert {path.name for path in tmp_path.iterdir()} <= {"outside", "new", "link", "aim"}


def shows(message: str) -> bool:
    """Return whether a message is one line of which everything is seen."""
    return not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in message)


def fill(folder: Path, *steps: str | Callable[[], object], max_bytes: int = 10_000) -> None:
    """Fill a new folder with files of one byte, and let other things happen in between."""
    with Place(folder, max_bytes=max_bytes) as place:
        for step in steps:
            if isinstance(step, str):
                place.add(step, [b"x"])
            else:
                step()


@pytest.mark.parametrize("name", TRICKS)
def test_tricks(ground: Path, name: str) -> None:
    """
    A name that leads elsewhere, or means something else on another system, is refused; nothing of the whole is left.
    """
    trick, words = TRICKS[name]
    with pytest.raises(BadInput, match=words) as caught:
        fill(ground / "new", "before", trick)

    assert shows(caught.value.message)
    assert len(caught.value.message) < 500
    assert [path.name for path in ground.iterdir()] == ["outside"]


@pytest.mark.parametrize("name", PAIRS)
def test_names_that_meet(ground: Path, name: str) -> None:
    """
    Two names that are one file on some system are refused, wherever this runs.
    """
    first, second, words = PAIRS[name]
    with pytest.raises(BadInput, match=words):
        fill(ground / "new", first, second)

    assert [path.name for path in ground.iterdir()] == ["outside"]


@pytest.mark.parametrize(
    "name",
    [
        "a", "a.b.c", "A note, (2) [final] & more!.ipynb", "-rf", "~", "~root", "$HOME", "%2e%2e%2f", "a..b", "con-fig",
        "console", "com", "com10", "nullable.txt", "auxiliary", "what?.txt", "a*b", "naïve café", "数据.csv", "Ünï",
        "\U0001f469\u200d\U0001f52c.png", "\u0646\u0627\u0645\u200c\u0647\u0627", "n" * 255, "é" * 127, " leading", "index.html", "a'b\"c", "#1",
    ],
)  # fmt: skip
def test_ordinary_names(ground: Path, name: str) -> None:
    """
    Names that people give to their files are taken as they are.
    """
    safe_name(name)
    with Place(ground / "new") as place:
        place.add(name, [b"1"])
        place.add(f"in/{name}", [b"2"])

    assert (ground / "new" / name).read_bytes() == b"1"
    assert (ground / "new" / "in" / name).read_bytes() == b"2"


def test_a_folder_is_filled(ground: Path) -> None:
    """
    Files come to stand in folders as they were sent, for their owner alone, whatever the pieces.
    """
    with Place(ground / "new") as place:
        where = [
            place.add("a/b/c.txt", [b"one", b"", b" two"]),
            place.add("a/d", []),
            place.add("e", (bytes([number]) * 1_000 for number in range(100))),
        ]
        assert not (ground / "new").exists()

    assert where == [ground / "new/a/b/c.txt", ground / "new/a/d", ground / "new/e"]
    assert where[0].read_bytes() == b"one two"
    assert where[1].read_bytes() == b""
    assert len(where[2].read_bytes()) == 100_000
    for path in (ground / "new", *(ground / "new").rglob("*")):
        assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_files_are_the_owners(ground: Path) -> None:
    """
    Nobody else may read what came in, even where the user gives everything to everybody.
    """
    before = os.umask(0)
    try:
        fill(ground / "new", "in/a")
    finally:
        os.umask(before)

    assert stat.S_IMODE((ground / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((ground / "new" / "in").stat().st_mode) == 0o700
    assert stat.S_IMODE((ground / "new" / "in" / "a").stat().st_mode) == 0o600


def test_an_empty_place(ground: Path) -> None:
    """
    A folder of no files is an empty folder, and an empty folder that is there is taken.
    """
    (ground / "new").mkdir()
    with Place(ground / "new"):
        pass
    with Place(ground / "new") as place:
        place.add("a", [b"x"])

    assert (ground / "new" / "a").read_bytes() == b"x"


def test_what_is_there_is_left_alone(ground: Path) -> None:
    """
    Nothing is ever written over: a full folder, a file, a link to a folder, or what came in the meantime.
    """
    (ground / "aim").mkdir()
    (ground / "link").symlink_to("aim", target_is_directory=True)
    for name in ("outside", "link", ""):
        with pytest.raises(NotAllowed, match=r"found something there: .*\. Name another one"):
            Place(ground / name)
    (ground / "link").unlink()
    (ground / "link").symlink_to("nowhere")
    with pytest.raises(NotAllowed):
        Place(ground / "link")
    with pytest.raises(NotFound, match=r"a folder to make x in, found none: .*nowhere"):
        Place(ground / "nowhere" / "x")

    def comes() -> None:
        (ground / "new").mkdir()
        (ground / "new" / "mine").write_text("mine")

    with pytest.raises(NotAllowed, match="something there by now"):
        fill(ground / "new", "a", comes)
    assert [path.name for path in (ground / "new").iterdir()] == ["mine"]
    (ground / "new" / "mine").unlink()
    (ground / "new").rmdir()

    with pytest.raises(NotAllowed, match="something there by now"):
        fill(ground / "new", "a", lambda: (ground / "new").symlink_to("aim"))
    (ground / "new").unlink()
    assert list((ground / "aim").iterdir()) == []


def test_an_error_leaves_nothing(ground: Path) -> None:
    """
    Whatever breaks off in the middle, a peer or the user, nothing half-written is left.
    """

    def breaks() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    def half() -> None:
        with Place(ground / "new") as place:
            place.add("deep/down/a", [b"x"])
            place.add("b", breaks())

    with pytest.raises(KeyboardInterrupt):
        half()
    assert [path.name for path in ground.iterdir()] == ["outside"]

    with pytest.raises(ZeroDivisionError):
        fill(ground / "new", "a", lambda: 1 // 0)
    assert [path.name for path in ground.iterdir()] == ["outside"]


def test_a_refusal_cannot_be_passed_over(ground: Path) -> None:
    """
    Who catches a refusal and goes on gets no folder without the refused file.
    """

    def careless() -> None:
        with Place(ground / "new") as place:
            place.add("a", [b"x"])
            with pytest.raises(BadInput):
                place.add("../b", [b"x"])
            assert [path.name for path in ground.iterdir()] == ["outside"]
            with pytest.raises(BadInput, match="a place that is being filled, found none"):
                place.add("c", [b"x"])

    with pytest.raises(BadInput, match=r"every file to be taken, found one refused\. Nothing was made"):
        careless()
    assert [path.name for path in ground.iterdir()] == ["outside"]


def test_a_place_that_was_not_entered(ground: Path) -> None:
    """
    A place takes files only in its `with` block, and makes nothing before.
    """
    place = Place(ground / "new")
    with pytest.raises(BadInput, match="Use it in a `with` block"):
        place.add("a", [b"x"])
    assert [path.name for path in ground.iterdir()] == ["outside"]
    with place:
        place.add("a", [b"x"])
    with pytest.raises(BadInput, match="Use it in a `with` block"):
        place.add("b", [b"x"])
    assert [path.name for path in (ground / "new").iterdir()] == ["a"]


def test_bytes_are_counted(ground: Path) -> None:
    """
    A stream without end is cut where the room ends, over all files together.
    """
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(1_000)

    def much() -> None:
        with Place(ground / "new", max_bytes=10_000) as place:
            place.add("a", [bytes(5_000)])
            place.add("in/b", endless())

    with pytest.raises(LimitExceeded, match="files of at most 10,000 bytes in all, found more: 'in/b'"):
        much()
    assert asked == 6
    with Place(ground / "new", max_bytes=10_000) as place:
        place.add("a", [bytes(5_000)])
        place.add("b", [bytes(5_000)])
    assert (ground / "new" / "b").stat().st_size == 5_000


def test_files_are_counted(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Files and folders are counted together; one too many is refused, and takes the others with it.
    """
    assert FILES == 10_000
    monkeypatch.setattr(placing, "FILES", 20)
    with pytest.raises(LimitExceeded, match="at most 20 files and folders, found another"):
        fill(ground / "new", *(f"in/{number}" for number in range(20)))
    with pytest.raises(LimitExceeded, match="at most 20 files"):
        fill(ground / "new", "/".join("d" * 21))
    assert [path.name for path in ground.iterdir()] == ["outside"]
    fill(ground / "new", *(f"in/{number}" for number in range(19)))


def test_links_are_not_followed(ground: Path) -> None:
    """
    A link that somebody puts into the folder while it is filled leads nowhere.
    """
    (ground / "aim").mkdir()

    def inside(name: str) -> Path:
        return next(path for path in ground.iterdir() if path.name.endswith(".part")) / name

    with pytest.raises(NotADirectoryError):
        fill(ground / "new", "a", lambda: inside("in").symlink_to(ground / "aim"), "in/b")
    with pytest.raises(FileExistsError):
        fill(ground / "new", lambda: inside("b").symlink_to(ground / "outside"), "b")
    with pytest.raises(FileExistsError):
        fill(ground / "new", lambda: inside("b").write_text("there"), "b")
    assert list((ground / "aim").iterdir()) == []


def test_the_place_may_move(ground: Path) -> None:
    """
    Where the folder comes to be is settled when it is begun, whatever happens to the names on the way to it.
    """
    (ground / "new").mkdir()
    inner = ground / "new" / "home"
    inner.mkdir()
    with Place(inner / "x") as place:
        inner.rename(ground / "new" / "moved")
        (ground / "aim").mkdir()
        inner.symlink_to(ground / "aim", target_is_directory=True)
        place.add("a", [b"x"])

    assert (ground / "new" / "moved" / "x" / "a").read_bytes() == b"x"
    assert list((ground / "aim").iterdir()) == []


def test_where_no_folder_can_be_made() -> None:
    """
    Where the system makes no folder, its own words say why.
    """
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc, in which nobody can make a folder")
    with pytest.raises(OSError, match=r"/proc|No such file|denied|permitted"):
        fill(Path("/proc/new"), "a")


def test_nothing_stays_open(ground: Path) -> None:
    """
    Files and folders are closed again, whether all went well or not.
    """
    open_ = Path("/proc/self/fd")
    if not open_.is_dir():
        pytest.skip("no /proc, which tells what is open")
    before = len(list(open_.iterdir()))
    for number in range(20):
        with pytest.raises(BadInput):
            fill(ground / "new", f"a/b/{number}", "a/b")
    fill(ground / "new", "a/b/c")

    assert len(list(open_.iterdir())) == before


def test_a_killed_process_leaves_no_half_folder(ground: Path) -> None:
    """
    A process that is killed in the middle leaves no folder of that name.
    """
    program = f"""
        import os, signal
        from pathlib import Path
        from ipvm_kernel.ipld.placing import Place
        with Place(Path({str(ground / "new")!r})) as place:
            place.add("a/b", [b"x"])
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    left = [path for path in ground.iterdir() if path.name != "outside"]

    assert done.returncode == -9
    assert len(left) == 1
    assert left[0].name.endswith(".part")
    (left[0] / "a" / "b").unlink()
    (left[0] / "a").rmdir()
    left[0].rmdir()


@given(name=st.text(max_size=40))
def test_any_text(name: str) -> None:
    """
    Any text is refused in one visible line, or is one plain name on every system.
    """
    try:
        safe_name(name)
    except IpvmError as error:
        refused = error.message
    else:
        refused = ""
    if refused:
        assert shows(refused)
        return
    assert name.encode()
    assert Path(name).name == name
    assert name not in {"", ".", ".."}
    assert not any(unicodedata.category(char) in {"Cc", "Cs"} for char in name)


def test_what_is_no_text(ground: Path) -> None:
    """
    Bytes are not taken for a name, nor for a path.
    """

    def add_bytes() -> None:
        with Place(ground / "new") as place:
            place.add(b"a", [])  # type: ignore[arg-type]

    with pytest.raises(BadInput, match="a file name as text, found bytes"):
        safe_name(b"a")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="a file name as text, found bytes"):
        add_bytes()
