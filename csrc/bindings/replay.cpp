// replay: the released arithmetic, one image.

#include "../replay.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "released_gil.h"

namespace py = pybind11;

namespace onepfrac {

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

std::span<const double> span_of(const Doubles& array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}

py::array_t<bool> replay_image(const Doubles& maps, const Doubles& probs, const Doubles& draws, int size, int pad,
                               int brush) {
    if (probs.size() < 1 || maps.size() != 6 * probs.size()) {
        throw py::value_error("maps must hold six numbers for each of probs");
    }
    if (draws.size() < 1 || size < 1 || pad < 0 || 2 * pad >= size || (brush != 0 && brush != 1)) {
        throw py::value_error("replay: draws, size, pad or brush out of range");
    }
    py::array_t<bool> mask({size, size});
    auto* bytes = reinterpret_cast<std::uint8_t*>(mask.mutable_data());
    std::fill_n(bytes, mask.size(), std::uint8_t{0});
    bool finite = false;
    {
        ReleasedGil released;
        finite = replay(span_of(maps), span_of(probs), span_of(draws), size, pad, static_cast<Brush>(brush), bytes,
                        [&] { released.interrupt().check(); });
    }
    if (!finite) throw py::value_error("maps and draws must keep the orbit finite, and its extent");
    return mask;
}

}  // namespace

void bind_replay(py::module_& module) {
    module.def("replay", &replay_image, py::arg("maps"), py::arg("probs"), py::arg("draws"), py::arg("size"),
               py::arg("pad"), py::arg("brush"));
}

}  // namespace onepfrac
