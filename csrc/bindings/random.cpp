// Philox and the elementary functions that recipes and plans are made with.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <string>
#include <vector>

#include "../elementary.h"
#include "../philox.h"
#include "checks.h"
#include "module.h"
#include "released_gil.h"

namespace py = pybind11;

namespace onepfrac {

namespace {

using Doubles = PlainArray<double>;
using Words = PlainArray<std::uint32_t>;

constexpr py::ssize_t kNumbersBetweenSignals = 1 << 18;

Words philox(std::uint64_t key, const py::object& given) {
    const py::array seen = array_of(given, "counters");
    require(seen.ndim() == 2 && seen.shape(1) == 4, "counters must be uint32 of shape (n, 4)");
    const py::ssize_t count = seen.shape(0);  // read once: a handler may give the array another shape
    const auto counters = plain<std::uint32_t>(seen, "counters");
    Words out({count, py::ssize_t{4}});
    const std::uint32_t* in = counters.data();
    std::uint32_t* result = out.mutable_data();
    const RoundKeys<ScalarLanes> keys({static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
    for (py::ssize_t i = 0; i < count; ++i, in += 4, result += 4) {
        const auto block = philox4x32<ScalarLanes>(in[0], in[1], in[2], in[3], keys);
        for (int q = 0; q < 4; ++q) result[q] = block.word[q];
        if (i % kNumbersBetweenSignals == kNumbersBetweenSignals - 1) answer_signals();
    }
    return out;
}

// What `function` gives for each value, all of which must be `legal`, which is `what`.
template <class Function, class Legal>
Doubles map_doubles(const Doubles& values, Function&& function, Legal&& legal, const char* what) {
    Doubles out(std::vector<py::ssize_t>(values.shape(), values.shape() + values.ndim()));
    const double* in = values.data();
    double* result = out.mutable_data();
    const py::ssize_t count = out.size();
    for (py::ssize_t i = 0; i < count; ++i) {
        const double value = in[i];
        if (!legal(value)) throw py::value_error(std::string(what) + ", got " + std::to_string(value));
        result[i] = function(value);
        if (i % kNumbersBetweenSignals == kNumbersBetweenSignals - 1) answer_signals();
    }
    return out;
}

constexpr auto finite = [](double value) { return std::isfinite(value); };

}  // namespace

void bind_random(py::module_& module) {
    module.def("philox4x32", &philox, py::arg("key"), py::arg("counters"));
    module.def(
        "sincos_turns",
        [](const Doubles& turns) {
            const char* what = "turns must be finite";
            return std::pair(map_doubles(
                                 turns, [](double u) { return sincos_turns(u).sin; }, finite, what),
                             map_doubles(turns, [](double u) { return sincos_turns(u).cos; }, finite, what));
        },
        py::arg("turns"));
    module.def(
        "exp_fixed", [](const Doubles& x) { return map_doubles(x, exp_fixed, finite, "x must be finite"); },
        py::arg("x"));
    module.def(
        "log_fixed",
        [](const Doubles& x) {
            const auto legal = [](double value) { return value > 0.0 && std::isfinite(value); };
            return map_doubles(x, log_fixed, legal, "x must be finite and greater than 0");
        },
        py::arg("x"));
}

}  // namespace onepfrac
