"""The core as a whole: under the sanitizers, under valgrind, and every path through it against the others."""

from __future__ import annotations

from promises.promise import Break, Promise

__all__ = ["PROMISES"]

_T = "tests/test_sanitizers.py::test_"

PROMISES = [
    Promise(
        "AddressSanitizer sees the first byte beyond each part of a thread's working memory.",
        (f"{_T}a_step_out_of_a_part_of_working_memory_is_reported",),
        (
            Break(
                "csrc/cpu/arena.h",
                "        ASAN_POISON_MEMORY_REGION(found + bytes, whole - bytes);\n",
                "",
                native=True,
            ),
        ),
    ),
    Promise(
        "Whatever the core draws, it reads and writes its own memory alone, with no undefined arithmetic and no race "
        "(AddressSanitizer, UndefinedBehaviorSanitizer, ThreadSanitizer).",
        (f"{_T}the_core_is_clean_under_sanitizers",),
        (
            # Working memory of half the size: the counts end in the part of the arena behind it.
            Break(
                "csrc/cpu/executor.cpp",
                "            auto* counts = arena.take<std::uint32_t>(static_cast<std::size_t>(pixels));\n",
                "            auto* counts = arena.take<std::uint32_t>(static_cast<std::size_t>(pixels / 2));\n",
                native=True,
            ),
            # The last map of sixteen is followed by a seventeenth.
            Break(
                "csrc/packing.cpp",
                "    for (std::size_t j = 0; j < kMaxMaps; ++j) {\n",
                "    for (std::size_t j = 0; j <= kMaxMaps; ++j) {\n",
                native=True,
            ),
            # A helper leaves a job without the lock that guards how many there are.
            Break(
                "csrc/cpu/thread_pool.cpp",
                "            lock.lock();\n            --job.helpers;\n            done_.notify_all();\n",
                "            --job.helpers;\n            lock.lock();\n            done_.notify_all();\n",
                native=True,
            ),
        ),
    ),
    Promise(
        "The core reads nothing that was not written, and gives back all it takes (valgrind).",
        (f"{_T}the_core_is_clean_under_valgrind",),
        (
            Break(
                "csrc/packing.cpp",
                "    System system{};\n",
                "    System system;\n",
                native=True,
            ),
        ),
    ),
    Promise(
        "Every instruction set, any number of threads, many callers at once and the body of the CUDA kernels draw the "
        "bits of the scalar code on one thread, and a call among them may be interrupted.",
        (f"{_T}the_core_agrees_with_itself_on_every_path",),
        (
            Break(
                "csrc/host_block.cpp",
                "{ *at |= value; }",
                "{ *at = value; }",
                native=True,
            ),
            Break(
                "csrc/cpu/thread_pool.cpp",
                "    if (job.error) std::rethrow_exception(job.error);\n",
                "",
                native=True,
            ),
        ),
    ),
]
