"""Growth, peaks, and allocations that fail."""

from __future__ import annotations

from promises.promise import Break, Promise

__all__ = ["PROMISES"]

_T = "tests/test_memory.py::test_"

PROMISES = [
    Promise(
        "A stream does not grow, however long it runs.",
        (f"{_T}an_endless_stream_does_not_grow",),
        (
            Break(
                "python/onepfrac/buffers.py",
                "        self._spare[:] = [block]\n",
                "        self._spare += [block, block.copy()]\n",
            ),
        ),
    ),
    Promise(
        "A call takes at most 64 MiB of memory beside its output.",
        (f"{_T}the_memory_beside_the_output_is_bounded",),
        (
            Break(
                "python/onepfrac/rendering.py",
                "    where = stream_of(words.device)\n",
                "    where = stream_of(words.device) + 0 * int(torch.ones(100 << 20, dtype=torch.uint8)[0])\n",
            ),
        ),
    ),
    Promise(
        "Where memory ends a call raises MemoryError, with the size asked for, and the next one is right.",
        (
            f"{_T}where_memory_ends_calls_raise_memory_error_and_all_goes_on",
            f"{_T}a_batch_beyond_any_memory_is_a_memory_error_with_its_size",
        ),
        (
            Break(
                "python/onepfrac/buffers.py",
                "    except RuntimeError as error:\n",
                "    except KeyError as error:\n",
            ),
        ),
    ),
    Promise(
        "Whichever allocation fails, on whichever thread, the call raises MemoryError and the next one is right.",
        (f"{_T}whichever_allocation_fails_the_call_raises_memory_error_and_the_next_one_is_right",),
        (
            Break(
                "csrc/cpu/thread_pool.cpp",
                "        } catch (...) {\n            fail();\n        }\n    }\n",
                "        } catch (...) {\n            next.store(count);\n        }\n    }\n",
            ),
        ),
    ),
    Promise(
        "On a GPU without memory torch's own OutOfMemoryError is raised and all goes on (needs a GPU).",
        (f"{_T}a_gpu_without_memory_raises_torchs_own_error_and_goes_on",),
        (),
    ),
]
