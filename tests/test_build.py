"""The build's choices of compiler, architectures and flags, with compilers that only answer questions."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest

import onepfrac

BUILD_SUPPORT = Path(__file__).resolve().parent.parent / "build_support"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BUILD_SUPPORT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


toolchain = load("toolchain")


def fake_nvcc(home: Path, release: str = "12.4", codes: tuple[int, ...] = (75, 80, 86, 89, 90)) -> Path:
    """A shell script at ``home``/bin/nvcc that answers as nvcc does."""
    path = home / "bin" / "nvcc"
    path.parent.mkdir(parents=True)
    listing = " ".join(f"sm_{code}" for code in codes)
    path.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        f'--version) echo "Cuda compilation tools, release {release}, V{release}.99";;\n'
        f'--list-gpu-code) printf "%s\\n" {listing};;\n'
        f'--dryrun) echo "#\\$ TOP={home}/bin/.." >&2;;\n'
        "esac\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_installed_version_is_the_one_in_the_source() -> None:
    assert importlib.metadata.version("onepfrac") == onepfrac.__version__


@pytest.mark.parametrize(
    ("text", "names"),
    [("", ()), ("thread", ("thread",)), (" undefined, address ", ("address", "undefined")), ("address", ("address",))],
)
def test_sanitizers_are_named_in_any_order(text: str, names: tuple[str, ...]) -> None:
    assert toolchain.sanitizers({"ONEPFRAC_SANITIZE": text}) == names


@pytest.mark.parametrize("text", ["1", "memory", "address,thread", "address,,undefined"])
def test_sanitizers_that_cannot_be_had_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=rf"ONEPFRAC_SANITIZE='{text}': must be address"):
        toolchain.sanitizers({"ONEPFRAC_SANITIZE": text})


@pytest.mark.parametrize(("text", "value"), [("", True), ("1", True), ("0", False), (" 0 ", False)])
def test_a_switch_is_zero_or_one_and_defaults_when_empty(text: str, value: bool) -> None:
    assert toolchain.switch("ONEPFRAC_CUDA", True, {"ONEPFRAC_CUDA": text}) is value


@pytest.mark.parametrize("text", ["no", "2", "off", "true"])
def test_a_switch_refuses_other_values_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=rf"ONEPFRAC_CUDA='{text}': must be 0 or 1"):
        toolchain.switch("ONEPFRAC_CUDA", True, {"ONEPFRAC_CUDA": text})


def test_cuda_home_comes_before_cuda_path_before_path(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("home", "path", "on_path")]
    for home in homes:
        fake_nvcc(home)
    environ = {"CUDA_HOME": str(homes[0]), "CUDA_PATH": str(homes[1]), "PATH": str(homes[2] / "bin")}
    for home, name in zip(homes, ("CUDA_HOME", "CUDA_PATH", "PATH"), strict=True):
        nvcc = toolchain.system_nvcc(environ)
        assert nvcc is not None
        assert nvcc.path == home / "bin" / "nvcc"
        assert nvcc.root == home
        assert nvcc.version == (12, 4)
        environ[name] = ""
    assert toolchain.system_nvcc(environ) is None


def test_an_old_or_broken_nvcc_is_passed_over_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = fake_nvcc(tmp_path / "old", release="11.8")
    broken = fake_nvcc(tmp_path / "broken")
    broken.write_text("#!/bin/sh\nexit 1\n")
    assert toolchain.system_nvcc({"CUDA_HOME": str(tmp_path / "old"), "CUDA_PATH": str(tmp_path / "broken")}) is None
    printed = capsys.readouterr().out
    assert f"{old} is older than CUDA 12.0" in printed
    assert f"{broken} does not work" in printed


def test_the_compiler_of_the_wheels_is_found_in_site_packages(tmp_path: Path) -> None:
    path = fake_nvcc(tmp_path / "nvidia" / "cu13", release="13.0")
    library = tmp_path / "nvidia" / "cu13" / "lib"
    library.mkdir()
    (library / "libcudart_static.a").touch()
    nvcc = toolchain.wheel_nvcc([str(tmp_path / "nothing"), str(tmp_path)])
    assert nvcc is not None
    assert (nvcc.path, nvcc.library_dir, nvcc.include_dir) == (path, library, None)


def test_default_architectures_that_nvcc_lacks_are_left_out_and_reported(tmp_path: Path) -> None:
    nvcc = toolchain.inspect_nvcc(fake_nvcc(tmp_path))
    said: list[str] = []
    archs = toolchain.choose_archs(None, nvcc, said.append)
    assert str(archs) == "75 80 86 89 90 90+PTX"
    assert len(said) == 1
    assert "12.4 lacks these architectures, left out: [100, 120]" in said[0]


def test_a_new_nvcc_builds_every_default_architecture(tmp_path: Path) -> None:
    nvcc = toolchain.inspect_nvcc(fake_nvcc(tmp_path, codes=(75, 80, 86, 87, 89, 90, 100, 103, 120)))
    said: list[str] = []
    assert str(toolchain.choose_archs("", nvcc, said.append)) == "75 80 86 89 90 100 120 120+PTX"
    assert said == []


@pytest.mark.parametrize("text", ["80 90 90+PTX", "90+PTX,80", " 80,  90+PTX ,"])
def test_architectures_are_separated_by_spaces_or_commas(tmp_path: Path, text: str) -> None:
    archs = toolchain.choose_archs(text, toolchain.inspect_nvcc(fake_nvcc(tmp_path)))
    assert str(archs) == "80 90 90+PTX"
    assert archs.flags == [
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_90,code=compute_90",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("90 120", "does not know 120; it knows 75 80 86 89 90"),
        ("sm_90", "'sm_90' is not an arch"),
        ("all", "'all' is"),
    ],
)
def test_named_architectures_that_cannot_be_built_are_errors(tmp_path: Path, text: str, message: str) -> None:
    nvcc = toolchain.inspect_nvcc(fake_nvcc(tmp_path))
    with pytest.raises(ValueError, match=f"ONEPFRAC_CUDA_ARCHS='{text}'.*{message}"):
        toolchain.choose_archs(text, nvcc)


def test_vector_files_are_left_out_elsewhere_and_linked_last() -> None:
    files = ["csrc/z.cpp", "csrc/a_avx512.cpp", "csrc/a_avx2.cpp", "csrc/a.cu"]
    assert sorted(files, key=toolchain.link_order) == [files[3], files[0], files[2], files[1]]
    assert "-mavx2" in toolchain.cxx_flags_for("csrc/a_avx2.cpp", x86=True)
    assert "-mavx512f" in toolchain.cxx_flags_for("csrc/a_avx512.cpp", x86=True)
    assert toolchain.cxx_flags_for("csrc/a_avx2.cpp", x86=False) is None
    assert toolchain.cxx_flags_for("csrc/z.cpp", x86=False) == ()


def test_the_backend_asks_for_a_compiler_only_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("setuptools")
    backend = load("backend")
    for name in ("CUDA_HOME", "CUDA_PATH", "ONEPFRAC_CUDA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "")
    assert backend._compiler_requires() == [toolchain.CUDA_WHEELS]
    monkeypatch.setenv("ONEPFRAC_CUDA", "0")
    assert backend._compiler_requires() == []
    monkeypatch.delenv("ONEPFRAC_CUDA")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert backend._compiler_requires() == [toolchain.CUDA_WHEELS]
    fake_nvcc(tmp_path)
    assert backend._compiler_requires() == []
