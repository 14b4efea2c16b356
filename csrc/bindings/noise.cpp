// Images of noise.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <string>

#include "../cpu/executor.h"
#include "../cuda/executor.h"
#include "../host_block.h"
#include "array_view.h"
#include "checks.h"
#include "module.h"
#include "released_gil.h"

namespace py = pybind11;

namespace onepfrac {

namespace {

struct NoiseRequest {
    ArrayView base, keys, out;
    NoiseJob job;
};

// base (S, S) int16, keys (B,) 64-bit integers, out (B, 1, S, S) uint8; all on one device
NoiseRequest make_noise(const py::object& base, const py::object& keys, int half, const py::object& out) {
    NoiseRequest r{view_of(base, "base"), view_of(keys, "keys"), view_of(out, "out"), {}};
    require(r.out.kind == ArrayView::Kind::kUnsigned && r.out.bits == 8 && r.out.shape.size() == 4 &&
                r.out.shape[1] == 1 && r.out.shape[2] == r.out.shape[3] && r.out.contiguous(),
            "out must be contiguous uint8 of shape (B, 1, size, size)");
    require(!r.out.read_only, "out must be writable");
    const std::int64_t batch = r.out.shape[0], size = r.out.shape[2];
    require(size >= 8 && size <= 4096, "size must be 8 to 4096");
    require(batch <= std::numeric_limits<std::int32_t>::max(), "the batch is too large");
    require(r.base.kind == ArrayView::Kind::kSigned && r.base.bits == 16 && r.base.shape.size() == 2 &&
                r.base.shape[0] == size && r.base.shape[1] == size && r.base.contiguous(),
            "base must be contiguous int16 of shape (size, size)");
    require((r.keys.kind == ArrayView::Kind::kUnsigned || r.keys.kind == ArrayView::Kind::kSigned) &&
                r.keys.bits == 64 && r.keys.shape.size() == 1 && r.keys.shape[0] == batch && r.keys.contiguous(),
            "keys must be contiguous 64-bit integers of shape (B,)");
    require_kernels(r.out);
    require_beside(r.base, r.out, "base");
    require_beside(r.keys, r.out, "keys");
    require(half >= 0 && half <= kBrightest, "half must be 0 to " + std::to_string(kBrightest));
    if (!r.base.cuda) {
        const auto* values = static_cast<const std::int16_t*>(r.base.data);
        const auto legal = [](std::int16_t value) { return value >= 0 && value <= kBrightest; };
        require(std::all_of(values, values + size * size, legal), "base must be 0 to " + std::to_string(kBrightest));
    }
    r.job = {.base = static_cast<const std::int16_t*>(r.base.data),
             .keys = static_cast<const std::uint64_t*>(r.keys.data),
             .batch = batch,
             .size = static_cast<int>(size),
             .half = half,
             .out = static_cast<std::uint8_t*>(r.out.data),
             .band_rows = static_cast<int>(size)};
    return r;
}

void draw_noise(const py::object& base, const py::object& keys, int half, const py::object& out, int threads,
                const std::string& simd, std::uintptr_t stream) {
    const NoiseRequest r = make_noise(base, keys, half, out);
    require_threads(threads);
    ReleasedGil released;
    if (r.out.cuda) {
#if defined(ONEPFRAC_CUDA)
        draw_noise_cuda(r.job, r.out.device, stream);
#else
        static_cast<void>(stream);  // require_kernels refused
#endif
    } else {
        draw_noise_cpu(r.job, threads, simd, released.interrupt());
    }
}

void draw_noise_on_host_block(const py::object& base, const py::object& keys, int half, const py::object& out,
                              int threads, int band_rows, bool reverse) {
    NoiseRequest r = make_noise(base, keys, half, out);
    require(!r.out.cuda, "out must be on the CPU");
    require_threads(threads);
    require_band(band_rows);
    r.job.band_rows = band_rows;
    const ReleasedGil released;
    draw_noise_host_block(r.job, threads, reverse);
}

}  // namespace

void bind_noise(py::module_& module) {
    module.attr("NOISE_BASE_PURPOSE") = kNoiseBasePurpose;
    module.def("draw_noise", &draw_noise, py::arg("base"), py::arg("keys"), py::arg("half"), py::arg("out"),
               py::arg("threads"), py::arg("simd"), py::arg("stream"));
    module.def("draw_noise_host_block", &draw_noise_on_host_block, py::arg("base"), py::arg("keys"), py::arg("half"),
               py::arg("out"), py::arg("threads"), py::arg("band_rows"), py::arg("reverse"));
}

}  // namespace onepfrac
