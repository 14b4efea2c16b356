"""What all tests share: the folder of reference data, the marks, and how many examples hypothesis tries."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from promises import tally

_outcomes: dict[str, tuple[str, int]] = {}  # outcome and number of cases by test; what fails last counts
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
    parser.addoption(
        "--tally", metavar="FILE", help="add outcome and number of cases of each test to FILE, a JSON line each"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.when == "call":  # a property of the report, as it may be made in another process: pytest -n
        item.user_properties.append(("cases", tally.cases[item.nodeid] or 1))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or not report.passed:
        _outcomes[report.nodeid] = report.outcome, int(str(dict(report.user_properties).get("cases", 1)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):  # a process of pytest -n, whose reports the first one gathers
        return
    if (path := session.config.getoption("--tally")) is not None:
        with open(path, "a", encoding="utf-8") as file:
            for test, (outcome, cases) in _outcomes.items():
                file.write(json.dumps({"test": test, "outcome": outcome, "cases": cases}) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--hypothesis-profile", default=None):
        settings.load_profile("nightly" if config.getoption("--nightly") else "default")
    # A shell that starts the tests in the background has them ignore Ctrl-C, and so would all that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
