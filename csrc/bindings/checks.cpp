#include "checks.h"

#include <limits>

namespace py = pybind11;

namespace onepfrac {

void require(bool condition, const std::string& message) {
    if (!condition) throw py::value_error(message);
}

void require_same_device(const ArrayView& array, const ArrayView& out, const std::string& name) {
    require(array.cuda == out.cuda && (!out.cuda || array.device == out.device),
            name + " and out must be on the same device");
}

const System* systems_of(const ArrayView& view) {
    require(view.kind == ArrayView::Kind::kUnsigned || view.kind == ArrayView::Kind::kSigned,
            "systems must be integers");
    require(view.bits == 32 && view.shape.size() == 2 && view.shape[1] == kSystemWords && view.contiguous(),
            "systems must be what pack_systems returns");
    return static_cast<const System*>(view.data);
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

RenderJob make_render_job(const ArrayView& systems, std::int64_t batch, int num_maps, std::int64_t points, int size,
                          int pad, int brush, PixelType type) {
    const System* packed = systems_of(systems);
    require(size >= 8 && size <= 4096, "size must be 8 to 4096");
    require(pad >= 0 && 2 * pad < size, "pad must be 0 or more and less than size / 2");
    require(points >= 1 && points <= 1'000'000'000, "points must be 1 to 1 000 000 000");
    require(num_maps >= 1 && num_maps <= kMaxMaps, "num_maps must be 1 to 16");
    require(brush >= 0 && brush <= 3, "brush must be 0 to 3");
    require(batch <= std::numeric_limits<std::int32_t>::max(), "the batch is too large");
    return {.systems = packed,
            .batch = batch,
            .num_maps = num_maps,
            .points = static_cast<std::uint32_t>(points),
            .size = size,
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
