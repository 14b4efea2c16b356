// replay: the released arithmetic, one image.

#include "../replay.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <vector>

#include "../system.h"
#include "checks.h"
#include "module.h"
#include "released_gil.h"

namespace py = pybind11;

namespace onepfrac {

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

std::span<const double> span_of(const Doubles& array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}

py::array_t<bool> replay_image(const py::object& all_maps, const py::object& all_probs, const Doubles& draws, int size,
                               int pad, int brush) {
    const py::array maps_given = array_of(all_maps, "maps"), probs_given = array_of(all_probs, "probs");
    require(probs_given.size() >= 1 && probs_given.size() <= kMaxMaps && maps_given.size() == 6 * probs_given.size(),
            "maps must hold six numbers for each of probs, which must be 1 to 16");
    const auto maps = plain<double>(maps_given, "maps"), probs = plain<double>(probs_given, "probs");
    require(draws.size() >= 1, "draws must be 1 or more");
    require(size >= 1 && size <= 4096, "size must be 1 to 4096");
    require(pad >= 0 && pad <= (size - 1) / 2, "pad must be 0 or more and less than size / 2");
    require(brush == 0 || brush == 1, "brush must be 0 or 1");
    // Of their own: other threads may change arrays while the GIL is given up. The draws, of gigabytes perhaps, are
    // read where they are; the orbit's second round inks nothing beyond the bounds of the first.
    const std::vector<double> own_maps(maps.data(), maps.data() + maps.size());
    const std::vector<double> own_probs(probs.data(), probs.data() + probs.size());
    py::array_t<bool> mask({size, size});
    auto* bytes = reinterpret_cast<std::uint8_t*>(mask.mutable_data());
    std::fill_n(bytes, mask.size(), std::uint8_t{0});
    bool finite = false;
    {
        ReleasedGil released;
        finite = replay(own_maps, own_probs, span_of(draws), size, pad, static_cast<Brush>(brush), bytes,
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
