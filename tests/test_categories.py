"""Categories: files that give back the same bits, files that are refused, padding, and the published thousand."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import onepfrac
from onepfrac import IFS, Categories, categories, files
from onepfrac.categories import stack_systems
from onepfrac.drawing import Drawing
from onepfrac.ifs import singular_values
from onepfrac.instances import NUM_WEIGHTINGS, weighted
from onepfrac.systems import diverges

RUNAWAY = IFS(np.array([[[2.0, 0, 1], [0, 2, 1]], [[3.0, 0, 0], [0, 3, 1]]]))


def contractions(num_maps: int, seed: int) -> IFS:
    """A system of random maps that cannot run away."""
    draws = np.random.Generator(np.random.PCG64(seed))
    maps = draws.uniform(-1, 1, (num_maps, 2, 3))
    maps[:, :, :2] *= (draws.uniform(0.3, 0.9, num_maps) / singular_values(maps)[:, 0])[:, None, None]
    return IFS(maps)


@st.composite
def systems(draw: st.DrawFn) -> IFS:
    number = st.floats(-0.49, 0.49)
    count = draw(st.integers(1, 16))
    maps = [[[draw(number), draw(number), draw(st.floats(-1e6, 1e6))] for _ in range(2)] for _ in range(count)]
    probs = draw(st.lists(st.floats(0, 1e3), min_size=count, max_size=count).filter(lambda p: sum(p) > 1e-3))
    return IFS(maps, probs)


def same_bits(first: Categories, second: Categories) -> bool:
    assert len(first)
    return len(first) == len(second) and all(
        a.maps.tobytes() == b.maps.tobytes() and a.probs.tobytes() == b.probs.tobytes()
        for a, b in zip(first, second, strict=True)
    )


SMALL = Categories([contractions(count, count) for count in (2, 7, 3, 16, 1)])


# Making


def test_categories_are_an_immutable_sequence_of_systems() -> None:
    parts = [contractions(2, 1), contractions(3, 2)]
    made = Categories(parts)
    assert list(made) == parts
    assert (len(made), made[1], made[-1], made.index(parts[1])) == (2, parts[1], parts[1], 1)
    assert made == Categories(iter(parts)) == Categories(made.as_lists())
    assert hash(made) == hash(Categories(parts))
    assert made != Categories(parts[::-1])
    assert Categories.of(made) is made
    assert Categories.of(parts) == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.systems = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("error", "message", "given_"),
    [
        (TypeError, "categories must be a sequence of IFS, got str", "systems"),
        (TypeError, "categories must be a sequence of IFS, got IFS", contractions(2, 1)),
        (TypeError, "categories must be a sequence of IFS, got dict", {}),
        (TypeError, "categories must be a sequence of IFS, got int", 3),
        (ValueError, r"categories must hold 1\.\.1000000 systems, got 0", []),
        (TypeError, r"categories\[1\] must be an IFS, or a dict of maps and probs, got int", [contractions(2, 1), 3]),
        (TypeError, r"categories\[0\] must be .* got a dict of \['maps'\]", [{"maps": []}]),
        (ValueError, r"categories\[0\]: maps must have the shape", [{"maps": [[1.0]], "probs": [1.0]}]),
        (ValueError, r"categories\[2\] must not run away to infinity", [*SMALL[:2], RUNAWAY, SMALL[2], RUNAWAY]),
    ],
)
def test_what_is_no_list_of_systems_is_refused_with_its_place(
    error: type[Exception], message: str, given_: object
) -> None:
    with pytest.raises(error, match=message):
        Categories(given_)


def test_too_many_categories_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(categories, "MAX_CATEGORIES", 4)
    with pytest.raises(ValueError, match=r"must hold 1\.\.4 systems, got 5"):
        Categories(SMALL)


# Files


@given(st.lists(systems(), min_size=1, max_size=4))
def test_json_pickles_and_csv_files_give_back_the_same_bits(tmp_path_factory: Any, parts: list[IFS]) -> None:
    made = Categories(parts)
    folder = tmp_path_factory.mktemp("csv")
    made.save(folder)
    assert same_bits(Categories.load(folder), made)
    assert same_bits(Categories.from_json(made.to_json()), made)
    assert same_bits(pickle.loads(pickle.dumps(made)), made)
    made.save(folder / "systems.json")
    assert same_bits(Categories.load(str(folder / "systems.json")), made)


def rows_of(ifs: IFS) -> NDArray[np.float64]:
    """a, b, c, d, e, f, p, from the definition of a map's places."""
    return np.array([[*m[0, :2], *m[1, :2], m[0, 2], m[1, 2], p] for m, p in zip(ifs.maps, ifs.probs, strict=True)])


