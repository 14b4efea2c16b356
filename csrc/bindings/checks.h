// Checks that several bindings share. They guard the core; the messages for people are the package's.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <string>

#include "../block.h"
#include "../cpu/executor.h"
#include "array_view.h"

namespace onepfrac {

// Throws ValueError with the message where the condition does not hold.
void require(bool condition, const std::string& message);

// Throws where an array is not on the device of `out`, or shares memory with it, naming it. Both must be contiguous.
void require_beside(const ArrayView& array, const ArrayView& out, const std::string& name);

// The numbers of what each picture of `out` shows, int64 (B,), each below `count` (looked at on the CPU alone).
ControlWords<std::int64_t> numbers_of(const ArrayView& which, const ArrayView& out, std::int64_t count);

// Items between two calls of answer_signals() in loops that check or pack: some milliseconds at most.
inline constexpr std::int64_t kItemsBetweenSignals = 1024;

// NumPy arrays of the very dtype, or of one that converts to it without loss; in C order, aligned.
template <class T>
using PlainArray = pybind11::array_t<T, static_cast<int>(pybind11::array::c_style) |
                                            static_cast<int>(pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_)>;

// An argument as a NumPy array of whatever dtype and order, not copied where it is one or exports one: its shape can be
// looked at before it is made plain, which an array of huge shape and no strides would need all memory for. Throws
// TypeError where it is no array.
pybind11::array array_of(const pybind11::object& given, const char* name);

namespace detail {

pybind11::object converted(const pybind11::object& given, const char* name, pybind11::object dtype, int flags);

}  // namespace detail

// The same array as a plain one. Throws TypeError where a number would change.
template <class T>
PlainArray<T> plain(const pybind11::array& array, const char* name) {
    return pybind11::reinterpret_borrow<PlainArray<T>>(detail::converted(
        array, name, pybind11::dtype::of<T>(),
        static_cast<int>(pybind11::array::c_style) | static_cast<int>(pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_)));
}

// The rows of a band of the kernel body on the host.
void require_band(int band_rows);

// How many threads a call may ask for.
void require_threads(int threads);

// Throws where this build cannot draw on the device of `out`.
void require_kernels(const ArrayView& out);

// The systems in an array that pack_systems made. Any words are safe to draw: nothing is addressed by them.
ControlWords<System> systems_of(const ArrayView& view);

// The job of drawing `batch` systems, checked; where to write is left open.
RenderJob make_render_job(const ControlWords<System>& systems, std::int64_t batch, int num_maps, std::int64_t points,
                          std::int64_t size, int pad, int brush, PixelType type);

// The same for blocks of threads.
BlockJob block_job(const RenderJob& job, int band_rows);

// What an array to write to holds.
PixelType pixel_type_of(const ArrayView& out);

}  // namespace onepfrac
