"""Files of strangers: recipes, categories, weights, states and photographs that were made to do harm."""

from __future__ import annotations

import json
import os
import pickle
import signal
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from family import SMALL
from PIL import Image
from programs import run
from promises.tally import tried
from test_weights import VIT, write

import onepfrac
from onepfrac import files
from onepfrac.train import bounded, checkpoint, images, models, options

LONGEST_MESSAGE = 3000

# Reads one file a line of the argument and prints by how much memory grew, in MiB, and what came of each.
READER = """
import json, resource, sys, time
import onepfrac
from onepfrac import SingleImage, load_recipe
from onepfrac.train import checkpoint

resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))  # spares the machine where a bound is broken

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

read = {
    "recipe": load_recipe,
    "tensors": checkpoint.read,
    "model": onepfrac.load_pretrained,
    "photo": lambda path: SingleImage.from_photo(path, canny=False, canvas=64),
}
"""


def read_in_child(kind: str, *paths: Path, first: Path | None = None) -> list[tuple[str, float, float, str]]:
    """Read files in a process of its own; return for each the kind of error, MiB of growth, seconds and message.

    ``first`` is a good file of this kind, so that the growth is the bad file's and not that of libraries.
    """
    printed = run(
        f"""
        for path in {[str(path) for path in ([first] if first else []) + list(paths)]}:
            before, start = peak(), time.monotonic()
            try:
                read[{kind!r}](path)
                outcome = ("none", "")
            except Exception as error:
                outcome = (type(error).__name__, str(error))
            print(json.dumps([outcome[0], peak() - before, time.monotonic() - start, outcome[1][:20000]]))
        """,
        before=READER,
    )
    lines = [tuple(json.loads(line)) for line in printed.splitlines()]
    if first is not None:
        assert lines.pop(0)[0] == "none"
    tried(len(lines))
    return lines  # type: ignore[return-value]


def refused(read: Callable[[], object]) -> str:
    """Return the message of the ValueError or TypeError that a call raises; what takes 20 seconds is ended."""

    def too_long(*_: object) -> None:
        raise TimeoutError("it was not refused within 20 seconds")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(20)
    try:
        with pytest.raises((ValueError, TypeError)) as caught:
            read()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    tried()
    assert len(str(caught.value)) <= LONGEST_MESSAGE
    return str(caught.value)


# JSON


def as_recipe(**fields: Any) -> str:
    return files.canonical_json({**json.loads(onepfrac.OnePFrac().to_json()), **fields})