def test_csv_files_are_numpys_byte_for_byte_and_numpy_reads_them(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "csv")
    assert sorted(os.listdir(tmp_path / "csv")) == [f"0000{place}.csv" for place in range(len(SMALL))]
    for place, ifs in enumerate(SMALL):
        path = tmp_path / "csv" / f"0000{place}.csv"
        expected = io.BytesIO()
        np.savetxt(expected, rows_of(ifs), delimiter=",")
        assert path.read_bytes() == expected.getvalue()
        assert np.array_equal(np.atleast_2d(np.genfromtxt(path, delimiter=",")), rows_of(ifs))


def test_a_published_file_reads_as_it_stands_and_is_written_as_it_was(tmp_path: Path) -> None:
    # Category 00001 of the published thousand.
    text = (
        "-1.668389423696419183e-01,-6.072550667959302206e-01,1.728251339013286980e-02,2.048852284657074474e-01,"
        "2.111859836446616789e-01,5.155499518698667405e-01,2.522042471796301019e-02\n"
        "-4.159289551462135304e-01,4.190396330592851548e-01,-3.485170920810727324e-01,-2.672146735447999966e-01,"
        "2.877306516523376878e-01,-2.116667333885886570e-01,2.738232818170721061e-01\n"
        "9.038574880708072357e-02,-8.118400125885090191e-01,-7.785972314428670771e-01,-2.906130900075152290e-01,"
        "-5.889521589065931373e-01,-2.652835207608081891e-01,7.009562934649647969e-01\n"
    )
    (tmp_path / "00001.csv").write_text(text)
    made = Categories.load(tmp_path)
    assert made[0].maps[0].tolist() == [
        [-0.1668389423696419183, -0.6072550667959302206, 0.2111859836446616789],
        [0.01728251339013286980, 0.2048852284657074474, 0.5155499518698667405],
    ]
    made.save(tmp_path / "again")
    assert (tmp_path / "again" / "00000.csv").read_text() == text


def test_files_of_a_folder_come_in_the_order_of_their_numbers_and_others_are_left_alone(tmp_path: Path) -> None:
    SMALL.save(tmp_path)
    for place, name in enumerate(["99999.csv", "100000.csv", "7.csv", "010.csv", "1000000.csv"]):
        (tmp_path / f"0000{place}.csv").rename(tmp_path / name)
    (tmp_path / "README.csv").write_text("not a category")
    (tmp_path / "notes.txt").write_text("neither")
    order = [2, 3, 0, 1, 4]
    assert list(Categories.load(tmp_path)) == [SMALL[place] for place in order]


def test_empty_lines_and_spaces_do_not_matter_to_reading(tmp_path: Path) -> None:
    (tmp_path / "0.csv").write_text("\n 0.5,0, 0,0.5,1,0,0.25\r\n\n0.5,0,0,0.5,0,1,0.75")
    assert Categories.load(tmp_path)[0] == IFS([[[0.5, 0, 1], [0, 0.5, 0]], [[0.5, 0, 0], [0, 0.5, 1]]], [0.25, 0.75])


