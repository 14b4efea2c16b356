// Systems in, hits or grades out.

#include <pybind11/pybind11.h>

#include <string>

#include "../cpu/executor.h"
#include "../cuda/executor.h"
#include "../host_block.h"
#include "checks.h"
#include "module.h"
#include "released_gil.h"

namespace py = pybind11;

namespace onepfrac {

namespace {

// systems (B, kSystemWords), out (B, 1, size, size) int32 for hits or uint8 for grades
struct DensityRequest {
    ArrayView out;
    ControlWords<System> systems;
    RenderJob job;
    bool graded;

    std::uint32_t* hits() const { return graded ? nullptr : static_cast<std::uint32_t*>(out.data); }
    std::uint8_t* grades() const { return graded ? static_cast<std::uint8_t*>(out.data) : nullptr; }
    DensityJob block(int band_rows) const {
        return {.points = block_job(job, band_rows),
                .graded = graded,
                .hits = graded ? nullptr : static_cast<std::int32_t*>(out.data),
                .grades = grades()};
    }
};

DensityRequest make_request(const py::object& systems, const py::object& out, int num_maps, std::int64_t points,
                            int pad, int brush) {
    const ArrayView given = view_of(systems, "systems");
    DensityRequest r{view_of(out, "out"), {}, {}, false};
    const bool hits = r.out.kind == ArrayView::Kind::kSigned && r.out.bits == 32;
    r.graded = r.out.kind == ArrayView::Kind::kUnsigned && r.out.bits == 8;
    require(hits || r.graded, "out must be int32 for hits or uint8 for grades, got " + r.out.dtype_name());
    require(r.out.shape.size() == 4 && r.out.shape[1] == 1 && r.out.shape[2] == r.out.shape[3] && r.out.contiguous(),
            "out must be contiguous, of shape (B, 1, size, size)");
    require(!r.out.read_only, "out must be writable");
    require_kernels(r.out);
    r.systems = systems_of(given);
    require_beside(given, r.out, "systems");
    r.job = make_render_job(r.systems, r.out.shape[0], num_maps, points, r.out.shape[2], pad, brush, PixelType::kBits);
    require(r.job.batch == given.shape[0], "out must hold one picture a system");
    require(r.job.brush != Brush::kPatch, "brush must not be patch, whose texture belongs to bits");
    return r;
}

void density(const py::object& systems, const py::object& out, int num_maps, std::int64_t points, int pad, int brush,
             int threads, const std::string& simd, std::uintptr_t stream) {
    const DensityRequest r = make_request(systems, out, num_maps, points, pad, brush);
    require_threads(threads);
    ReleasedGil released;
    if (r.out.cuda) {
#if defined(ONEPFRAC_CUDA)
        density_cuda(r.block(r.job.size), r.job.batch, r.out.device, stream);
#else
        static_cast<void>(stream);  // require_kernels refused
#endif
    } else {
        density_cpu(r.job, r.hits(), r.grades(), threads, simd, released.interrupt());
    }
}

void density_on_host_block(const py::object& systems, const py::object& out, int num_maps, std::int64_t points, int pad,
                           int brush, int threads, int band_rows, bool reverse) {
    const DensityRequest r = make_request(systems, out, num_maps, points, pad, brush);
    require(!r.out.cuda, "out must be on the CPU");
    require_threads(threads);
    require_band(band_rows);
    const ReleasedGil released;
    density_host_block(r.block(band_rows), r.job.batch, threads, reverse);
}

}  // namespace

void bind_density(py::module_& module) {
    module.def("density", &density, py::arg("systems"), py::arg("out"), py::arg("num_maps"), py::arg("points"),
               py::arg("pad"), py::arg("brush"), py::arg("threads"), py::arg("simd"), py::arg("stream"));
    module.def("density_host_block", &density_on_host_block, py::arg("systems"), py::arg("out"), py::arg("num_maps"),
               py::arg("points"), py::arg("pad"), py::arg("brush"), py::arg("threads"), py::arg("band_rows"),
               py::arg("reverse"));
}

}  // namespace onepfrac
