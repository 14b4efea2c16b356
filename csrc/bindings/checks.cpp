#include "checks.h"

#include <limits>

#include "released_gil.h"

namespace py = pybind11;

namespace onepfrac {

void require(bool condition, const std::string& message) {
    if (!condition) throw py::value_error(message);
}

namespace detail {

py::object converted(const py::object& given, const char* name, py::object dtype, int flags) {
    PyObject* made = py::detail::npy_api::get().PyArray_FromAny_(
        given.ptr(), dtype.release().ptr(), 0, 0, py::detail::npy_api::NPY_ARRAY_ENSUREARRAY_ | flags, nullptr);
    if (made != nullptr) return py::reinterpret_steal<py::object>(made);
    py::error_already_set error;
    if (error.matches(PyExc_MemoryError) || !error.matches(PyExc_Exception)) throw py::error_already_set(error);
    py::raise_from(error, PyExc_TypeError,
                   (std::string(name) + " must be an array whose numbers keep their values").c_str());
    throw py::error_already_set();
}

}  // namespace detail

py::array array_of(const py::object& given, const char* name) {
    return py::reinterpret_borrow<py::array>(detail::converted(given, name, py::object(), 0));
}

void require_beside(const ArrayView& array, const ArrayView& out, const std::string& name) {
    require(array.cuda == out.cuda && (!out.cuda || array.device == out.device),
            name + " and out must be on the same device");
    const auto first = reinterpret_cast<std::uintptr_t>(array.data),
               of_out = reinterpret_cast<std::uintptr_t>(out.data);
    const auto bytes = static_cast<std::uintptr_t>(array.bytes()),
               bytes_of_out = static_cast<std::uintptr_t>(out.bytes());
    require(bytes == 0 || bytes_of_out == 0 || first >= of_out + bytes_of_out || of_out >= first + bytes,
            "out must not share memory with " + name);
}

ControlWords<std::int64_t> numbers_of(const ArrayView& which, const ArrayView& out, std::int64_t count) {
    require(which.kind == ArrayView::Kind::kSigned && which.bits == 64 && which.shape.size() == 1 &&
                which.shape[0] == out.shape[0] && which.contiguous(),
            "which must be contiguous int64 of shape (B,)");
    require_beside(which, out, "which");
    ControlWords<std::int64_t> numbers(which);
    for (std::int64_t i = 0; !which.cuda && i < which.shape[0]; ++i) {
        if (numbers.data()[i] < 0 || numbers.data()[i] >= count) {
            throw py::value_error("which must be 0 or more and below the number of canvases, got which[" +
                                  std::to_string(i) + "] = " + std::to_string(numbers.data()[i]) + " of " +
                                  std::to_string(count));
        }
        if (i % (1 << 20) == (1 << 20) - 1) answer_signals();
    }
    return numbers;
}

void require_band(int band_rows) {
    require(band_rows >= 1 && band_rows <= 4096, "band_rows must be 1 to 4096");
}

void require_threads(int threads) {
    require(threads >= 1 && threads <= 1024, "threads must be 1 to 1024");
}

void require_kernels(const ArrayView& out) {
#if defined(ONEPFRAC_CUDA)
    static_cast<void>(out);
#else
    require(!out.cuda, "out must be on the CPU: this build has no CUDA kernels (ONEPFRAC_CUDA=0)");
#endif
}

ControlWords<System> systems_of(const ArrayView& view) {
    require(view.kind == ArrayView::Kind::kUnsigned || view.kind == ArrayView::Kind::kSigned,
            "systems must be integers");
    require(view.bits == 32 && view.shape.size() == 2 && view.shape[1] == kSystemWords && view.contiguous(),
            "systems must be what pack_systems returns");
    return ControlWords<System>(view);
}

PixelType pixel_type_of(const ArrayView& out) {
    if (out.kind == ArrayView::Kind::kUnsigned && out.bits == 8) return PixelType::kUint8;
    if (out.kind == ArrayView::Kind::kFloat && out.bits == 16) return PixelType::kFloat16;
    if (out.kind == ArrayView::Kind::kBfloat && out.bits == 16) return PixelType::kBfloat16;
    if (out.kind == ArrayView::Kind::kFloat && out.bits == 32) return PixelType::kFloat32;
    if ((out.kind == ArrayView::Kind::kUnsigned || out.kind == ArrayView::Kind::kSigned) && out.bits == 32) {
        return PixelType::kBits;
    }
    throw py::value_error("out must be uint8, float16, bfloat16, float32 or 32-bit words, got " + out.dtype_name());
}

RenderJob make_render_job(const ControlWords<System>& systems, std::int64_t batch, int num_maps, std::int64_t points,
                          std::int64_t size, int pad, int brush, PixelType type) {
    require(size >= 8 && size <= 4096, "size must be 8 to 4096");
    require(pad >= 0 && pad <= (size - 1) / 2, "pad must be 0 or more and less than size / 2");
    require(points >= 1 && points <= 1'000'000'000, "points must be 1 to 1 000 000 000");
    require(num_maps >= 1 && num_maps <= kMaxMaps, "num_maps must be 1 to 16");
    require(brush >= 0 && brush <= 3, "brush must be 0 to 3");
    require(batch <= std::numeric_limits<std::int32_t>::max(), "the batch is too large");
    return {.systems = systems.data(),
            .batch = batch,
            .num_maps = num_maps,
            .points = static_cast<std::uint32_t>(points),
            .size = static_cast<int>(size),
            .pad = pad,
            .brush = static_cast<Brush>(brush),
            .type = type,
            .out = nullptr};
}

BlockJob block_job(const RenderJob& job, int band_rows) {
    return {.systems = job.systems,
            .num_maps = job.num_maps,
            .points = job.points,
            .size = job.size,
            .pad = job.pad,
            .brush = job.brush,
            .type = job.type,
            .out = job.out,
            .band_rows = band_rows};
}

}  // namespace onepfrac
