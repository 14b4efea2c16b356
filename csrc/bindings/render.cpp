// Systems in, pictures out: packing, the CPU and CUDA executors, and the kernel body on the host.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <limits>
#include <string>

#include "../cpu/executor.h"
#include "../cuda/executor.h"
#include "../host_block.h"
#include "../packing.h"
#include "array_view.h"
#include "checks.h"
#include "released_gil.h"

namespace py = pybind11;

namespace onepfrac {

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Doubles = py::array_t<double, py::array::c_style>;
using Seeds = py::array_t<std::uint64_t, py::array::c_style>;
using Words = py::array_t<std::uint32_t, py::array::c_style>;

// maps (B, N, 2, 3), probs (B, N), seeds (B,) -> (B, kSystemWords)
Words pack_systems(const Floats& maps, const Doubles& probs, const Seeds& seeds) {
    require(maps.ndim() == 4 && maps.shape(2) == 2 && maps.shape(3) == 3, "maps must have shape (B, N, 2, 3)");
    const py::ssize_t batch = maps.shape(0), num_maps = maps.shape(1);
    require(num_maps >= 1 && num_maps <= kMaxMaps, "maps must hold 1 to 16 maps a system");
    require(probs.ndim() == 2 && probs.shape(0) == batch && probs.shape(1) == num_maps, "probs must have shape (B, N)");
    require(seeds.ndim() == 1 && seeds.shape(0) == batch, "seeds must have shape (B,)");

    Words packed({batch, py::ssize_t{kSystemWords}});
    auto* systems = reinterpret_cast<System*>(packed.mutable_data());
    const auto n = static_cast<std::size_t>(num_maps);
    for (py::ssize_t i = 0; i < batch; ++i) {
        const std::span<const float> map(maps.data() + i * num_maps * 6, 6 * n);
        const std::span<const double> probabilities(probs.data() + i * num_maps, n);
        for (const float v : map) require(std::isfinite(v), "maps[" + std::to_string(i) + "] must be finite");
        double total = 0.0;
        for (const double p : probabilities) {
            require(std::isfinite(p) && p >= 0.0, "probs[" + std::to_string(i) + "] must be finite and not negative");
            total += p;
        }
        require(total > 0.0 && std::isfinite(total), "probs[" + std::to_string(i) + "] must have a positive sum");
        systems[i] = pack_system(map, probabilities, seeds.data()[i]);
    }
    return packed;
}

py::array_t<bool> diverge(const Words& packed, int num_maps) {
    const ArrayView view = view_of(packed, "systems");
    const System* systems = systems_of(view);
    require(num_maps >= 1 && num_maps <= kMaxMaps, "num_maps must be 1 to 16");
    py::array_t<bool> out(view.shape[0]);
    bool* result = out.mutable_data();
    ReleasedGil released;
    for (std::int64_t i = 0; i < view.shape[0]; ++i) {
        result[i] = diverges(systems[i], num_maps);
        if (i % 64 == 63) released.interrupt().check();
    }
    return out;
}

// What every executor takes, checked.
struct Request {
    ArrayView systems, out;
    RenderJob job;
};

Request make_request(const py::object& systems, const py::object& out, int num_maps, std::int64_t points, int pad,
                     int brush) {
    Request r{view_of(systems, "systems"), view_of(out, "out"), {}};
    const PixelType type = pixel_type_of(r.out);
    require(r.out.shape.size() == 4 && r.out.shape[1] == 1 && r.out.shape[0] == r.systems.shape[0],
            "out must have shape (B, 1, size, size)");
    require(r.out.contiguous(), "out must be contiguous");
    require(!r.out.read_only, "out must be writable");
    require(r.out.cuda == r.systems.cuda && (!r.out.cuda || r.out.device == r.systems.device),
            "systems and out must be on the same device");
    const std::int64_t size = r.out.shape[2];
    require(r.out.shape[3] == (type == PixelType::kBits ? words_per_row(static_cast<int>(size)) : size),
            "out must have shape (B, 1, size, size), or (B, 1, size, words a row) for bits");
    r.job = make_render_job(r.systems, r.out.shape[0], num_maps, points, static_cast<int>(size), pad, brush, type);
    r.job.out = static_cast<std::byte*>(r.out.data);
    return r;
}

void render(const py::object& systems, const py::object& out, int num_maps, std::int64_t points, int pad, int brush,
            int threads, const std::string& simd, std::uintptr_t stream) {
    const Request r = make_request(systems, out, num_maps, points, pad, brush);
    require(threads >= 1, "threads must be 1 or more");
    ReleasedGil released;
    if (r.out.cuda) {
#if defined(ONEPFRAC_CUDA)
        render_cuda(block_job(r.job, r.job.size), r.job.batch, r.out.device, stream);
#else
        static_cast<void>(stream);
        throw std::runtime_error("this build has no CUDA kernels (ONEPFRAC_CUDA=0)");
#endif
    } else {
        render_cpu(r.job, threads, simd, released.interrupt());
    }
}

void render_on_host_block(const py::object& systems, const py::object& out, int num_maps, std::int64_t points, int pad,
                          int brush, int threads, int band_rows, bool reverse) {
    const Request r = make_request(systems, out, num_maps, points, pad, brush);
    require(!r.out.cuda, "out must be on the CPU");
    require(threads >= 1 && band_rows >= 1, "threads and band_rows must be 1 or more");
    ReleasedGil released;
    render_host_block(block_job(r.job, band_rows), r.job.batch, threads, reverse);
}

// canvases (C, size, words a row) int32, which (B,) int64 on the same device, each below C -> out (B, 1, size, size)
struct ExpandRequest {
    ArrayView canvases, which, out;
    ExpandJob job;
};

ExpandRequest make_expand(const py::object& canvases, const py::object& which, const py::object& out) {
    ExpandRequest r{view_of(canvases, "canvases"), view_of(which, "which"), view_of(out, "out"), {}};
    const PixelType type = pixel_type_of(r.out);
    require(type != PixelType::kBits, "out must be uint8, float16, bfloat16 or float32");
    require(r.out.shape.size() == 4 && r.out.shape[1] == 1 && r.out.shape[2] == r.out.shape[3] && r.out.contiguous(),
            "out must be contiguous, of shape (B, 1, size, size)");
    require(!r.out.read_only, "out must be writable");
    const std::int64_t size = r.out.shape[2];
    require(size >= 8 && size <= 4096, "size must be 8 to 4096");
    require(pixel_type_of(r.canvases) == PixelType::kBits && r.canvases.shape.size() == 3 &&
                r.canvases.shape[1] == size && r.canvases.shape[2] == words_per_row(static_cast<int>(size)) &&
                r.canvases.contiguous(),
            "canvases must be contiguous 32-bit words of shape (C, size, words a row)");
    require(r.which.kind == ArrayView::Kind::kSigned && r.which.bits == 64 && r.which.shape.size() == 1 &&
                r.which.shape[0] == r.out.shape[0] && r.which.contiguous(),
            "which must be int64 of shape (B,)");
    for (const ArrayView* view : {&r.canvases, &r.which}) {
        require(view->cuda == r.out.cuda && (!r.out.cuda || view->device == r.out.device),
                "canvases, which and out must be on the same device");
    }
    if (!r.out.cuda) {
        const auto* which_of = static_cast<const std::int64_t*>(r.which.data);
        for (std::int64_t i = 0; i < r.which.shape[0]; ++i) {
            require(which_of[i] >= 0 && which_of[i] < r.canvases.shape[0],
                    "which must be 0 or more and below the number of canvases");
        }
    }
    require(r.out.shape[0] <= std::numeric_limits<std::int32_t>::max(), "the batch is too large");
    r.job = {.canvases = static_cast<const std::uint32_t*>(r.canvases.data),
             .which = static_cast<const std::int64_t*>(r.which.data),
             .batch = r.out.shape[0],
             .size = static_cast<int>(size),
             .type = type,
             .out = r.out.data};
    return r;
}

void expand(const py::object& canvases, const py::object& which, const py::object& out, int threads,
            const std::string& simd, std::uintptr_t stream) {
    const ExpandRequest r = make_expand(canvases, which, out);
    require(threads >= 1, "threads must be 1 or more");
    ReleasedGil released;
    if (r.out.cuda) {
#if defined(ONEPFRAC_CUDA)
        expand_cuda(r.job, r.out.device, stream);
#else
        static_cast<void>(stream);
        throw std::runtime_error("this build has no CUDA kernels (ONEPFRAC_CUDA=0)");
#endif
    } else {
        expand_cpu(r.job, threads, simd, released.interrupt());
    }
}

void expand_on_host_block(const py::object& canvases, const py::object& which, const py::object& out, int threads,
                          bool reverse) {
    const ExpandRequest r = make_expand(canvases, which, out);
    require(!r.out.cuda, "out must be on the CPU");
    require(threads >= 1, "threads must be 1 or more");
    expand_host_block(r.job, threads, reverse);
}

// (bands, bytes of shared memory a block) of a canvas on a device that gives a block `limit` bytes.
py::tuple cuda_layout(int size, std::int64_t limit) {
    require(size >= 8 && size <= 4096, "size must be 8 to 4096");
    require(limit >= 16384, "limit must be 16384 or more");
    const BlockLayout layout = block_layout(size, limit);
    return py::make_tuple(layout.bands, layout.bytes);
}

int device_count() {
#if defined(ONEPFRAC_CUDA)
    return cuda_device_count();
#else
    return 0;
#endif
}

}  // namespace