LINE = "0.5,0,0,0.5,1,0,1\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LINE * 4000, "is larger than 65536 bytes"),
        (b"\x89PNG\r\n\x1a\n", "not ASCII text"),
        (b"\0" * 100, "line 1: must be seven finite numbers"),
        (LINE + "0.5,0,0,0.5,1,0\n", "line 2: must be seven finite numbers .* got '0.5,0,0,0.5,1,0'"),
        ("0.5,0,0,0.5,1,0,1,2\n", "line 1: must be seven"),
        ("\n0.5 0 0 0.5 1 0 1\n", "line 2: must be seven"),
        ("a,b,c,d,e,f,p\n", "line 1: must be seven"),
        (LINE + LINE + "0.5,0,0,nan,1,0,1\n", "line 3: must be seven finite numbers"),
        ("0.5,0,0,0.5,inf,0,1\n", "line 1: must be seven finite numbers"),
        (LINE * 17, r"must hold 1\.\.16 lines, got 17"),
        ("", r"must hold 1\.\.16 lines, got 0"),
        ("\n\n", r"must hold 1\.\.16 lines, got 0"),
        ("0.5,0,0,0.5,1,0,-1\n", "probs must be finite and not negative"),
        ("0.5,0,0,0.5,1,0,0\n", "probs must not all be zero"),
        ("1e200,0,0,0.5,1,0,1\n", "maps must be finite in float32"),
        ("2,0,0,2,1,1,1\n", "must not run away to infinity"),
    ],
)
def test_a_csv_file_that_is_no_category_is_refused_by_name(tmp_path: Path, content: str | bytes, message: str) -> None:
    SMALL.save(tmp_path)
    path = tmp_path / "00002.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        Categories.load(tmp_path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (ValueError, "must have type 'Categories' and format 1, got 'IFS' and 1", {"type": "IFS"}),
        (ValueError, "must have type 'Categories' and format 1, got 'Categories' and 2", {"format": 2}),
        (ValueError, r"unknown fields \['colour'\]", {"colour": 1}),
        (TypeError, "systems must be a list, got NoneType", {"systems": None}),
        (ValueError, r"must hold 1\.\.1000000 systems, got 0", {"systems": []}),
        (TypeError, r"categories\[0\] must be an IFS", {"systems": [[]]}),
        (ValueError, r"categories\[1\] must not run away", {"systems": Categories(SMALL[:1]).as_lists() * 2}),
    ],
)
def test_a_json_file_that_holds_no_categories_is_refused_by_name(
    tmp_path: Path, error: type[Exception], message: str, change: dict[str, Any]
) -> None:
    values = {**json.loads(SMALL.to_json()), **change}
    if "run away" in message:
        values["systems"][1] = {"maps": RUNAWAY.maps.tolist(), "probs": RUNAWAY.probs.tolist()}
    path = tmp_path / "systems.json"
    path.write_text(json.dumps(values))
    with pytest.raises(error, match=message) as caught:
        Categories.load(path)
    assert str(path) in str(caught.value)


def test_paths_without_categories_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        Categories.load(tmp_path / "absent")
    (tmp_path / "12a.csv").write_text(LINE)
    with pytest.raises(ValueError, match=f"{tmp_path} must hold files such as 00000.csv, got none"):
        Categories.load(tmp_path)
    SMALL.save(tmp_path / "systems.json")
    monkeypatch.setattr(categories, "MAX_CATEGORIES_BYTES", 100)
    with pytest.raises(ValueError, match=r"systems.json is larger than 100 bytes"):
        Categories.load(tmp_path / "systems.json")


def test_a_folder_with_other_csv_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "00005.csv").write_text(LINE)
    with pytest.raises(ValueError, match=f"{tmp_path} must not hold other CSV files, got 00005.csv"):
        SMALL.save(tmp_path)
    assert os.listdir(tmp_path) == ["00005.csv"]
    (tmp_path / "00005.csv").rename(tmp_path / "00003.csv")  # a place of its own is written over
    SMALL.save(tmp_path)
    assert same_bits(Categories.load(tmp_path), SMALL)


