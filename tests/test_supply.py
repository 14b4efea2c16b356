"""Supply chain and versions: dependencies and their lock, licence, changelog, formats, and the commands of .ci."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import lock
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from promises.tally import tried

import onepfrac
from onepfrac.category_search import Rule, Search
from onepfrac.draws import FORMAT_VERSION
from onepfrac.files import canonical_json
from onepfrac.train import checkpoint, finetune, mae, pretrain, run_folder, weights

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(TEXT)
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
NEEDED = [
    Requirement(text)
    for texts in (PROJECT["build-system"]["requires"], PROJECT["project"]["dependencies"], *EXTRAS.values())
    for text in texts
]
PYTHONS = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', TEXT)
LOCKED = lock.read(lock.LOCK.read_text())


# --- dependencies


def test_every_dependency_has_a_lower_bound_and_a_reason_for_each_of_its_bounds() -> None:
    lines = re.findall(r'^ {4}"([a-z][^"]*)",(?: # (.*))?$', TEXT.partition("[project.scripts]")[0], re.MULTILINE)
    lines = [(text, why) for text, why in lines if re.search(r"[<>=]", text)]
    assert [Requirement(text) for text, _ in lines] == NEEDED
    tried(len(lines))
    for text, why in lines:
        operators = {one.operator for one in Requirement(text).specifier}
        reasons = [part for part in why.split(";") if len(part.strip()) > 7]
        assert operators & {">=", "=="}, text
        assert len(reasons) >= (2 if operators & {"<", "=="} else 1), (text, why)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_one_version_of_every_dependency_within_its_bounds(python: str) -> None:
    here: dict[str, list[Version]] = {}
    for one in LOCKED:
        if one.installed_on(python):
            here.setdefault(one.name, []).append(one.version)
    assert {name: versions for name, versions in here.items() if len(versions) != 1} == {}
    for needed in NEEDED:
        if needed.marker is None or needed.marker.evaluate({"python_version": python}):
            (version,) = here.get(canonicalize_name(needed.name), [None])
            assert version is not None, needed
            assert needed.specifier.contains(version, prereleases=False), (needed, version)
            tried()


def test_the_lock_pins_and_hashes_every_line_and_names_no_place_it_came_from() -> None:
    assert len(LOCKED) > 100
    for one in LOCKED:
        assert one.version >= Version("0")  # raises where the line is not ==
        assert one.hashes, one.requirement
        assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in one.hashes), one.requirement
        assert one.requirement.url is None
    tried(len(LOCKED))
    text = lock.LOCK.read_text()
    assert not re.search(r"://|--(index|extra-index|find-links|trusted)|/[a-z]+/", text)
    assert {name for name in PYTHONS if not any(one.installed_on(name) for one in LOCKED)} == set()


def test_the_command_that_makes_the_lock_reads_what_building_needs() -> None:
    made = load("lock")
    assert made.build_requirements(TEXT) == PROJECT["build-system"]["requires"]


# --- licence and what is handed out


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the source distribution, by name, made from a copy."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in files_of_the_checkout():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    code = f"from backend import build_sdist; build_sdist({str(out)!r})"
    environment = {**os.environ, "PYTHONPATH": str(source / "build_support")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.iterdir()
    with tarfile.open(path) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name.partition("/")[2]: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def files_of_the_checkout() -> Iterator[str]:
    """The files that are ours: what is built, or left by tools, is not."""
    folders = ("csrc", "python", "build_support", "tests", "examples", "docs", "benchmarks", ".ci")
    names = ("LICENSE", "MANIFEST.in", "README.md", "CHANGELOG.md", "SECURITY.md", "pyproject.toml", "setup.py")
    yield from (*names, "requirements-dev.lock", ".clang-format")
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            parts = path.relative_to(ROOT).parts
            odd = any(part == "__pycache__" or part.endswith((".egg-info", ".so", ".pyc")) for part in parts)
            if path.is_file() and not odd and not any(part.startswith(".") for part in parts[1:]):
                yield str(path.relative_to(ROOT))


def test_the_source_distribution_holds_every_file_that_the_tests_need(sdist: dict[str, bytes]) -> None:
    wanted = set(files_of_the_checkout())
    assert wanted - sdist.keys() == set()
    tried(len(wanted))


def test_the_licence_stands_in_sdist_project_and_installed_package(sdist: dict[str, bytes]) -> None:
    assert PROJECT["project"]["license"] == "MIT"
    assert sdist["LICENSE"].decode().startswith("MIT License")
    about = sdist["PKG-INFO"].decode()
    assert re.search(r"^License-Expression: MIT$", about, re.MULTILINE)
    assert re.search(r"^License-File: LICENSE$", about, re.MULTILINE)
    try:
        installed = importlib.metadata.metadata("onepfrac")
    except importlib.metadata.PackageNotFoundError:
        return  # run from the sources
    assert installed["License-Expression"] == "MIT"
    assert installed.get_all("License-File") == ["LICENSE"]


# --- versions


def test_the_changelog_has_the_package_s_version_as_its_newest_and_keeps_the_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    names = [name for name, _ in headings]
    assert names[0] == "Unreleased"
    versions = [Version(name) for name in names[1:]]
    assert str(versions[0]) == onepfrac.__version__
    assert versions == sorted(versions, reverse=True)
    groups = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert groups <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", onepfrac.__version__)


def test_what_the_package_deprecates_is_told_in_the_changelog() -> None:
    package = sorted((ROOT / "python" / "onepfrac").rglob("*.py"))
    warning = re.compile(r"\b(Pending)?DeprecationWarning\b|\bFutureWarning\b")
    deprecating = [file.name for file in package if warning.search(file.read_text())]
    told = "### Deprecated" in (ROOT / "CHANGELOG.md").read_text()
    none = "Nothing is deprecated at present." in (ROOT / "docs" / "versions.md").read_text().replace("\n", " ")
    assert (bool(deprecating), bool(deprecating)) == (told, not none), deprecating
    tried(len(package))


def number_in(kind: str) -> int:
    """Return the number of the format in the kind of a checkpoint or of weights."""
    return int(kind.rpartition(" ")[2])


def formats() -> dict[str, int]:
    """Return the format versions that the code writes today, by their name in docs/versions.md."""
    ifs = onepfrac.sample_ifs(sigma=3.5)
    recipe = onepfrac.OnePFrac(num_classes=4, points=500, canvas=32)
    search = Search(1, 0, Rule())
    found: dict[str, Any] = {
        "pixels": FORMAT_VERSION,
        "recipe": json.loads(recipe.to_json())["format"],
        "system": json.loads(ifs.to_json())["format"],
        "categories": json.loads(onepfrac.Categories([ifs]).to_json())["format"],
        "unfinished search": search._settings()["format"],
        "state of a stream": recipe.stream(batch_size=2, size=32).state_dict()["format"],
        "export": importlib.import_module("onepfrac.export")._VERSION,
    }
    for name, program in (("pretrain", pretrain), ("mae", mae), ("finetune", finetune)):
        found[f"checkpoint of {name}"] = number_in(program.CHECKPOINT)
        found[f"weights of {name}"] = number_in(program.WEIGHTS)
    return found


def table() -> dict[str, list[str]]:
    """Return the rows of docs/versions.md's table of formats, by the name of the format."""
    text = (ROOT / "docs" / "versions.md").read_text().partition("## The formats")[2]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert rows[0] == ["format", "file", "version stands in", "today", "read by", "another version"]
    return {row[0]: row for row in rows[2:]}


