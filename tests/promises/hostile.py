"""Hostile input: what calls with arguments that nobody sane would pass may and may not do."""

from __future__ import annotations

from promises.promise import Break, Promise

__all__ = ["PROMISES"]

_HERE = "tests/test_hostile.py::test_"
_FUZZ = "tests/fuzz/test_hostile_calls.py::test_"
_BINDINGS = _FUZZ + "the_bindings_refuse_a_hostile_call_or_answer_it_rightly"
_GUIDED = "tests/fuzz/test_guided.py::test_"
_PUBLIC = _FUZZ + "the_public_entries_refuse_a_hostile_call_or_answer_it_rightly"

PROMISES: list[Promise] = [
    Promise(
        "A hostile call of a public entry ends in a ValueError, a TypeError or the right answer, and writes nothing if"
        " it is refused.",
        (_PUBLIC, _HERE + "what_foreign_code_raises_becomes_a_type_error_that_names_the_argument"),
        (
            Break(
                "python/onepfrac/arrays.py",
                "        return int(index) if int(kind) == _CUDA else None\n    except MemoryError:\n        raise\n"
                "    except Exception as error:\n",
                "        return int(index) if int(kind) == _CUDA else None\n    except KeyError as error:\n",
            ),
        ),
    ),
    Promise(
        "Tensors that are no plain memory are refused by name, and put-off negation and gradients are no obstacle.",
        (
            _HERE + "tensors_that_are_no_plain_memory_are_refused_by_name",
            _HERE + "a_tensor_with_a_gradient_or_put_off_negation_is_read_as_what_it_means",
        ),
        (
            Break(
                "python/onepfrac/arrays.py",
                "    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:\n",
                "    if False:\n",
                (_HERE + "tensors_that_are_no_plain_memory_are_refused_by_name",),
            ),
            Break(
                "python/onepfrac/arrays.py",
                ".resolve_conj().resolve_neg()\n",
                ".resolve_conj()\n",
                (_HERE + "a_tensor_with_a_gradient_or_put_off_negation_is_read_as_what_it_means",),
            ),
        ),
    ),
    Promise(
        "An exporter of DLPack that lies about sizes, address or shape is found out before its memory is touched.",
        (_HERE + "an_exporter_that_lies_is_found_out_before_torch_takes_its_word",),
        (
            Break(
                "python/onepfrac/arrays.py",
                "    capsule = _C.checked_dlpack(array, name, stream)\n",
                "    capsule = array.__dlpack__()\n",
            ),
        ),
    ),
    Promise(
        "An exporter of DLPack with negative strides, at which some releases of torch end the process, is refused.",
        (_HERE + "negative_strides_of_an_exporter_are_refused",),
        (Break("csrc/bindings/array_view.cpp", "        if (stride < 0)\n", "        if (stride < -1'000'000)\n"),),
    ),
    Promise(
        "Packed systems are made of packed words alone.",
        (_HERE + "systems_are_made_of_packed_words_alone",),
        (
            Break(
                "python/onepfrac/systems.py",
                "        if torch.compiler.is_compiling():  # made by `pack` alone\n",
                "        if not torch.compiler.is_compiling():\n",
            ),
        ),
    ),
    Promise(
        "A hostile call of the bindings ends in a ValueError, a TypeError or the right answer, touches nothing beside"
        " its arrays, and writes nothing if it is refused.",
        (
            _BINDINGS,
            _HERE + "an_array_of_ctypes_has_no_strides_and_is_taken_all_the_same",
            _HERE + "a_pad_whose_double_overflows_is_refused",
        ),
        (
            Break(
                "csrc/bindings/array_view.cpp",
                "for (int i = 0; buffer->strides != nullptr && i < buffer->ndim; ++i) {",
                "for (int i = 0; i < buffer->ndim; ++i) {",
                (_BINDINGS, _HERE + "an_array_of_ctypes_has_no_strides_and_is_taken_all_the_same"),
            ),
            Break(
                "csrc/bindings/checks.cpp",
                "    require(pad >= 0 && pad <= (size - 1) / 2,",
                "    require(pad >= 0 && static_cast<int>(2U * static_cast<unsigned>(pad)) < size,",
                (_HERE + "a_pad_whose_double_overflows_is_refused",),
            ),
        ),
    ),
    Promise(
        "Inputs that coverage guides (libFuzzer) are refused or read right by the bindings and the readers of recipes,"
        " categories, checkpoints and states, and the first that is not would end the run and be kept.",
        (
            _GUIDED + "the_bindings_stand_what_coverage_guides",
            _GUIDED + "what_coverage_guides_is_refused_in_words_or_read_right",
            _GUIDED + "a_fault_behind_three_right_bytes_is_found",
        ),
        (
            Break(
                "csrc/bindings/checks.cpp",
                "    if (!condition) throw py::value_error(message);\n",
                "    if (!condition) throw std::out_of_range(message);\n",
                (_GUIDED + "the_bindings_stand_what_coverage_guides",),
                native=True,
            ),
            Break(
                "python/onepfrac/stream.py",
                "            if state[key] != here:\n",
                "            if state[key] is None:\n",
                (_GUIDED + "what_coverage_guides_is_refused_in_words_or_read_right",),
            ),
            Break(
                "tests/fuzz/guided.py",
                "env={**os.environ, _WORK: folder}, check=False).returncode)",
                "env={**os.environ, _WORK: folder}, check=False).returncode * 0)",
                (_GUIDED + "a_fault_behind_three_right_bytes_is_found",),
            ),
        ),
    ),
    Promise(
        "An array to write to that shares memory with what is read is refused.",
        (_HERE + "an_array_to_write_to_that_shares_memory_with_what_is_read_is_refused",),
        (Break("csrc/bindings/checks.cpp", "require(bytes == 0 || bytes_of_out == 0 ||", "require(bytes >= 0 ||"),),
    ),
    Promise(
        "Words that another thread changes during a call harm nothing: they are copied before they are checked.",
        (
            _HERE + "words_that_another_thread_changes_during_a_call_harm_nothing",
            _HERE + "systems_that_another_thread_changes_while_they_are_drawn_are_those_of_the_beginning",
            _HERE + "draws_of_a_replay_that_another_thread_changes_ink_nothing_beyond_the_picture",
        ),
        (
            Break(
                "csrc/bindings/render.cpp",
                "    r.job.out = static_cast<std::byte*>(r.out.data);\n",
                "    r.job.out = static_cast<std::byte*>(r.out.data);\n"
                "    r.job.systems = static_cast<const System*>(given.data);\n",
                (_HERE + "systems_that_another_thread_changes_while_they_are_drawn_are_those_of_the_beginning",),
            ),
            Break(
                "csrc/bindings/picture.cpp",
                "    r.job.which = r.which.data();\n",
                '    r.job.which = static_cast<const std::int64_t*>(view_of(which, "which").data);\n',
                (_HERE + "words_that_another_thread_changes_during_a_call_harm_nothing",),
            ),
            Break(
                "csrc/replay.h",
                "        if (!within) return;\n",
                "",
                (_HERE + "draws_of_a_replay_that_another_thread_changes_ink_nothing_beyond_the_picture",),
            ),
        ),
    ),
    Promise(
        "An array that a signal's handler gives another shape in the midst of a call harms nothing.",
        (_HERE + "a_shape_that_a_handler_changes_in_the_midst_of_a_call_harms_nothing",),
        (
            Break(
                "csrc/bindings/random.cpp",
                "i < count; ++i, in += 4, result += 4",
                "i < counters.shape(0); ++i, in += 4, result += 4",
            ),
            Break(
                "csrc/bindings/picture.cpp",
                "row_of(steps, i, num_steps, step)",
                "row_of(steps, i, steps.shape(1), step)",
            ),
        ),
    ),
    Promise(
        "Shots that nobody packed are refused.",
        (_HERE + "shots_that_nobody_packed_are_refused",),
        (
            Break(
                "csrc/bindings/picture.cpp",
                "        check_shot(r.shots.data()[i], i, static_cast<int>(size));\n",
                "        if (size < 0) check_shot(r.shots.data()[i], i, static_cast<int>(size));\n",
            ),
        ),
    ),
    Promise(
        "An array of a huge shape that takes no memory is refused before it is copied.",
        (_HERE + "arrays_of_huge_shapes_without_strides_are_refused_before_they_are_copied",),
        (
            Break(
                "csrc/bindings/checks.cpp",
                "    return py::reinterpret_borrow<py::array>(detail::converted(given, name, py::object(), 0));\n",
                "    return py::reinterpret_borrow<py::array>(\n"
                "        detail::converted(given, name, py::object(), static_cast<int>(py::array::c_style)));\n",
            ),
        ),
    ),
    Promise(
        "Misaligned arrays are refused.",
        (_HERE + "a_misaligned_array_is_refused",),
        (
            Break(
                "csrc/bindings/array_view.cpp",
                "    if (count == 0) return;\n",
                "    if (count >= 0) return;\n",
                (_HERE + "a_misaligned_array_is_refused",),
            ),
        ),
    ),
    Promise(
        "Ctrl-C ends the checking of large inputs.",
        (_HERE + "ctrl_c_ends_the_checking_of_large_inputs",),
        (
            Break(
                "csrc/bindings/random.cpp",
                "        for (int q = 0; q < 4; ++q) result[q] = block.word[q];\n"
                "        if (i % kNumbersBetweenSignals == kNumbersBetweenSignals - 1) answer_signals();\n",
                "        for (int q = 0; q < 4; ++q) result[q] = block.word[q];\n",
            ),
        ),
    ),
]