@pytest.mark.parametrize("name", ["systems.json", "csv"])
def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    SMALL.save(tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > (1 if name == "csv" else 0):
            raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_folder", lambda folder: None)
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            SMALL.save(tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_is_told_of_the_search_is_kept_in_the_file_and_changes_nothing() -> None:
    text = SMALL.to_json({"seed": 3})
    assert json.loads(text)["search"] == {"seed": 3}
    assert same_bits(Categories.from_json(text), SMALL)


# Padding


@pytest.mark.parametrize("brush", ["point", "fill", "patch", "patch_fixed"])
def test_pictures_of_padded_systems_are_those_of_the_systems_alone(brush: str) -> None:
    mixed = [contractions(count, 10 * count + 1) for count in (1, 2, 3, 4, 5, 6, 7, 16)]
    seeds = np.arange(len(mixed), dtype=np.uint64) + 5
    settings: dict[str, Any] = {"points": 5000, "size": 48, "pad": 3, "brush": brush, "threads": 1}
    for most in (None, 16):
        maps, probs = stack_systems(mixed, most)
        assert maps.dtype == np.float32
        assert maps.shape == (len(mixed), 16, 2, 3)
        assert probs.shape == (len(mixed), 16)
        for place, ifs in enumerate(mixed):
            assert (probs[place, ifs.num_maps :] == 0).all()
            assert (maps[place, ifs.num_maps :] == ifs.maps[0].astype(np.float32)).all()
        together = onepfrac.render(maps, probs, seed=seeds, **settings)
        for place, ifs in enumerate(mixed):
            alone = onepfrac.render(ifs, seed=int(seeds[place]), **settings)
            assert torch.equal(together[place : place + 1], alone)
            assert alone.any()
    maps, probs = stack_systems(mixed[:3])
    assert maps.shape == (3, 3, 2, 3)
    for place, ifs in enumerate(mixed[:3]):
        assert torch.equal(
            onepfrac.render(maps[place : place + 1], probs[place : place + 1], seed=7, **settings),
            onepfrac.render(ifs, seed=7, **settings),
        )


@given(st.lists(st.integers(1, 16), min_size=1, max_size=5), st.integers(0, 1000), st.sampled_from(["point", "patch"]))
def test_systems_of_any_numbers_of_maps_can_share_a_batch(counts: list[int], seed: int, brush: str) -> None:
    mixed = [contractions(count, seed + place) for place, count in enumerate(counts)]
    settings: dict[str, Any] = {"points": 600, "size": 16, "pad": 1, "brush": brush, "seed": seed, "threads": 1}
    maps, probs = stack_systems(mixed)
    together = onepfrac.render(maps, probs, **settings)
    assert torch.equal(together, torch.cat([onepfrac.render(ifs, **settings) for ifs in mixed]))


# The published thousand


@pytest.fixture(scope="module")
def table(shared: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The published rows (1000, 8, 7), and how many each category has."""
    path = shared / "data" / "fractaldb1k_systems.npz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with np.load(path) as data:
        return data["rows"], data["num_maps"]


@pytest.fixture(scope="module")
def published(table: Any, tmp_path_factory: pytest.TempPathFactory) -> Categories:
    """The published categories, read from CSV files that NumPy wrote."""
    folder = tmp_path_factory.mktemp("published")
    for place, (rows, count) in enumerate(zip(*table, strict=True)):
        np.savetxt(folder / f"{place:05d}.csv", rows[:count], delimiter=",")
    return Categories.load(folder)


def test_published_categories_load_bit_for_bit(table: Any, published: Categories) -> None:
    assert len(published) == 1000
    for ifs, rows, count in zip(published, *table, strict=True):
        assert np.array_equal(rows_of(ifs), rows[:count])


def test_published_probabilities_are_those_of_the_determinants(published: Categories) -> None:
    worst = max(float(np.abs(ifs.probs - IFS(ifs.maps).probs).max()) for ifs in published)
    assert worst <= 1e-15


def test_published_categories_have_2_to_7_maps_and_87_in_100_hold_one_that_expands(published: Categories) -> None:
    counts = np.array([ifs.num_maps for ifs in published])
    assert (counts.min(), counts.max()) == (2, 7)
    expanding = np.mean([singular_values(ifs.maps)[:, 0].max() > 1 for ifs in published])
    assert round(100 * expanding) == 87
    assert max(float(np.abs(ifs.maps).max()) for ifs in published) <= 1


def test_published_categories_are_drawn_as_fractaldb_does_and_none_is_empty(published: Categories) -> None:
    maps, probs = stack_systems(published)
    drawing = Drawing(points=200_000, canvas=362, pad=6, brush="patch", min_inked=0.0)
    shares = drawing.inked(maps, probs, np.arange(1000, dtype=np.uint64))
    assert shares.min() > 0.12
    assert shares.max() < 0.5


def test_published_categories_are_as_inked_as_their_search_asked(published: Categories) -> None:
    # Ours are 256 orbits with other draws, theirs one orbit: a category near 0.2 may fall below, by 0.03 at most.
    maps, probs = stack_systems(published)
    drawing = Drawing(points=100_000, canvas=512, pad=6, brush="point", min_inked=0.0)
    shares = drawing.inked(maps, probs, np.arange(1000, dtype=np.uint64))
    assert shares.min() > 0.2 - 0.03
    assert (shares < 0.2).sum() < 100
    assert (shares < 0.195).sum() < 40


def test_all_weightings_of_published_categories_are_playable_and_only_runaways_are_tempered(
    published: Categories,
) -> None:
    maps, probs = stack_systems(published)
    exact = maps.astype(np.float64)
    for place, ifs in enumerate(published):
        exact[place, : ifs.num_maps] = ifs.maps
        exact[place, ifs.num_maps :] = ifs.maps[0]
    played, tempered = weighted(exact, probs, NUM_WEIGHTINGS, 0.4)
    flat = played.reshape(-1, *played.shape[2:])
    assert not diverges(flat, probs.repeat(NUM_WEIGHTINGS, 0)).any()
    assert (tempered > 0).sum() == 791  # as the docstring has it
    assert tempered[:, 0].max() == 0
    # Untempered, from the release's factors; those that were tempered are the ones that run away.
    plain = np.empty_like(played)
    for number in range(NUM_WEIGHTINGS):
        factors = np.ones(6)
        if number:
            factors[(number - 1) // 4] = (0.2, 0.6, 1.4, 1.8)[(number - 1) % 4]
        a, b, c, d, e, f = factors
        plain[:, number] = exact * np.array([[a, b, e], [c, d, f]])
    away = diverges(plain.reshape(flat.shape), probs.repeat(NUM_WEIGHTINGS, 0)).reshape(tempered.shape)
    # 1 - 2 x 0.4 is 0.2 less 4e-17, so float32 may differ in the last bit; no system stands on that edge.
    assert np.array_equal(away, tempered > 0)
    np.testing.assert_allclose(played[~away], plain[~away], rtol=2e-7)


def test_published_folders_in_a_folder_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "all")
    for place in range(len(SMALL)):
        part = tmp_path / "parts" / f"csv{place % 2}"
        part.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / f"{place:05d}.csv").rename(part / f"{3 * place:05d}.csv")
    assert Categories.load(tmp_path / "parts") == SMALL
    (tmp_path / "parts" / "0.csv").write_text("1,0,0,1,0,0,1\n")
    with pytest.raises(ValueError, match=r"must hold each number once, got .*0\.csv and .*0\.csv"):
        Categories.load(tmp_path / "parts")
