// The camera: shots, and pictures of canvases that lie in memory or are drawn on the way.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <limits>
#include <vector>

#include "../cpu/executor.h"
#include "../cuda/executor.h"
#include "../host_block.h"
#include "../shot_packing.h"
#include "array_view.h"
#include "checks.h"
#include "module.h"
#include "released_gil.h"

namespace py = pybind11;

namespace onepfrac {

namespace {

template <class T>
using Array = PlainArray<T>;

// A row of an array in memory of its own: another thread may change the array between its check and its use.
template <class T>
std::span<const T> row_of(const Array<T>& array, py::ssize_t row, py::ssize_t length, std::vector<T>& copy) {
    copy.assign(array.data() + row * length, array.data() + (row + 1) * length);
    return copy;
}

// Of steps and windows a shot: more than it may have, most of which do nothing, but few enough to be copied.
constexpr py::ssize_t kMostColumns = 1 << 16;

// views (B, 2, 3), steps and amounts (B, K), windows (B, G, 2, 3), erased (B, 4), keys (B,) -> (B, kShotWords)
Array<std::uint32_t> pack_shots(const py::object& all_views, const py::object& all_steps, const py::object& all_amounts,
                                const py::object& all_windows, const py::object& all_erased, const py::object& all_keys,
                                int size) {
    require(size >= 8 && size <= 4096, "size must be 8 to 4096");
    const py::array of_views = array_of(all_views, "views"), of_steps = array_of(all_steps, "steps"),
                    of_amounts = array_of(all_amounts, "amounts"), of_windows = array_of(all_windows, "windows"),
                    of_erased = array_of(all_erased, "erased"), of_keys = array_of(all_keys, "keys");
    require(of_views.ndim() == 3 && of_views.shape(1) == 2 && of_views.shape(2) == 3,
            "views must have shape (B, 2, 3)");
    // Read once: a signal's handler may give an array another shape.
    const py::ssize_t batch = of_views.shape(0), num_steps = of_steps.ndim() == 2 ? of_steps.shape(1) : 0,
                      num_windows = of_windows.ndim() == 4 ? of_windows.shape(1) : 0;
    require(of_steps.ndim() == 2 && of_steps.shape(0) == batch && num_steps <= kMostColumns,
            "steps must have shape (B, K)");
    require(of_amounts.ndim() == 2 && of_amounts.shape(0) == batch && of_amounts.shape(1) == num_steps,
            "amounts must have the shape of steps");
    require(of_windows.ndim() == 4 && of_windows.shape(0) == batch && num_windows <= kMostColumns &&
                of_windows.shape(2) == 2 && of_windows.shape(3) == 3,
            "windows must have shape (B, G, 2, 3)");
    require(of_erased.ndim() == 2 && of_erased.shape(0) == batch && of_erased.shape(1) == 4,
            "erased must have shape (B, 4)");
    require(of_keys.ndim() == 1 && of_keys.shape(0) == batch, "keys must have shape (B,)");
    const auto views = plain<double>(of_views, "views"), amounts = plain<double>(of_amounts, "amounts"),
               windows = plain<double>(of_windows, "windows");
    const auto steps = plain<std::int8_t>(of_steps, "steps");
    const auto erased = plain<std::int32_t>(of_erased, "erased");
    const auto keys = plain<std::uint64_t>(of_keys, "keys");
    Array<std::uint32_t> packed({batch, py::ssize_t{kShotWords}});
    auto* shots = reinterpret_cast<Shot*>(packed.mutable_data());
    std::vector<double> view, amount, window;
    std::vector<std::int8_t> step;
    std::vector<std::int32_t> rectangle;
    for (py::ssize_t i = 0; i < batch; ++i) {
        if (i % kItemsBetweenSignals == kItemsBetweenSignals - 1) answer_signals();
        const ShotParts parts{row_of(views, i, 6, view),
                              row_of(steps, i, num_steps, step),
                              row_of(amounts, i, num_steps, amount),
                              row_of(windows, i, 6 * num_windows, window),
                              row_of(erased, i, 4, rectangle),
                              keys.data()[i]};
        try {
            shots[i] = pack_shot(parts, size);
        } catch (const std::invalid_argument& error) {
            throw py::value_error("shot " + std::to_string(i) + ": " + error.what());
        }
    }
    return packed;
}

// What the executors rely on, so that they neither read nor write beside their arrays and no sum overflows: pack_shots
// makes no other words. `number` is the shot's, `size` the picture's.
void check_shot(const Shot& shot, std::int64_t number, int size) {
    const auto legal = [number](bool condition, const char* what) {
        if (condition) return;
        throw py::value_error("shots must be what pack_shots returns for this size: " + std::string(what) +
                              " of shots[" + std::to_string(number) + "] is out of range");
    };
    const auto between = [](auto low, auto value, auto high) { return low <= value && value <= high; };  // not NaN
    legal(between(0, shot.num_steps, kMaxSteps), "the number of steps");
    legal(between(0, shot.num_windows, kMaxWindows), "the number of windows");
    int windows = 0, sharpness = 0;
    for (int s = 0; s < shot.num_steps; ++s) {
        const Step step = shot.steps[s];
        legal(between(1, static_cast<std::int32_t>(step), kLastStep), "a step");
        windows += step == Step::kWindow ? 1 : 0;
        sharpness += step == Step::kSharpness ? 1 : 0;
        const float amount = shot.amounts[s];
        const bool gray = step == Step::kWindow || step == Step::kSolarizeAdd;
        const bool whole = gray || step == Step::kPosterize || step == Step::kSolarize;
        const float most = gray ? 255.0F : step == Step::kPosterize ? 8.0F : step == Step::kSolarize ? 256.0F : 1e6F;
        legal(between(whole ? 0.0F : -most, amount, most), "an amount");
    }
    legal(windows == shot.num_windows, "the number of windows");
    legal(sharpness <= kMaxSharpness, "the number of sharpness steps");
    for (int axis = 0; axis < 2; ++axis) {
        const std::int32_t first = shot.erased[axis], length = shot.erased[2 + axis];
        legal(between(0, first, size) && between(0, length, size - first), "the rectangle");
        legal(between(1.0F, shot.footprint[axis], 1024.0F), "the footprint");
    }
    constexpr std::int64_t kFar = std::int64_t{1} << 61;  // three of these in a sum, and 64 bits hold it
    const auto near = [&](const std::int64_t (&map)[6], const char* what) {
        for (int i = 0; i < 6; ++i)
            legal(i % 3 == 2 ? between(-kFar, map[i], kFar) : between(-kFar / size - 1, map[i], kFar / size + 1), what);
    };
    near(shot.view, "the view");
    for (int g = 0; g < shot.num_windows; ++g) near(shot.windows[g], "a window");
}

// Shots, the film and what belongs to it, checked against each other.
struct FilmRequest {
    ArrayView out, table, noise;
    ControlWords<Shot> shots;
    Film film;
    std::int64_t batch;
};

FilmRequest make_film(const py::object& shots, const py::object& out, const py::object& table, const py::object& noise,
                      bool bilinear, bool channels_last) {
    const ArrayView given = view_of(shots, "shots");
    FilmRequest r{view_of(out, "out"), view_of(table, "table"), view_of(noise, "noise"), {}, {}, 0};
    require((given.kind == ArrayView::Kind::kUnsigned || given.kind == ArrayView::Kind::kSigned) && given.bits == 32 &&
                given.shape.size() == 2 && given.shape[1] == kShotWords && given.contiguous(),
            "shots must be what pack_shots returns");
    const PixelType type = pixel_type_of(r.out);
    require(type != PixelType::kBits, "out must be uint8, float16, bfloat16 or float32");
    require(r.out.shape.size() == 4 && r.out.shape[0] == given.shape[0], "out must have four dimensions, B first");
    require(r.out.contiguous(), "out must be contiguous");
    require(!r.out.read_only, "out must be writable");
    const std::size_t channel_axis = channels_last ? 3 : 1, row_axis = channels_last ? 1 : 2;
    const std::int64_t channels = r.out.shape[channel_axis], size = r.out.shape[row_axis];
    require(channels >= 1 && channels <= 4, "out must have 1 to 4 channels");
    require(size >= 8 && size <= 4096 && r.out.shape[row_axis + 1] == size, "pictures must be square, 8 to 4096");
    require(r.out.shape[0] <= std::numeric_limits<std::int32_t>::max(), "the batch is too large");
    require_kernels(r.out);
    for (const auto& [view, name, length] :
         {std::tuple{&r.table, "table", std::int64_t{256}}, {&r.noise, "noise", std::int64_t{kNoiseLevels}}}) {
        require(view->kind == r.out.kind && view->bits == r.out.bits && view->shape.size() == 2 &&
                    view->shape[0] == r.table.shape[0] && view->shape[1] == length && view->contiguous(),
                std::string(name) + " must be contiguous, of out's dtype and the shape (rows, " +
                    std::to_string(length) + ")");
        require_beside(*view, r.out, name);
    }
    require(r.table.shape[0] == 1 || r.table.shape[0] == channels, "table must have one row, or one a channel");
    require_beside(given, r.out, "shots");
    r.shots = ControlWords<Shot>(given);
    r.batch = r.out.shape[0];
    for (std::int64_t i = 0; !r.out.cuda && i < r.batch; ++i) {
        check_shot(r.shots.data()[i], i, static_cast<int>(size));
        if (i % kItemsBetweenSignals == kItemsBetweenSignals - 1) answer_signals();
    }
    r.film = {.size = static_cast<int>(size),
              .channels = static_cast<int>(channels),
              .channels_last = channels_last,
              .bilinear = bilinear,
              .type = type,
              .table_rows = static_cast<int>(r.table.shape[0]),
              .table = r.table.data,
              .noise = r.noise.data,
              .out = r.out.data};
    return r;
}

struct CanvasRequest {
    ArrayView canvases;
    ControlWords<std::int64_t> which;
    Canvases job;
};

// canvases (C, height, width) uint8, or (C, height, words a row) int32 with `width` pixels a row; which (B,) int64 or
// None
CanvasRequest make_canvases(const py::object& canvases, const py::object& which, int width, const FilmRequest& film) {
    CanvasRequest r{view_of(canvases, "canvases"), {}, {}};
    const ArrayView& view = r.canvases;
    require(view.shape.size() == 3 && view.contiguous(), "canvases must be contiguous, of three dimensions");
    const PixelType type = pixel_type_of(view);
    require(type == PixelType::kUint8 || type == PixelType::kBits, "canvases must be uint8 or 32-bit words");
    const bool bits = type == PixelType::kBits;
    require(width >= 1 && width <= 32768 && view.shape[1] >= 1 && view.shape[1] <= 32768,
            "canvases must have 1 to 32768 rows and columns");
    require(view.shape[2] == (bits ? words_per_row(width) : width), "canvases must have `width` columns");
    require_beside(view, film.out, "canvases");
    r.job = {.bits = bits ? static_cast<const std::uint32_t*>(view.data) : nullptr,
             .grays = bits ? nullptr : static_cast<const std::uint8_t*>(view.data),
             .width = width,
             .height = static_cast<int>(view.shape[1]),
             .which = nullptr};
    if (which.is_none()) {
        require(view.shape[0] == film.batch, "canvases must be as many as shots");
        return r;
    }
    r.which = numbers_of(view_of(which, "which"), film.out, view.shape[0]);
    r.job.which = r.which.data();
    return r;
}

void take_pictures(const py::object& shots, const py::object& canvases, const py::object& which, int width,
                   const py::object& out, const py::object& table, const py::object& noise, bool bilinear,
                   bool channels_last, int threads, const std::string& simd, std::uintptr_t stream) {
    const FilmRequest film = make_film(shots, out, table, noise, bilinear, channels_last);
    const CanvasRequest from = make_canvases(canvases, which, width, film);
    require_threads(threads);
    const PictureJob job{.shots = film.shots.data(), .batch = film.batch, .canvases = from.job, .film = film.film};
    ReleasedGil released;
    if (film.out.cuda) {
#if defined(ONEPFRAC_CUDA)
        take_pictures_cuda(job, film.out.device, stream);
#else
        static_cast<void>(stream);  // require_kernels refused
#endif
    } else {
        take_pictures_cpu(job, threads, simd, released.interrupt());
    }
}

void take_pictures_on_host_block(const py::object& shots, const py::object& canvases, const py::object& which,
                                 int width, const py::object& out, const py::object& table, const py::object& noise,
                                 bool bilinear, bool channels_last, int threads, bool reverse) {
    const FilmRequest film = make_film(shots, out, table, noise, bilinear, channels_last);
    const CanvasRequest from = make_canvases(canvases, which, width, film);
    require(!film.out.cuda, "out must be on the CPU");
    require_threads(threads);
    const ReleasedGil released;
    take_pictures_host_block({.shots = film.shots.data(), .batch = film.batch, .canvases = from.job, .film = film.film},
                             threads, reverse);
}

// Systems whose canvases are drawn on the way and lie nowhere in memory afterwards.
struct DrawRequest {
    FilmRequest film;
    ControlWords<System> systems;
    RenderJob job;
};

DrawRequest make_draw(const py::object& systems, int num_maps, std::int64_t points, int canvas, int pad, int brush,
                      FilmRequest film) {
    const ArrayView given = view_of(systems, "systems");
    DrawRequest r{std::move(film), {}, {}};
    require(given.shape.size() == 2 && given.shape[0] == r.film.batch, "systems must be as many as shots");
    r.systems = systems_of(given);
    require_beside(given, r.film.out, "systems");
    r.job = make_render_job(r.systems, r.film.batch, num_maps, points, canvas, pad, brush, PixelType::kBits);
    return r;
}

void draw_pictures(const py::object& systems, int num_maps, std::int64_t points, int canvas, int pad, int brush,
                   const py::object& shots, const py::object& out, const py::object& table, const py::object& noise,
                   bool bilinear, bool channels_last, int threads, const std::string& simd, std::uintptr_t stream) {
    const DrawRequest r = make_draw(systems, num_maps, points, canvas, pad, brush,
                                    make_film(shots, out, table, noise, bilinear, channels_last));
    const FilmRequest& film = r.film;
    require_threads(threads);
    ReleasedGil released;
    if (film.out.cuda) {
#if defined(ONEPFRAC_CUDA)
        draw_pictures_cuda(block_job(r.job, canvas), film.shots.data(), film.film, film.batch, film.out.device, stream);
#else
        static_cast<void>(stream);  // require_kernels refused
#endif
    } else {
        draw_pictures_cpu(r.job, film.shots.data(), film.film, threads, simd, released.interrupt());
    }
}

void draw_pictures_on_host_block(const py::object& systems, int num_maps, std::int64_t points, int canvas, int pad,
                                 int brush, const py::object& shots, const py::object& out, const py::object& table,
                                 const py::object& noise, bool bilinear, bool channels_last, int threads,
                                 bool reverse) {
    const DrawRequest r = make_draw(systems, num_maps, points, canvas, pad, brush,
                                    make_film(shots, out, table, noise, bilinear, channels_last));
    require(!r.film.out.cuda, "out must be on the CPU");
    require_threads(threads);
    const ReleasedGil released;
    draw_pictures_host_block(block_job(r.job, canvas), r.film.shots.data(), r.film.film, r.film.batch, threads,
                             reverse);
}

// Shared memory of a block that takes a picture of `size` pixels: of a canvas in device memory (canvas 0), or drawn
// there.
std::int64_t picture_bytes(int canvas, int size) {
    require(size >= 8 && size <= 4096, "size must be 8 to 4096");
    require(canvas == 0 || (canvas >= 8 && canvas <= 4096), "canvas must be 0, or 8 to 4096");
    return canvas == 0 ? picture_memory_bytes(size) : drawn_picture_bytes(canvas, size);
}

// Whether a block of a CUDA device can hold a canvas and what a picture needs.
bool canvas_fits_block(int canvas, int size, int device) {
    require(canvas >= 8 && canvas <= 4096 && size >= 8 && size <= 4096, "canvas and size must be 8 to 4096");
    require(device >= 0, "device must be 0 or more");
#if defined(ONEPFRAC_CUDA)
    const int devices = cuda_device_count();
    require(device < devices, "device must be one of " + std::to_string(devices) + " CUDA devices");
    return fits_block(canvas, size, device);
#else
    static_cast<void>(canvas), static_cast<void>(size), static_cast<void>(device);
    return false;
#endif
}

}  // namespace

void bind_picture(py::module_& module) {
    module.attr("SHOT_WORDS") = kShotWords;
    module.attr("NOISE_LEVELS") = kNoiseLevels;
    module.def("pack_shots", &pack_shots, py::arg("views"), py::arg("steps"), py::arg("amounts"), py::arg("windows"),
               py::arg("erased"), py::arg("keys"), py::arg("size"));
    module.def("take_pictures", &take_pictures, py::arg("shots"), py::arg("canvases"), py::arg("which"),
               py::arg("width"), py::arg("out"), py::arg("table"), py::arg("noise"), py::arg("bilinear"),
               py::arg("channels_last"), py::arg("threads"), py::arg("simd"), py::arg("stream"));
    module.def("take_pictures_host_block", &take_pictures_on_host_block, py::arg("shots"), py::arg("canvases"),
               py::arg("which"), py::arg("width"), py::arg("out"), py::arg("table"), py::arg("noise"),
               py::arg("bilinear"), py::arg("channels_last"), py::arg("threads"), py::arg("reverse"));
    module.def("draw_pictures", &draw_pictures, py::arg("systems"), py::arg("num_maps"), py::arg("points"),
               py::arg("canvas"), py::arg("pad"), py::arg("brush"), py::arg("shots"), py::arg("out"), py::arg("table"),
               py::arg("noise"), py::arg("bilinear"), py::arg("channels_last"), py::arg("threads"), py::arg("simd"),
               py::arg("stream"));
    module.def("draw_pictures_host_block", &draw_pictures_on_host_block, py::arg("systems"), py::arg("num_maps"),
               py::arg("points"), py::arg("canvas"), py::arg("pad"), py::arg("brush"), py::arg("shots"), py::arg("out"),
               py::arg("table"), py::arg("noise"), py::arg("bilinear"), py::arg("channels_last"), py::arg("threads"),
               py::arg("reverse"));
    module.def("picture_bytes", &picture_bytes, py::arg("canvas"), py::arg("size"));
    module.def("fits_block", &canvas_fits_block, py::arg("canvas"), py::arg("size"), py::arg("device"));
}

}  // namespace onepfrac
