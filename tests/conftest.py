"""What all tests share: the folder of reference data, the marks, and how many examples hypothesis tries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# The same few examples every time, so that a red test is red for everybody; `pytest --nightly` searches further.
settings.register_profile(
    "default",
    derandomize=True,
    max_examples=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("nightly", settings.get_profile("default"), derandomize=False, max_examples=2000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="also run slow tests, and 2000 examples a property")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--hypothesis-profile", default=None):
        settings.load_profile("nightly" if config.getoption("--nightly") else "default")


def why_no_gpu() -> str | None:
    """The reason why tests on a CUDA device cannot run here; None if they can."""
    import torch

    from onepfrac import _C

    if not _C.CUDA_ARCHS:
        return "onepfrac is built without CUDA"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and (reason := why_no_gpu()) is not None:
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason=reason))
    if not config.getoption("--nightly"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: runs with --nightly"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of released images and data: ONEPFRAC_SHARED, or ../shared beside the checkout."""
    named = os.environ.get("ONEPFRAC_SHARED")
    folder = Path(named) if named else ROOT.parent / "shared"
    if not folder.is_dir():
        if named:
            pytest.fail(f"ONEPFRAC_SHARED={named!r} is not a folder")
        pytest.skip(f"no reference data: {folder} is absent and ONEPFRAC_SHARED is not set")
    return folder
