"""Signals, forks, threads and the end of the interpreter."""

from __future__ import annotations

from promises.promise import Break, Promise

__all__ = ["PROMISES"]

_T = "tests/test_processes.py::test_"

PROMISES = [
    Promise(
        "Ctrl-C is answered within a tenth of a second, whatever a call is doing.",
        (f"{_T}ctrl_c_is_answered_within_a_tenth_of_a_second",),
        (
            Break(
                "csrc/bindings/released_gil.cpp",
                "if (handles_signals_ && PyErr_CheckSignals() != 0)",
                "if (handles_signals_ && false)",
            ),
            Break(
                "csrc/cpu/interrupt.h",
                "        if (done_ < kWork) return;\n",
                "        if (done_ < 4096 * kWork) return;\n",
            ),
        ),
    ),
    Promise(
        "An interrupted call gives back all its memory.",
        (f"{_T}interrupted_calls_leave_no_memory_behind",),
        (
            Break(
                "python/onepfrac/buffers.py",
                "        return torch.empty(shape, dtype=dtype)\n    except",
                "        kept = allocate.__dict__\n"
                "        return kept.setdefault(str(len(kept)), torch.ones(shape, dtype=dtype))\n    except",
            ),
        ),
    ),
    Promise(
        "An exception that a signal's handler raises ends the call and arrives as it is; a handler may render.",
        (f"{_T}a_handlers_own_exception_ends_a_call_and_a_handler_may_render",),
        (
            Break(
                "csrc/bindings/released_gil.cpp",
                "!= 0) throw py::error_already_set();\n    return",
                "!= 0) {\n        PyErr_Clear();\n        return false;\n    }\n    return",
            ),
        ),
    ),
    Promise(
        "Ctrl-C in the middle of a batch leaves the stream where it was: the batch comes next time.",
        (f"{_T}ctrl_c_does_not_lose_the_streams_batch",),
        (
            Break(
                "python/onepfrac/stream.py",
                "                batch = self._ahead.take(stream._samples // stream.global_batch_size + self._worker)\n"
                "                stream._samples += stream.global_batch_size * self._workers",
                "                number = stream._samples // stream.global_batch_size + self._worker\n"
                "                stream._samples += stream.global_batch_size * self._workers\n"
                "                batch = self._ahead.take(number)",
            ),
        ),
    ),
    Promise(
        "Calls on other threads go on while Ctrl-C reaches the main one, and finish before the interpreter ends.",
        (
            f"{_T}a_call_on_another_thread_goes_on_while_ctrl_c_reaches_the_main_one",
            f"{_T}a_thread_that_is_no_daemon_finishes_its_picture_first",
        ),
        (
            Break(
                "csrc/bindings/released_gil.cpp",
                "    return handles_signals_;\n",
                '    if (!handles_signals_) throw py::value_error("only the main thread may render");\n'
                "    return handles_signals_;\n",
            ),
        ),
    ),
    Promise(
        "A loader's worker that a signal ends is an error in the loop, never a wait without end.",
        (
            f"{_T}a_worker_that_a_signal_ends_is_an_error_and_no_wait_without_end",
            f"{_T}ctrl_c_in_a_terminal_ends_a_loader_with_its_workers",
        ),
        (
            Break(
                "python/onepfrac/stream.py",
                "        worker, workers = _worker()\n        if get_worker_info() is not None:\n"
                "            if self._start is None:",
                "        worker, workers = _worker()\n        if get_worker_info() is not None:\n"
                "            import signal\n\n"
                "            for number in (signal.SIGINT, signal.SIGTERM):\n"
                "                signal.signal(number, signal.SIG_IGN)\n"
                "            if self._start is None:",
                (f"{_T}a_worker_that_a_signal_ends_is_an_error_and_no_wait_without_end",),
            ),
            Break(
                "python/onepfrac/stream.py",
                "        worker, workers = _worker()\n        if get_worker_info() is not None:\n",
                "        worker, workers = _worker()\n        if get_worker_info() is not None:\n"
                "            os.setsid()  # out of the terminal's reach\n"
                "            if os.fork():\n"
                "                os._exit(0)\n",
                (f"{_T}ctrl_c_in_a_terminal_ends_a_loader_with_its_workers",),
            ),
        ),
    ),
    Promise(
        "A process forked while threads render, with the pool started, renders.",
        (f"{_T}a_fork_while_other_threads_render_leaves_a_child_that_renders",),
        (Break("csrc/cpu/thread_pool.cpp", "[] { pool.store(nullptr); }", "[] {}"),),
    ),
    Promise(
        "The interpreter may end while daemon threads render.",
        (f"{_T}the_interpreter_ends_while_daemon_threads_render",),
        (Break("csrc/bindings/released_gil.cpp", "for (;;) pause();", "std::terminate();"),),
    ),
    Promise(
        "A subinterpreter is refused in words.",
        (f"{_T}a_subinterpreter_is_refused_in_words",),
        (
            Break(
                "python/onepfrac/_interpreter.py",
                "if _found is not None and _found.get_current() != _found.get_main():",
                "if _found is None:",
            ),
        ),
    ),
    Promise(
        "A process starts the threads that it was asked for and no more, however many threads call.",
        (
            f"{_T}workers_start_no_threads_but_those_that_were_asked_for",
            f"{_T}calls_from_many_threads_share_the_pools_threads",
        ),
        (
            Break(
                "csrc/cpu/thread_pool.cpp",
                "while (threads_ < job.wanted) {",
                "for (int fresh = 0; fresh < job.wanted; ++fresh) {",
            ),
        ),
    ),
    Promise(
        "A loader's workers, forked or spawned, render with one thread each; OMP_NUM_THREADS and affinity are kept to.",
        (
            f"{_T}a_loaders_workers_render_with_one_thread_each",
            f"{_T}the_number_of_threads_follows_omp_num_threads_and_the_cpus_of_the_process",
        ),
        (
            Break(
                "python/onepfrac/rendering.py",
                "return min(torch.get_num_threads(), available_cpus(), MAX_THREADS)",
                "return min(os.cpu_count() or 1, MAX_THREADS)",
            ),
        ),
    ),
    Promise(
        "A control group's quota of CPUs is kept to, in both versions of control groups.",
        (
            f"{_T}the_quota_of_control_groups_is_read",
            f"{_T}without_control_groups_the_affinity_counts",
        ),
        (
            Break(
                "python/onepfrac/cpus.py",
                "return min((limit for limit in limits",
                "return max((limit for limit in limits",
                (f"{_T}the_quota_of_control_groups_is_read",),
            ),
            Break(
                "python/onepfrac/cpus.py",
                "cpus if quota is None else min(cpus, math.ceil(quota))",
                "cpus",
                (f"{_T}without_control_groups_the_affinity_counts",),
            ),
        ),
    ),
]