MIB = 1024 * 1024
BOMBS = {
    "empty lists": lambda size: '{"format":1,"categories":[' + "[]," * (size // 3) + "[]]}",
    "empty objects": lambda size: '{"format":1,"categories":[' + "{}," * (size // 3) + "{}]}",
    "lists of one": lambda size: '{"format":1,"categories":[' + "[0]," * (size // 4) + "[]]}",
    "short strings": lambda size: '{"format":1,"categories":[' + '"ab",' * (size // 5) + '"a"]}',
    "keys": lambda size: '{"format":1,' + ",".join(f'"{n:x}":0' for n in range(size // 9)) + "}",
    "objects": lambda size: '{"format":1,"categories":[' + '{"a":0},' * (size // 8) + "{}]}",
}


def test_json_takes_no_more_than_ten_times_its_size_and_64_mib(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(SMALL["OnePFrac"].to_json())
    paths = [tmp_path / f"{name}.json" for name in BOMBS]
    for path in paths:
        path.write_text(BOMBS[path.stem](16 * MIB))
    for error, growth, _, message in read_in_child("recipe", *paths, first=tmp_path / "good.json"):
        assert error == "ValueError"
        assert "json must hold long values" in message
        assert growth < 16 * 10 + 64


def test_long_lists_of_systems_are_far_from_the_bound_of_json() -> None:
    systems = [{"maps": [[[0.5, 0, 0], [0, 0.5, 0.25]]] * 2, "probs": [0.5, 0.5]}] * 80_000
    text = files.canonical_json({"systems": systems})
    with pytest.raises(ValueError, match="must hold long values"):  # numbers without digits, and so no systems
        files.parse_json_object(text, "systems")
    rows = [{"maps": (torch.rand(3, 2, 3, dtype=torch.float64) - 0.5).tolist(), "probs": [1 / 3] * 3}] * 5_000
    assert len(files.parse_json_object(files.canonical_json({"systems": rows}), "systems")["systems"]) == 5_000  # type: ignore[arg-type]


HOSTILE_JSON = {
    "deep lists": "[" * 100_000,
    "a deep field": '{"format":1,"dataset":"OnePFrac","seed":' + "[" * 5000 + "]" * 5000 + "}",
    "deep objects": '{"a":' * 100_000,
    "a number of many digits": '{"format":' + "9" * 1_000_000 + "}",
    "an infinity": '{"format":1e999}',
    "a long key twice": '{"' + "k" * 1_000_000 + '":1,"' + "k" * 1_000_000 + '":2}',
    "a long unknown key": '{"format":1,"dataset":"OnePFrac","' + "k" * 1_000_000 + '":1}',
    "a long format": '{"format":"' + "f" * 1_000_000 + '"}',
    "a long name": '{"format":1,"dataset":"' + "d" * 1_000_000 + '"}',
    "lone surrogates": '{"format":"\\ud800"}',
    "a path for categories": '{"format":1,"dataset":"OFDB","categories":"/etc/passwd"}',
    "10^18 classes": as_recipe(num_classes=10**18),
    "classes of 4000 digits": as_recipe(num_classes=10**4000),
    "10^18 points": as_recipe(points=10**18),
    "a canvas of 10^9": as_recipe(canvas=10**9),
    "a long seed": as_recipe(seed="s" * 1_000_000),
    "a list for a number": as_recipe(delta=[0.0] * 100_000),
    "not UTF-8": "\udcff",
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_hostile_json_is_refused_soon_with_a_short_message(name: str, tmp_path: Path) -> None:
    path = tmp_path / "stranger.json"
    path.write_bytes(HOSTILE_JSON[name].encode("utf-8", "surrogateescape"))
    refused(lambda: onepfrac.load_recipe(path))
    refused(lambda: onepfrac.Categories.load(path))
    refused(lambda: files.parse_json_object(HOSTILE_JSON[name] + "]", "text"))
    for kind in SMALL.values():
        refused(lambda kind=kind: type(kind).from_json(HOSTILE_JSON[name]))  # type: ignore[misc]


# Tensors


def raw_tensors(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(shape: list[int], first: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, end]}


def header(**entries: Any) -> bytes:
    return json.dumps(entries).encode()


HOSTILE_TENSORS: dict[str, bytes] = {
    "nothing": b"",
    "half a length": b"\1\0\0",
    "a header of 2^63 bytes": raw_tensors(b"{}", length=2**63),
    "a header beyond the file": raw_tensors(b"{}", length=90_000_000),
    "a header of 120 MB": raw_tensors(b" " * 120_000_000),
    "a header that is no JSON": raw_tensors(b"[" * 100_000),
    "deep metadata": raw_tensors(b'{"__metadata__":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "4 TB": raw_tensors(header(a=entry([2**40], 0, 2**42))),
    "4 TB and the data of 4 bytes": raw_tensors(header(a=entry([2**40], 0, 4)), b"1234"),
    "a product beyond 64 bits": raw_tensors(header(a=entry([2**33, 2**33], 0, 4)), b"1234"),
    "overlapping tensors": raw_tensors(header(a=entry([2], 0, 8), b=entry([2], 4, 12)), bytes(12)),
    "a negative place": raw_tensors(header(a=entry([1], -4, 0)), bytes(4)),
    "places the wrong way around": raw_tensors(header(a=entry([1], 4, 0)), bytes(4)),
    "a gap": raw_tensors(header(a=entry([1], 4, 8)), bytes(8)),
    "a negative size": raw_tensors(header(a=entry([-1], 0, 4)), bytes(4)),
    "an unknown type": raw_tensors(header(a=entry([1], 0, 4, "PICKLE")), bytes(4)),
    "an object of empty lists": raw_tensors(
        header(__metadata__={"onepfrac": '{"a":[' + "[]," * 5_000_000 + "[]]}"}),
    ),
    "deep JSON": raw_tensors(header(__metadata__={"onepfrac": '{"a":' * 100_000})),
}


def test_hostile_tensors_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "good", {"a": torch.zeros(4)}, {})
    paths = [tmp_path / name for name in HOSTILE_TENSORS]
    for path in paths:
        path.write_bytes(HOSTILE_TENSORS[path.name])
    for path, (error, growth, seconds, message) in zip(
        paths, read_in_child("tensors", *paths, first=tmp_path / "good"), strict=True
    ):
        assert error == "ValueError", path.name
        assert len(message) < LONGEST_MESSAGE, path.name
        assert growth < 64 + 10 * path.stat().st_size / MIB, path.name
        assert seconds < 20, path.name


# Models


HOSTILE_MODELS: dict[str, dict[str, Any]] = {
    "deep": {"model_arg": ["depth=5000000"]},
    "deeper than its weights": {"model_arg": ["depth=20000"]},
    "wide": {"model_arg": ["embed_dim=1000000000", "num_heads=1"]},
    "wider than its weights": {"model_arg": ["embed_dim=12000", "num_heads=1"]},
    "tokens": {"model_arg": ["reg_tokens=900000"]},
    "ratio": {"model_arg": ["mlp_ratio=1e12"]},
    "long lists": {"model": "resnet18", "model_arg": ["layers=(900000, 1, 1, 1)"]},
    "giant": {"model": "vit_giant_patch14_224", "model_arg": []},
    "large pictures": {"size": 100_000},
    "larger pictures": {"size": 10**18},
    "a hub": {"model": "hf-hub:stranger/model"},
    "a folder": {"model": "local-dir:/tmp/stranger"},
    "a tag with a path": {"model": f"{VIT}./../x"},
    "no tag of timm": {"model": f"{VIT}.stranger"},
    "weights elsewhere": {"model_arg": ["pretrained=True"]},
    "a file elsewhere": {"model_arg": ["checkpoint_path=/tmp/stranger"]},
    "a configuration": {"model_arg": ["pretrained_cfg={'file': '/tmp/stranger'}"]},
    "a cache": {"model_arg": ["cache_dir=/tmp/stranger"]},
    "deep literal": {"model_arg": ["act_layer=" + "(" * 1500]},
    "long literal": {"model_arg": ["act_layer=" + "[]," * 1_000_000]},
    "no literal": {"model_arg": ["act_layer={[]: 1}"]},
}


def test_a_model_may_take_what_its_weights_let_expect(tmp_path: Path) -> None:
    write(tmp_path / "good.safetensors")
    paths = [tmp_path / f"{name}.safetensors" for name in HOSTILE_MODELS]
    usual = ["patch_size=8", "embed_dim=16", "depth=1", "num_heads=2"]
    for path in paths:
        changes = HOSTILE_MODELS[path.stem]
        given = changes.get("model_arg", usual)
        named = {pair.partition("=")[0] for pair in given}
        full = given if "model" in changes else [pair for pair in usual if pair.partition("=")[0] not in named] + given
        write(path, settings={**changes, "model_arg": full})
    for path, (error, growth, seconds, message) in zip(
        paths, read_in_child("model", *paths, first=tmp_path / "good.safetensors"), strict=True
    ):
        assert error == "ValueError", (path.name, message[:200])
        assert len(message) < LONGEST_MESSAGE, path.name
        assert growth < 100, path.name
        assert seconds < 20, path.name


def test_a_bound_changes_no_weight_of_a_model_that_keeps_it() -> None:
    arguments = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    torch.manual_seed(0)
    plain = models.build_model(VIT, 4, 16, arguments).state_dict()
    torch.manual_seed(0)
    made = models.build_model(VIT, 4, 16, arguments, bound=bounded.bound_by(plain)).state_dict()
    assert all(torch.equal(plain[key], made[key]) for key in plain)


def test_who_asks_for_more_classes_or_larger_pictures_gets_them(tmp_path: Path) -> None:
    write(tmp_path / "weights.safetensors")
    model = onepfrac.load_pretrained(tmp_path, 2_000_000)
    assert model.num_classes == 2_000_000
    limits = bounded.bound_by({}).making
    with pytest.raises(ValueError, match="it takes more memory than its weights let expect"), bounded.Bounded(limits):
        torch.zeros(2_000_000, 16)


OPERATIONS: dict[str, Callable[[torch.Tensor], Any]] = {
    "a new tensor": lambda _: torch.empty(10**9),
    "numbers in a row": lambda _: torch.linspace(0, 1, 10**9, device="cpu"),
    "an outer product": lambda x: torch.outer(x, x),
    "a copy of a view": lambda x: x.expand(10**5, 10**5).contiguous(),
    "many small ones": lambda x: [x + 1 for _ in range(10**4)],
    "rows one by one": lambda x: list(x),
    "repeats": lambda x: x.repeat(10**5),
    "a cast": lambda x: x.expand(10**5, 10**5).double(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_goes_beyond_its_limits(name: str) -> None:
    limits = bounded.Limits(total=64 * MIB, largest=16 * MIB, operations=1000)
    x = torch.zeros(10**5)
    with bounded.Bounded(limits):
        assert "it takes more" in refused(lambda: OPERATIONS[name](x))
    with bounded.Bounded(limits):
        assert [part.item() for part in torch.arange(5).split(2)[0]] == [0, 1]  # views, and values that torch reads
        assert x.expand(10**5, 10**5).view(-1, 10**5).shape == (10**5, 10**5)


@pytest.mark.parametrize(
    "pair", ["x", "=1", "a b=1", "x=" + "1" * 3000, "pretrained_cfg={}", "cache_dir=/tmp", "pretrained_cfg_overlay={}"]
)
def test_arguments_of_models_are_short_and_name_no_other_weights(pair: str) -> None:
    assert "model_arg must" in refused(lambda: options.model_arguments([pair]))


@pytest.mark.parametrize(
    "text", ["(" * 1500, "-" * 1900, "{[]: 1}", "open('/etc/passwd')", "__import__('os').getcwd()"]
)
def test_what_is_no_literal_is_the_text_itself(text: str) -> None:
    assert options.model_arguments([f"x={text}"]) == {"x": text}


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"settings": []}, "model must be given"),
        ({"model": ["vit"]}, "model must be one of timm's"),
        ({"model": VIT, "model_arg": {"a": 1}}, "model_arg must be a list of strings"),
        ({"model": VIT, "model_arg": [1]}, "model_arg must be a list of strings"),
        ({"model": VIT, "size": "16"}, "size must be a number of pixels"),
        ({"model": VIT, "size": 10**18}, "size must be a number of pixels"),
        ({"model": VIT, "size": -1}, "size must be a number of pixels"),
        ({"model": VIT, "size": True}, "size must be a number of pixels"),
    ],
)
def test_a_header_that_names_no_model_is_refused(info: dict[str, Any], words: str) -> None:
    assert words in refused(lambda: models.model_of("", (), 0, "stranger.safetensors", info))


def test_patches_of_thousands_of_pixels_are_not_resampled() -> None:
    model = models.build_model(VIT, 4, 16, {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2})
    state = dict(model.state_dict()) | {"patch_embed.proj.weight": torch.zeros(16, 3, 80, 80)}
    assert "patch_embed.proj.weight is (16, 3, 80, 80)" in refused(lambda: models.load_all(model, state, "stranger"))


# Photographs


def png_of(width: int, height: int, rows: bool) -> bytes:
    """A PNG of black bits, with all its rows or with none."""
    packer = zlib.compressobj(1)
    row = bytes(1 + -(-width // 8))
    data = b"".join(packer.compress(row) for _ in range(height if rows else 0)) + packer.flush()

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 64 64
%%EndComments
(flag) (w) file closefile
showpage
%%EOF
"""


def test_photographs_are_bounded_in_pixels_and_no_programs(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "good.png")
    bombs = {
        "rows": png_of(20_000, 20_000, rows=True),
        "claims": png_of(2**31 - 1, 2**31 - 1, rows=False),
        "no rows": png_of(8000, 8000, rows=False),
        "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 10**5, 10**5, 1, 24, 0, 0, 0, 0, 0, 0),
        "gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\2\0;",
        "program": EPS,
    }
    paths = [tmp_path / name for name in bombs]
    for path in paths:
        path.write_bytes(bombs[path.name])
    for path, (error, growth, seconds, message) in zip(
        paths, read_in_child("photo", *paths, first=tmp_path / "good.png"), strict=True
    ):
        assert error in ("ValueError", "OSError", "UnidentifiedImageError"), (path.name, message)
        assert growth < 100, path.name
        assert seconds < 20, path.name


def test_a_program_among_the_images_of_a_class_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript, whatever the file is called, to the program gs."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "0.png").write_bytes(EPS)
    with pytest.raises(OSError, match=r"cannot read the image .*a/0\.png"):
        images.load_photographs(tmp_path / "images", cache=True)
    assert not (tmp_path / "ran").exists()
    tried()


def test_the_text_of_an_image_is_not_decoded_where_it_is_too_long() -> None:
    text = "A" * (64 * MIB)
    assert "characters" in refused(lambda: onepfrac.SingleImage(text, False, canvas=64))


# Folders


def test_a_folder_of_categories_holds_files_and_nothing_that_never_ends(tmp_path: Path) -> None:
    SMALL["OFDB"].categories.save(tmp_path / "good")  # type: ignore[attr-defined]
    for name, make in {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "folder": os.mkdir,
        "long": lambda path: path.write_bytes(b"0," * MIB),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        make(folder / "00000.csv")
        assert "00000.csv" in refused(lambda folder=folder: onepfrac.Categories.load(folder))  # type: ignore[misc]


def test_the_state_of_an_export_is_a_file_and_its_recipe_is_read_no_further_than_needed(tmp_path: Path) -> None:
    recipe = onepfrac.OnePFrac(num_classes=3, points=100, canvas=16, pad=1)
    for format in ("imagefolder", "webdataset"):
        folder = tmp_path / format
        onepfrac.export_images(recipe, folder, format)
        (folder / "recipe.json").unlink()
        (folder / "recipe.json").symlink_to("/dev/zero")
        onepfrac.export_images(recipe, folder, format)
        assert (folder / "recipe.json").read_text() == recipe.to_json() + "\n"
        for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
            (folder / "export.json").unlink()
            make(folder / "export.json")
            refused(lambda folder=folder, format=format: onepfrac.export_images(recipe, folder, format))  # type: ignore[misc]


def test_an_archive_with_sizes_from_a_stranger_is_made_again(tmp_path: Path) -> None:
    recipe = onepfrac.OnePFrac(num_classes=3, points=100, canvas=16, pad=1)
    onepfrac.export_images(recipe, tmp_path, "webdataset")
    shard = tmp_path / "shard-000000.tar"
    good = shard.read_bytes()
    for size in (-1, -512, -(2**62), 2**33, 2**62, 2**63, 2**70):
        for place in (0, good.index(b"00000.cls")):
            member = tarfile.TarInfo.frombuf(good[place : place + 512], "ascii", "strict")
            member.size = size
            altered = member.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")
            shard.write_bytes(good[:place] + altered + good[place + 512 :])
            onepfrac.export_images(recipe, tmp_path, "webdataset")
            assert shard.read_bytes() == good
            tried()


def test_archives_hold_plain_files_with_names_of_digits(tmp_path: Path) -> None:
    onepfrac.export_images(SMALL["FractalScenes"], tmp_path / "many", "webdataset", shard_size=5)
    onepfrac.export_images(SMALL["Noise"], tmp_path / "one", "webdataset", shard_size=2)
    for shard in tmp_path.glob("*/*.tar"):
        with tarfile.open(shard) as archive:
            for member in archive.getmembers():
                name, _, end = member.name.partition(".")
                assert name.isdecimal()
                assert end in ("png", "cls", "json")
                assert member.isreg()
                assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
                tried()


# Code


PAYLOAD = "__import__('pathlib').Path({flag!r}).touch()"

# Whatever is read, these events of Python's audit are none of a reader's; what a payload would do leaves a file.
WATCH = """
import builtins, pickle, sys
import numpy, onepfrac, timm, torch
from onepfrac import Categories, SingleImage, cli, load_recipe, recipe_of
from onepfrac.train import checkpoint, finetune, options, pretrain, publish, run_folder, weights

FORBIDDEN = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.",
             "urllib.Request", "ctypes.dlopen", "marshal.loads", "code.__new__")
seen = []

def watch(event, arguments):
    if watching and event.startswith(FORBIDDEN) and not (event == "marshal.loads" and importing()):
        seen.append(event)

def importing():
    frame = sys._getframe(1)
    while frame is not None:
        if "importlib" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False

def poisoned(*arguments, **keywords):
    seen.append("poisoned")
    raise RuntimeError("never")

watching = False
sys.addaudithook(watch)
torch.load = torch.hub.load_state_dict_from_url = pickle.load = pickle.loads = pickle.Unpickler = numpy.load = poisoned
real = {name: getattr(builtins, name) for name in ("eval", "exec")}
for name in real:  # torch and dataclasses run code of their own

    def checked(code, *rest, name=name):
        return poisoned() if "touch" in str(code) else real[name](code, *rest)

    setattr(builtins, name, checked)
"""


def test_no_reader_runs_what_it_reads(tmp_path: Path) -> None:
    flag = str(tmp_path / "flag")
    payload = PAYLOAD.format(flag=flag)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (eval, (payload,))

    folder = tmp_path / "files"
    folder.mkdir()
    torch.save(Evil(), folder / "saved.pt")
    pickled = pickle.dumps(Evil())
    for name in ("pickled", "pickled.json", "checkpoint.safetensors", "00000.csv"):
        (folder / name).write_bytes(pickled)
    (folder / "photo.png").write_bytes(EPS)
    fields = json.loads(SMALL["FractalDB"].to_json())
    for key in fields:
        (folder / f"field-{key}.json").write_text(files.canonical_json({**fields, key: payload}))
    (folder / "categories.json").write_text(
        files.canonical_json({"format": 1, "type": "Categories", "systems": [{"maps": payload, "probs": payload}]})
    )
    for number, key in enumerate(("act_layer", "norm_layer", "embed_dim", "block_fn", "weight_init", "pos_embed")):
        arguments = ["patch_size=8", "embed_dim=16", "depth=1", "num_heads=2", f"{key}={payload}"]
        write(folder / f"weights-{number}.safetensors", settings={"model_arg": arguments})
    write(folder / "model.safetensors", settings={"model": payload})
    printed = run(
        f"""
        from pathlib import Path
        readers = [load_recipe, recipe_of, Categories.load, checkpoint.read, onepfrac.load_pretrained,
                   weights.recipe_of_weights,
                   lambda path: onepfrac.IFS.from_json(path.read_text("latin1")),
                   lambda path: run_folder.saved_settings(path, pretrain.Settings, pretrain.CHECKPOINT),
                   lambda path: SingleImage.from_photo(path, canny=False, canvas=64),
                   lambda path: SingleImage(path.read_text("latin1"), False, canvas=64),
                   lambda path: recipe_of("OnePFrac:seed=" + {payload!r}),
                   lambda path: recipe_of("OnePFrac:brush=" + {payload!r})]
        watching = True
        count = 0
        for path in sorted(Path({str(folder)!r}).iterdir()):
            for reader in readers:
                count += 1
                try:
                    reader(path)
                except (ValueError, TypeError, OSError) as error:
                    pass
                assert not seen, (path.name, readers.index(reader), seen)
        watching = False
        print(count)
        """,
        before=WATCH,
    )
    assert not Path(flag).exists()
    tried(int(printed))


STATES: dict[str, Any] = {
    "no dict": [1],
    "nothing": {},
    "many keys": {f"{n}": n for n in range(100_000)},
    "a long recipe": {"recipe": "r" * 1_000_000},
    "many samples": {"samples": 10**4000},
    "samples below 0": {"samples": -1},
    "samples as text": {"samples": "1" * 1_000_000},
    "a long worker": {"worker": [0] * 1_000_000},
    "a stream of nothing": {"stream": {}},
    "a stream of much": {"stream": {f"{n}": n for n in range(100_000)}},
    "another size": {"stream": {"size": "s" * 1_000_000}},
}


@pytest.mark.parametrize("name", STATES)
def test_hostile_states_are_refused_soon_with_a_short_message_and_change_nothing(name: str) -> None:
    stream = SMALL["OnePFrac"].stream(batch_size=2, size=16)
    here: dict[str, Any] = stream.state_dict()
    changes = STATES[name]
    state = changes
    if isinstance(changes, dict) and changes.keys() & here.keys() | {"worker"} & changes.keys():
        state = {**here, **changes}
        if "size" in changes.get("stream", {}):
            state["stream"] = {**here["stream"], **changes["stream"]}
    refused(lambda: stream.load_state_dict(state))
    assert stream.state_dict() == here