void bind_render(py::module_& module) {
    module.attr("SYSTEM_WORDS") = kSystemWords;
    module.def("pack_systems", &pack_systems, py::arg("maps"), py::arg("probs"), py::arg("seeds"));
    module.def("diverges", &diverge, py::arg("systems"), py::arg("num_maps"));
    module.def("render", &render, py::arg("systems"), py::arg("out"), py::arg("num_maps"), py::arg("points"),
               py::arg("pad"), py::arg("brush"), py::arg("threads"), py::arg("simd"), py::arg("stream"));
    module.def("render_host_block", &render_on_host_block, py::arg("systems"), py::arg("out"), py::arg("num_maps"),
               py::arg("points"), py::arg("pad"), py::arg("brush"), py::arg("threads"), py::arg("band_rows"),
               py::arg("reverse"));
    module.def("expand", &expand, py::arg("canvases"), py::arg("which"), py::arg("out"), py::arg("threads"),
               py::arg("simd"), py::arg("stream"));
    module.def("expand_host_block", &expand_on_host_block, py::arg("canvases"), py::arg("which"), py::arg("out"),
               py::arg("threads"), py::arg("reverse"));
    module.def("simd_levels", &simd_levels);
    module.def("cuda_layout", &cuda_layout, py::arg("size"), py::arg("limit"));
    module.def("cuda_device_count", &device_count);
}

}  // namespace onepfrac
