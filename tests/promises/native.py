"""The core under sanitizers: that they report, and that they have nothing to report."""

from __future__ import annotations

from promises.promise import Break, Promise

__all__ = ["PROMISES"]

_T = "tests/test_sanitizers.py::test_"
_POOL = "csrc/cpu/thread_pool.cpp"
_SCRIPT = "benchmarks/compute_sanitizer.sh"

PROMISES = [
    Promise(
        "The thread pool has no data race, with many callers, calls within calls, failures at the same moment and"
        " interrupts.",
        (f"{_T}the_thread_pool_is_clean_under_sanitizers",),
        (
            Break(
                _POOL,
                "            lock.lock();\n            --job.helpers;",
                "            --job.helpers;\n            lock.lock();",
            ),
            Break(_POOL, "        const std::lock_guard lock(error_mutex);\n", ""),
        ),
    ),
    Promise(
        "AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer end a program built with our flags at a fault"
        " that was planted.",
        (f"{_T}each_sanitizer_reports_a_planted_fault",),
        (Break("build_support/toolchain.py", '    "-fno-sanitize-recover=all",\n', ""),),
    ),
    Promise(
        "Sanitizers that cannot be combined are refused by name, before anything is compiled.",
        ("tests/test_build.py::test_sanitizers_that_cannot_be_had_are_refused_by_name",),
        (
            Break(
                "build_support/toolchain.py",
                'if names not in ((), ("address",), ("undefined",), ("address", "undefined"), ("thread",)):',
                'if not {"address", "undefined", "thread"}.issuperset(names):',
            ),
        ),
    ),
    Promise(
        "The check of the CUDA kernels runs all four tools of compute-sanitizer, and fails where one reports, does not"
        " end, or no test ran.",
        (
            f"{_T}every_tool_of_compute_sanitizer_runs_the_tests_that_need_a_gpu",
            f"{_T}one_tool_that_finds_a_fault_or_nothing_to_test_fails_the_check",
            f"{_T}a_check_of_kernels_without_compute_sanitizer_says_what_is_missing",
        ),
        (
            Break(
                _SCRIPT,
                "for tool in memcheck racecheck initcheck synccheck; do",
                "for tool in memcheck racecheck synccheck; do",
                (
                    f"{_T}every_tool_of_compute_sanitizer_runs_the_tests_that_need_a_gpu",
                    f"{_T}one_tool_that_finds_a_fault_or_nothing_to_test_fails_the_check",
                ),
            ),
            Break(
                _SCRIPT,
                'verdict="no test ran"',
                "verdict=clean",
                (f"{_T}one_tool_that_finds_a_fault_or_nothing_to_test_fails_the_check",),
            ),
            Break(
                _SCRIPT,
                "    exit 2\n",
                "    exit 0\n",
                (f"{_T}a_check_of_kernels_without_compute_sanitizer_says_what_is_missing",),
            ),
        ),
    ),
]
