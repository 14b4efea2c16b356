"""Files: whole or absent, and JSON of strangers."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from pathlib import Path

import pytest
from disk import can_exchange
from hypothesis import given
from hypothesis import strategies as st

from onepfrac import files
from onepfrac.files import (
    canonical_json,
    exchange,
    parse_json_object,
    put_folder,
    read_json_object,
    temporary_folder,
    write_bytes,
    write_text,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_what_is_written_is_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_bytes(target, b"first")
    write_text(str(target), "zweites ä")
    assert target.read_text("utf-8") == "zweites ä"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_gets_the_permissions_of_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    target = tmp_path / "file"
    write_bytes(target, b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(type(error)) as caught:
        write_bytes(target, b"new")
    if isinstance(error, OSError):
        assert "cannot write" in str(caught.value)
        assert str(target) in str(caught.value)
        assert caught.value.errno == 28  # type: ignore[attr-defined]
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_new_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real_sync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda fd: (calls.append("fsync"), real_sync(fd)))
    monkeypatch.setattr(files.os, "replace", lambda a, b: (calls.append("replace"), real_replace(a, b)))
    write_bytes(tmp_path / "file", b"data")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_folder_that_cannot_be_opened_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse_folders(path: Path, *arguments: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments)

    monkeypatch.setattr(files.os, "open", refuse_folders)
    write_bytes(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"


def test_a_folder_that_cannot_be_synchronised_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", refuse_folders)
    write_bytes(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cannot write .*absent/file"):
        write_bytes(tmp_path / "absent" / "file", b"")


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_canonical_json_is_one_text_a_value_and_reads_back(value: dict[str, object]) -> None:
    text = canonical_json(value)
    assert text.isascii()
    assert parse_json_object(text, "value") == value
    backwards = dict(reversed(list(value.items())))
    assert canonical_json(backwards) == text


# ---- folders ---------------------------------------------------------------------------------------------------------


def fill(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("one", "two"):
        write_text(folder / name, text)


def read(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in sorted(os.listdir(folder))]


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_temporary_folder_takes_the_place_of_another_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr(files, "exchange", lambda one, other: False)
    target = tmp_path / "folder"
    for text in ("first", "second", "third"):
        with temporary_folder(target) as folder:
            assert os.listdir(folder) == []
            fill(folder, text)
            put_folder(folder, target)
        assert read(target) == [text, text]
        assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_is_replaced_in_one_step_where_names_can_be_exchanged(tmp_path: Path) -> None:
    if not can_exchange(tmp_path):
        pytest.skip("neither this system nor this file system can exchange two names")
    target, source, done, found = tmp_path / "folder", tmp_path / "other", threading.Event(), []

    def look() -> None:
        while not done.is_set():
            found.append(target.is_dir())

    fill(target, "first")
    fill(source, "second")
    thread = threading.Thread(target=look)
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(500):
            put_folder(source, target)
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(old)
    assert len(found) > 100
    assert all(found)
    assert read(target) == ["first"] * 2
    assert read(source) == ["second"] * 2


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_only_a_folder_is_replaced_by_a_folder(tmp_path: Path, kind: str) -> None:
    target, source = tmp_path / "folder", tmp_path / "source"
    fill(source, "new")
    if kind == "file":
        write_text(target, "a file")
    else:
        fill(tmp_path / "elsewhere", "old")
        target.symlink_to(tmp_path / ("elsewhere" if kind == "link" else "nowhere"))
    with pytest.raises(NotADirectoryError, match=r"cannot replace .*folder"):
        put_folder(source, target)
    assert read(source) == ["new", "new"]
    assert os.path.lexists(target)
    assert kind != "file" or target.read_text() == "a file"


@pytest.mark.parametrize("which", ["folder", "source"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_folder_that_cannot_be_renamed_leaves_both_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, which: str
) -> None:
    target, source, replace = tmp_path / "folder", tmp_path / "source", os.replace
    fill(target, "old")
    fill(source, "new")

    def fail(before: Path, after: Path) -> None:
        if before.name != which:
            replace(before, after)
            return
        if which == "folder" and isinstance(error, KeyboardInterrupt):
            replace(before, after)  # Python hears of it when the call is over
        raise error

    monkeypatch.setattr(files, "exchange", lambda one, other: False)
    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(type(error)):
        put_folder(source, target)
    assert read(target) == ["old", "old"]
    assert read(source) == ["new", "new"]
    assert sorted(os.listdir(tmp_path)) == ["folder", "source"]


def test_an_exchange_that_fails_names_the_path_and_one_that_cannot_be_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if can_exchange(tmp_path):
        with pytest.raises(FileNotFoundError, match=r"cannot replace .*nowhere"):
            exchange(tmp_path, tmp_path / "nowhere")

    class Old:
        """A library of C that knows no exchange."""

    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: Old())
    assert not exchange(tmp_path / "one", tmp_path / "other")


def test_a_temporary_folder_is_removed_whatever_happens(tmp_path: Path) -> None:
    def fail() -> None:
        with temporary_folder(tmp_path / "folder") as folder:
            fill(folder, "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert os.listdir(tmp_path) == []


# ---- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canonical_json_refuses_what_json_cannot_hold(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is not legal JSON: Expecting value"),
        ("{", "it is not legal JSON"),
        ("[1]", "it must hold a JSON object, got a list"),
        ("3", "it must hold a JSON object, got a int"),
        ('{"a": NaN}', "it is not legal JSON: NaN is not a legal number"),
        ('{"a": -Infinity}', "-Infinity is not a legal number"),
        ('{"a": 1, "a": 2}', "key 'a' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 10_000 + "}", "not legal JSON"),
    ],
)
def test_bad_json_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json_object(text, "it")


def test_reading_refuses_large_files_other_encodings_and_names_the_path(tmp_path: Path) -> None:
    target = tmp_path / "file.json"
    target.write_text(json.dumps({"x": "y" * 100}))
    assert read_json_object(target) == {"x": "y" * 100}
    with pytest.raises(ValueError, match=r"file.json is larger than 50 bytes"):
        read_json_object(target, limit=50)
    target.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"file.json is not legal JSON: not UTF-8"):
        read_json_object(target)
    with pytest.raises(FileNotFoundError):
        read_json_object(tmp_path / "absent")