def test_the_table_of_formats_says_what_the_code_writes() -> None:
    assert {name: int(row[3]) for name, row in table().items()} == formats()
    tried(len(table()))


def with_next(text: str, key: str) -> str:
    """Return a JSON object in which the version is the next one."""
    values = json.loads(text)
    return canonical_json({**values, key: values[key] + 1})


def other_kind(kind: str) -> str:
    return f"{kind.rpartition(' ')[0]} {number_in(kind) + 1}"


def read_recipe(folder: Path) -> None:
    text = onepfrac.OnePFrac(num_classes=4).to_json()
    (folder / "recipe.json").write_text(with_next(text, "format"))
    onepfrac.load_recipe(folder / "recipe.json")


def read_system(folder: Path) -> None:
    onepfrac.IFS.from_json(with_next(onepfrac.sample_ifs(sigma=3.5).to_json(), "format"))


def read_categories(folder: Path) -> None:
    text = onepfrac.Categories([onepfrac.sample_ifs(sigma=3.5)]).to_json()
    (folder / "systems.json").write_text(with_next(text, "format"))
    onepfrac.Categories.load(folder / "systems.json")


def read_search(folder: Path) -> None:
    search = Search(2, 0, Rule())
    search._save(folder / "systems.json")
    (folder / "systems.json").write_text(with_next((folder / "systems.json").read_text(), "format"))
    search.resume(folder / "systems.json")


