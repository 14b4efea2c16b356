// Systems in, pictures out: packing, the CPU and CUDA executors, and the kernel body on the host.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "../cpu/executor.h"
#include "../cuda/executor.h"
#include "../host_block.h"
#include "../packing.h"
#include "array_view.h"
#include "checks.h"
#include "module.h"
#include "released_gil.h"

namespace py = pybind11;

namespace onepfrac {

namespace {

using Words = PlainArray<std::uint32_t>;

// maps (B, N, 2, 3), probs (B, N), seeds (B,) -> (B, kSystemWords)
Words pack_systems(const py::object& all_maps, const py::object& all_probs, const py::object& all_seeds) {
    const py::array of_maps = array_of(all_maps, "maps"), of_probs = array_of(all_probs, "probs"),
                    of_seeds = array_of(all_seeds, "seeds");
    require(of_maps.ndim() == 4 && of_maps.shape(2) == 2 && of_maps.shape(3) == 3, "maps must have shape (B, N, 2, 3)");
    const py::ssize_t batch = of_maps.shape(0), num_maps = of_maps.shape(1);
    require(num_maps >= 1 && num_maps <= kMaxMaps, "maps must hold 1 to 16 maps a system");
    require(of_probs.ndim() == 2 && of_probs.shape(0) == batch && of_probs.shape(1) == num_maps,
            "probs must have shape (B, N)");
    require(of_seeds.ndim() == 1 && of_seeds.shape(0) == batch, "seeds must have shape (B,)");
    const auto maps = plain<float>(of_maps, "maps");
    const auto probs = plain<double>(of_probs, "probs");
    const auto seeds = plain<std::uint64_t>(of_seeds, "seeds");

    Words packed({batch, py::ssize_t{kSystemWords}});
    auto* systems = reinterpret_cast<System*>(packed.mutable_data());
    const auto n = static_cast<std::size_t>(num_maps);
    for (py::ssize_t i = 0; i < batch; ++i) {
        // Copies, for another thread may change an array between check and use.
        std::array<float, 6 * kMaxMaps> own_maps;
        std::array<double, kMaxMaps> own_probs;
        std::copy_n(maps.data() + i * num_maps * 6, 6 * n, own_maps.begin());
        std::copy_n(probs.data() + i * num_maps, n, own_probs.begin());
        const std::span<const float> map(own_maps.data(), 6 * n);
        const std::span<const double> probabilities(own_probs.data(), n);
        const auto legal = [i](bool condition, const char* name, const char* what) {
            if (!condition) throw py::value_error(std::string(name) + "[" + std::to_string(i) + "] must " + what);
        };
        for (const float v : map) legal(std::isfinite(v), "maps", "be finite");
        double total = 0.0;
        for (const double p : probabilities) {
            legal(std::isfinite(p) && p >= 0.0, "probs", "be finite and not negative");
            total += p;
        }
        legal(total > 0.0 && std::isfinite(total), "probs", "have a positive, finite sum");
        systems[i] = pack_system(map, probabilities, seeds.data()[i]);
        if (i % kItemsBetweenSignals == kItemsBetweenSignals - 1) answer_signals();
    }
    return packed;
}

py::array_t<bool> diverge(const py::object& given, int num_maps) {
    const py::array seen = array_of(given, "systems");
    require(seen.ndim() == 2 && seen.shape(1) == kSystemWords, "systems must be what pack_systems returns");
    const auto packed = plain<std::uint32_t>(seen, "systems");
    const ArrayView view = view_of(packed, "systems");
    const ControlWords<System> systems = systems_of(view);
    require(num_maps >= 1 && num_maps <= kMaxMaps, "num_maps must be 1 to 16");
    py::array_t<bool> out(view.shape[0]);
    bool* result = out.mutable_data();
    ReleasedGil released;
    for (std::int64_t i = 0; i < view.shape[0]; ++i) {
        result[i] = diverges(systems.data()[i], num_maps);
        if (i % 64 == 63) released.interrupt().check();
    }
    return out;
}

// What every executor takes, checked.
struct Request {
    ArrayView out;
    ControlWords<System> systems;
    RenderJob job;
};

Request make_request(const py::object& systems, const py::object& out, int num_maps, std::int64_t points, int pad,
                     int brush) {
    const ArrayView given = view_of(systems, "systems");
    Request r{view_of(out, "out"), {}, {}};
    const PixelType type = pixel_type_of(r.out);
    require(r.out.shape.size() == 4 && r.out.shape[1] == 1 && !given.shape.empty() && r.out.shape[0] == given.shape[0],
            "out must have shape (B, 1, size, size)");
    require(r.out.contiguous(), "out must be contiguous");
    require(!r.out.read_only, "out must be writable");
    require_kernels(r.out);
    const std::int64_t size = r.out.shape[2];
    require(size >= 8 && size <= 4096, "size must be 8 to 4096");
    require(r.out.shape[3] == (type == PixelType::kBits ? words_per_row(static_cast<int>(size)) : size),
            "out must have shape (B, 1, size, size), or (B, 1, size, words a row) for bits");
    r.systems = systems_of(given);
    require_beside(given, r.out, "systems");
    r.job = make_render_job(r.systems, r.out.shape[0], num_maps, points, size, pad, brush, type);
    r.job.out = static_cast<std::byte*>(r.out.data);
    return r;
}

void render(const py::object& systems, const py::object& out, int num_maps, std::int64_t points, int pad, int brush,
            int threads, const std::string& simd, std::uintptr_t stream) {
    const Request r = make_request(systems, out, num_maps, points, pad, brush);
    require_threads(threads);
    ReleasedGil released;
    if (r.out.cuda) {
#if defined(ONEPFRAC_CUDA)
        render_cuda(block_job(r.job, r.job.size), r.job.batch, r.out.device, stream);
#else
        static_cast<void>(stream);  // require_kernels refused
#endif
    } else {
        render_cpu(r.job, threads, simd, released.interrupt());
    }
}

void render_on_host_block(const py::object& systems, const py::object& out, int num_maps, std::int64_t points, int pad,
                          int brush, int threads, int band_rows, bool reverse) {
    const Request r = make_request(systems, out, num_maps, points, pad, brush);
    require(!r.out.cuda, "out must be on the CPU");
    require_threads(threads);
    require_band(band_rows);
    const ReleasedGil released;
    render_host_block(block_job(r.job, band_rows), r.job.batch, threads, reverse);
}

// canvases (C, size, words a row) int32, which (B,) int64 on the same device, each below C -> out (B, 1, size, size)
struct ExpandRequest {
    ArrayView canvases, out;
    ControlWords<std::int64_t> which;
    ExpandJob job;
};

ExpandRequest make_expand(const py::object& canvases, const py::object& which, const py::object& out) {
    const ArrayView given = view_of(which, "which");
    ExpandRequest r{view_of(canvases, "canvases"), view_of(out, "out"), {}, {}};
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
    require_kernels(r.out);
    require_beside(r.canvases, r.out, "canvases");
    r.which = numbers_of(given, r.out, r.canvases.shape[0]);
    require(r.out.shape[0] <= std::numeric_limits<std::int32_t>::max(), "the batch is too large");
    r.job = {.canvases = static_cast<const std::uint32_t*>(r.canvases.data),
             .which = r.which.data(),
             .batch = r.out.shape[0],
             .size = static_cast<int>(size),
             .type = type,
             .out = r.out.data};
    return r;
}

void expand(const py::object& canvases, const py::object& which, const py::object& out, int threads,
            const std::string& simd, std::uintptr_t stream) {
    const ExpandRequest r = make_expand(canvases, which, out);
    require_threads(threads);
    ReleasedGil released;
    if (r.out.cuda) {
#if defined(ONEPFRAC_CUDA)
        expand_cuda(r.job, r.out.device, stream);
#else
        static_cast<void>(stream);  // require_kernels refused
#endif
    } else {
        expand_cpu(r.job, threads, simd, released.interrupt());
    }
}

void expand_on_host_block(const py::object& canvases, const py::object& which, const py::object& out, int threads,
                          bool reverse) {
    const ExpandRequest r = make_expand(canvases, which, out);
    require(!r.out.cuda, "out must be on the CPU");
    require_threads(threads);
    expand_host_block(r.job, threads, reverse);
}

// (bands, bytes of shared memory a block) of a canvas on a device that gives a block `limit` bytes.
py::tuple cuda_layout(int size, std::int64_t limit) {
    require(size >= 8 && size <= 4096, "size must be 8 to 4096");
    require(limit >= 16384 && limit <= std::numeric_limits<std::int32_t>::max(), "limit must be 16384 to 2^31 - 1");
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
