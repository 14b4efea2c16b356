"""Objects that several Python threads share, with and without the GIL."""

from __future__ import annotations

from promises.promise import Break, Promise

__all__ = ["PROMISES"]

_T = "tests/test_threads.py::test_"

PROMISES = [
    Promise(
        "Threads that share a stream get each batch once, and a state that is loaded while another thread makes a batch"
        " holds.",
        (
            f"{_T}threads_that_share_a_stream_get_each_batch_once",
            f"{_T}a_state_that_is_loaded_in_the_midst_of_another_threads_batch_holds_after_it",
        ),
        (
            Break(
                "python/onepfrac/stream.py",
                "        with mutex.lock:\n            stream._check_between_batches()\n",
                "        if mutex.lock:\n",
                (f"{_T}threads_that_share_a_stream_get_each_batch_once",),
            ),
            Break(
                "python/onepfrac/stream.py",
                "        with self._mutex.lock:\n            self._check_between_batches()\n",
                "        if self._mutex.lock:\n",
                (f"{_T}a_state_that_is_loaded_in_the_midst_of_another_threads_batch_holds_after_it",),
            ),
        ),
    ),
    Promise(
        "A signal's handler that asks a stream in the midst of its batch is refused; the batch comes as it would have.",
        (f"{_T}a_handler_that_asks_a_stream_in_the_midst_of_a_batch_is_refused",),
        (
            Break(
                "python/onepfrac/stream.py", "        if self._mutex.busy:  # of this", "        if False:  # of this"
            ),
        ),
    ),
    Promise(
        "A child that is forked while another thread holds a stream finds it free.",
        (f"{_T}a_child_forked_in_the_midst_of_another_threads_batch_gets_its_own",),
        (
            Break(
                "python/onepfrac/mutex.py",
                "        mutex.lock = threading.RLock()\n        mutex.busy",
                "        mutex.busy",
            ),
        ),
    ),
    Promise(
        "Threads that draw at the same time, each with a stream of one recipe, get what one alone gets.",
        (f"{_T}threads_with_a_stream_each_of_one_recipe_get_what_one_alone_gets",),
        (Break("csrc/cpu/executor.cpp", "    thread_local Arena arena;", "    static Arena arena;"),),
    ),
    Promise(
        "Threads that share images by number get those that one gets.",
        (f"{_T}threads_that_share_images_get_those_that_one_gets",),
        (
            Break(
                "python/onepfrac/canvases.py",
                "        with self._mutex.lock:\n            self._draw_missing(plan)\n",
                "        import copy\n\n        before = copy.copy(self)\n        before._known = self._known.copy()\n"
                "        self._known[plan.images] = True  # and only now they are drawn\n"
                "        before._draw_missing(plan)\n",
            ),
        ),
    ),
    Promise(
        "A Python without its GIL stays without it when it imports the package and streams (needs such a Python).",
        (f"{_T}python_stays_without_its_gil",),
        (Break("csrc/bindings/module.cpp", ", pybind11::mod_gil_not_used()) {", ") {"),),
    ),
]
