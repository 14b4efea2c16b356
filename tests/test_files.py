"""Files: whole or absent, and JSON of strangers."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onepfrac import files
from onepfrac.files import canonical_json, parse_json_object, read_json_object, write_bytes, write_text

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