def read_state(folder: Path) -> None:
    stream = onepfrac.OnePFrac(num_classes=4, points=500, canvas=32).stream(batch_size=2, size=32)
    stream.load_state_dict({**stream.state_dict(), "format": FORMAT_VERSION + 1})


def read_export(folder: Path) -> None:
    from onepfrac.export import export_images

    recipe = onepfrac.OnePFrac(num_classes=4, points=500, canvas=32)
    export_images(recipe, folder / "out")
    state = folder / "out" / "export.json"
    state.write_text(with_next(state.read_text(), "export"))
    export_images(recipe, folder / "out")


def reads_checkpoint(program: ModuleType, settings: Callable[[Path], Any], go: Callable[[Any], object]) -> Any:
    def read(folder: Path) -> None:
        made = {"kind": other_kind(program.CHECKPOINT), "settings": {}, "step": 1}
        checkpoint.write(folder / run_folder.CHECKPOINT, {"model.x": torch.zeros(1)}, made)
        go(settings(folder))

    return read


def reads_weights(program: ModuleType) -> Any:
    def read(folder: Path) -> None:
        path = folder / "weights.safetensors"
        checkpoint.write(path, {"x": torch.zeros(1)}, {"kind": other_kind(program.WEIGHTS), "settings": {}})
        weights.load_pretrained(path)

    return read


