// Philox and the elementary functions that recipes and plans are made with.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "../elementary.h"
#include "../philox.h"

namespace py = pybind11;

namespace onepfrac {

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Words = py::array_t<std::uint32_t, py::array::c_style>;

Words philox(std::uint64_t key, const Words& counters) {
    if (counters.ndim() != 2 || counters.shape(1) != 4) {
        throw py::value_error("counters must be uint32 of shape (n, 4)");
    }
    Words out({counters.shape(0), py::ssize_t{4}});
    const auto in = counters.unchecked<2>();
    auto result = out.mutable_unchecked<2>();
    const RoundKeys<ScalarLanes> keys({static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
    for (py::ssize_t i = 0; i < in.shape(0); ++i) {
        const auto block = philox4x32<ScalarLanes>(in(i, 0), in(i, 1), in(i, 2), in(i, 3), keys);
        for (int q = 0; q < 4; ++q) result(i, q) = block.word[q];
    }
    return out;
}

template <class Function>
Doubles map_doubles(const Doubles& values, Function&& function) {
    Doubles out(std::vector<py::ssize_t>(values.shape(), values.shape() + values.ndim()));
    for (py::ssize_t i = 0; i < values.size(); ++i) out.mutable_data()[i] = function(values.data()[i]);
    return out;
}

}  // namespace

void bind_random(py::module_& module) {
    module.def("philox4x32", &philox, py::arg("key"), py::arg("counters"));
    module.def(
        "sincos_turns",
        [](const Doubles& turns) {
            return std::pair(map_doubles(turns, [](double u) { return sincos_turns(u).sin; }),
                             map_doubles(turns, [](double u) { return sincos_turns(u).cos; }));
        },
        py::arg("turns"));
    module.def("exp_fixed", [](const Doubles& x) { return map_doubles(x, exp_fixed); }, py::arg("x"));
    module.def("log_fixed", [](const Doubles& x) { return map_doubles(x, log_fixed); }, py::arg("x"));
}

}  // namespace onepfrac