READERS: dict[str, Callable[[Path], None]] = {
    "recipe": read_recipe,
    "system": read_system,
    "categories": read_categories,
    "unfinished search": read_search,
    "state of a stream": read_state,
    "export": read_export,
    "checkpoint of pretrain": reads_checkpoint(
        pretrain, lambda folder: pretrain.Settings(out=str(folder), resume=True), pretrain.pretrain
    ),
    "checkpoint of mae": reads_checkpoint(
        mae, lambda folder: mae.Settings(out=str(folder), resume=True), mae.pretrain_mae
    ),
    "checkpoint of finetune": reads_checkpoint(
        finetune,
        lambda folder: finetune.Settings(out=str(folder), data=str(folder), model="vit_tiny_patch16_224", resume=True),
        finetune.finetune,
    ),
    "weights of pretrain": reads_weights(pretrain),
    "weights of mae": reads_weights(mae),
    "weights of finetune": reads_weights(finetune),
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_the_next_format_version_is_refused_by_its_reader(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\b2\b"):
        READERS[name](tmp_path)


def test_the_table_of_formats_has_a_reader_of_another_version_for_every_row() -> None:
    assert READERS.keys() == table().keys() - {"pixels"}


# --- what the package may not do


FORBIDDEN = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "jsonpickle"}
RUNS_DATA = {"torch.load", "pandas.read_pickle", "np.load", "numpy.load", "os.system", "os.popen", "eval", "exec"}
NETWORK = {"urllib.request", "requests", "http", "socket", "ftplib", "httpx", "huggingface_hub"}


def test_the_package_neither_imports_a_pickler_nor_runs_data_nor_opens_the_network() -> None:
    found = []
    files = sorted((ROOT / "python" / "onepfrac").rglob("*.py"))
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in RUNS_DATA:
                found.append(f"{file.name}:{node.lineno} calls {ast.unparse(node.func)}")
            for name in names:
                if name in NETWORK or name.partition(".")[0] in FORBIDDEN | NETWORK:
                    found.append(f"{file.name}:{node.lineno} imports {name}")  # type: ignore[attr-defined]
    assert found == []
    assert len(files) > 50
    tried(len(files))


def test_security_names_tests_and_calls_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    tests = set(re.findall(r"`(tests/[\w/]+\.py)`", text))
    assert len(tests) >= 6
    assert {name for name in tests if not (ROOT / name).is_file()} == set()
    calls = {"load_recipe", "recipe_of", "load_pretrained", "pack", "Categories.load", "Stream.load_state_dict"}
    for call in sorted(calls):
        assert f"`{call}`" in text or f"`onepfrac.{call}`" in text, call
        place: Any = onepfrac
        for part in call.split("."):
            place = getattr(place, part)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert {link for link in links if "://" not in link and not (ROOT / link).is_file()} == set()


# --- the commands of .ci


def load(name: str) -> ModuleType:
    """Import a program of .ci, whose names have no suffix."""
    loader = SourceFileLoader(f"ci_{name}", str(ROOT / ".ci" / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # where dataclasses look for their module
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def test_every_step_of_the_nightly_run_starts_a_program_that_is_there(tmp_path: Path) -> None:
    counts = tmp_path / "counts.jsonl"  # is there, as in a run, or pytest would look elsewhere
    counts.touch()
    steps = load("nightly").STEPS
    assert len({step.name for step in steps}) == len(steps)
    assert steps[-1].name == "report"
    for step in steps:
        if not step.command:
            continue
        first, *rest = step.command
        program = ROOT / (rest[0] if first == "{python}" else first)
        if rest[:1] == ["-m"]:
            assert importlib.util.find_spec(rest[1]) is not None, rest[1]
        else:
            assert program.is_file(), program
            assert rest[:1] == ["setup.py"] or os.access(program, os.X_OK), program
        for word in rest:
            if word.startswith("tests/"):
                assert (ROOT / word).is_file(), word
        if rest[:2] == ["-m", "pytest"]:  # the options of tests/conftest.py are known only where its folder is named
            words = [word.format(python=sys.executable, counts=counts) for word in step.command]
            done = subprocess.run([*words, "--markers"], cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    written = {step.counts for step in steps if step.counts}
    assert written == {word for word in steps[-1].command if word.endswith(".jsonl")}


def test_the_nightly_run_lists_its_steps_and_says_which_there_are() -> None:
    command = [sys.executable, str(ROOT / ".ci" / "nightly")]
    listed = subprocess.run([*command, "--list"], capture_output=True, text=True, check=True).stdout
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    for step in load("nightly").STEPS:
        assert re.search(rf"^{step.name} ", listed, re.MULTILINE)
    assert "ONEPFRAC_SOAK_MINUTES" in helped
    odd = subprocess.run([*command, "--only", "report,nothing"], capture_output=True, text=True, check=False)
    assert odd.returncode == 1
    assert "got nothing" in odd.stderr


def test_a_step_that_fails_keeps_no_other_from_running_and_the_run_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    nightly = load("nightly")
    nightly.ROOT, nightly.WORK = tmp_path, tmp_path / "night"
    python = "{python}"
    nightly.STEPS = (
        nightly.Step("build", "", (python, "-c", "print('built')")),
        nightly.Step("tests", "", (python, "-c", "raise SystemExit(3)"), "build", "night/tests.jsonl"),
        nightly.Step("broken", "", (python, "-c", "import os; os.kill(os.getpid(), 9)")),
        nightly.Step("needy", "", (python, "-c", ""), "broken"),
        nightly.Step("report", "", (python, "-c", "print('reported')")),
    )
    monkeypatch.setattr(sys, "argv", [".ci/nightly", "--here"])
    assert nightly.main() == 1
    outcomes = dict(re.findall(r"^(\w+) +(passed|FAILED|not run) +[\d.]+$", capfd.readouterr().out, re.MULTILINE))
    assert outcomes == {
        "build": "passed",
        "tests": "FAILED",
        "broken": "FAILED",
        "needy": "not run",
        "report": "passed",
    }
    assert (tmp_path / "night" / "tests.jsonl").read_text() == ""
    assert (tmp_path / "night" / "report.log").read_text() == "reported\n"
    monkeypatch.setattr(sys, "argv", [".ci/nightly", "--here", "--only", "build,report"])
    assert nightly.main() == 0


def test_the_nightly_environment_is_made_from_the_lock_and_again_only_when_that_has_changed(tmp_path: Path) -> None:
    nightly = load("nightly")
    nightly.LOCK = tmp_path / "some.lock"
    nightly.LOCK.write_text("a==1\n")
    commands: list[list[str]] = []
    failing = [0]

    def run(command: list[str], environment: dict[str, str], log: Path) -> int:
        commands.append(command)
        (tmp_path / "venv").mkdir(exist_ok=True)
        return failing[0] if "--require-hashes" in command else 0

    nightly.run = run
    make = lambda: nightly.make_environment(tmp_path / "venv", {}, tmp_path / "log")  # noqa: E731
    failing[0] = 1
    assert make() == 1
    assert len(commands) == 2
    failing[0] = 0
    assert make() == 0  # nothing is kept of what failed
    assert [str(nightly.LOCK) in command for command in commands[2:]] == [False, True, False]
    assert make() == 0
    assert len(commands) == 5
    nightly.LOCK.write_text("a==2\n")
    assert make() == 0
    assert len(commands) == 8


FAKE_AUDIT = """
import json, os, re, sys
service = next(word.partition("=")[2] for word in sys.argv if word.startswith("--vulnerability-service"))
assert {"--strict", "--disable-pip", "--format=json"} <= set(sys.argv)
case = os.environ["CASE"]
if case == "none answers" or (case == "the second answers" and service == "pypi"):
    sys.exit("no route to " + service)
asked = [line.strip().split("==") for word in sys.argv if word.startswith("--requirement=")
         for line in open(word.partition("=")[2])]
answers = [{"name": name, "version": version, "vulns": []} for name, version in asked]
if case == "one is vulnerable":
    answers[-1]["vulns"] = [{"id": "PYSEC-1", "fix_versions": ["9.9"]}]
if case == "one is unknown":
    del answers[0]["vulns"]
if case == "one is left out":
    del answers[0]
print(json.dumps({"dependencies": answers, "fixes": []}))
sys.exit(int(case == "one is vulnerable"))
"""


@pytest.mark.parametrize(
    ("case", "status", "said"),
    [
        ("all is well", 0, "0 known vulnerabilities in 3 versions, says pypi"),
        ("the second answers", 0, "pypi gave no answer: no route to pypi"),
        ("none answers", 1, "FAILED: no advisory service could be asked"),
        ("one is vulnerable", 1, "PYSEC-1, fixed in 9.9"),
        ("one is unknown", 1, "FAILED: pypi answered for 2 of 3"),
        ("one is left out", 1, "FAILED: pypi answered for 2 of 3"),
    ],
)
def test_the_audit_asks_for_every_version_and_passes_only_where_all_are_known_to_be_sound(
    case: str, status: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "pip_audit.py").write_text(FAKE_AUDIT)
    locked = tmp_path / "some.lock"
    locked.write_text(
        "a==1 ; python_version < '3.11' \\\n    --hash=sha256:00\na==2 ; python_version >= '3.11'\nb==3\n"
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "audit"), str(locked)],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "CASE": case},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout
