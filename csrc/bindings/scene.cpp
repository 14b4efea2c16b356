// Graded pictures and scenes in, canvases in colour out.

#include <pybind11/pybind11.h>

#include <limits>
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

struct SceneRequest {
    ArrayView pictures, out;
    ControlWords<Scene> scenes;
    ControlWords<SceneObject> objects;
    SceneJob job;
};

bool between(std::int32_t low, std::int32_t value, std::int32_t high) {
    return low <= value && value <= high;
}

// What the body relies on, so that it neither reads nor writes beside its arrays and no sum overflows. Of arrays on a
// GPU the package has checked it before they went there.
void check_scenes(const SceneJob& job, std::int64_t pictures) {
    for (std::int64_t i = 0; i < job.batch; ++i) {
        const Scene& scene = job.scenes[i];
        const auto legal = [i](bool condition, const char* what, int object = -1) {
            if (condition) return;
            const std::string of_object = object < 0 ? "" : ", object " + std::to_string(object);
            throw py::value_error("scenes[" + std::to_string(i) + "]" + of_object + ": " + what + " is out of range");
        };
        legal(between(0, scene.objects, job.most_objects), "the number of objects");
        for (const std::int32_t amplitude : scene.amplitude) legal(between(0, amplitude, kMaxAmplitude), "amplitude");
        for (const Tint& tint : {scene.hue, scene.saturation, scene.value}) {
            legal(between(0, tint.scale, kMaxScale) && between(0, tint.shift, kMaxScale), "tint");
        }
        legal(between(0, scene.blur, kMaxBlur), "blur");
        for (int j = 0; j < scene.objects; ++j) {
            const SceneObject& object = job.objects[i * job.most_objects + j];
            legal(object.picture >= 0 && object.picture < pictures, "picture", j);
            legal(between(0, object.flips, 7), "flips", j);
            legal(between(0, object.hue, 255) && between(0, object.saturation, 255) && between(0, object.value, 255),
                  "colour", j);
            legal(between(1, object.side, kMaxSide), "side", j);
            legal(between(-kMaxSide, object.left, kMaxSide) && between(-kMaxSide, object.top, kMaxSide), "place", j);
        }
        if (i % kItemsBetweenSignals == kItemsBetweenSignals - 1) answer_signals();
    }
}

// An array of 32-bit words (B, ..., words) must be contiguous.
void require_words(const ArrayView& view, std::int64_t batch, std::size_t dimensions, int words, const char* name) {
    require((view.kind == ArrayView::Kind::kSigned || view.kind == ArrayView::Kind::kUnsigned) && view.bits == 32 &&
                view.shape.size() == dimensions && view.shape[0] == batch && view.shape.back() == words &&
                view.contiguous(),
            std::string(name) + " must be contiguous 32-bit words of shape (B, " + (dimensions == 3 ? "M, " : "") +
                std::to_string(words) + ")");
}

// pictures uint8 (K, 1, side, side), scenes (B, kSceneWords), objects (B, M, kObjectWords), out uint8 (B, 3, size,
// size)
SceneRequest make_request(const py::object& pictures, const py::object& scenes, const py::object& objects,
                          const py::object& out) {
    const ArrayView of_scenes = view_of(scenes, "scenes"), of_objects = view_of(objects, "objects");
    SceneRequest r{view_of(pictures, "pictures"), view_of(out, "out"), {}, {}, {}};
    require(r.out.kind == ArrayView::Kind::kUnsigned && r.out.bits == 8 && r.out.shape.size() == 4 &&
                r.out.shape[1] == 3 && r.out.shape[2] == r.out.shape[3] && r.out.contiguous(),
            "out must be contiguous uint8 of shape (B, 3, size, size)");
    require(!r.out.read_only, "out must be writable");
    const std::int64_t batch = r.out.shape[0], size = r.out.shape[2];
    require(size >= kMinSceneSize && size <= kMaxSceneSize, "size must be 8 to 1024");
    require(batch <= std::numeric_limits<std::int32_t>::max(), "the batch is too large");
    require(r.pictures.kind == ArrayView::Kind::kUnsigned && r.pictures.bits == 8 && r.pictures.shape.size() == 4 &&
                r.pictures.shape[1] == 1 && r.pictures.shape[2] == r.pictures.shape[3] && r.pictures.contiguous() &&
                r.pictures.shape[2] >= 1 && r.pictures.shape[2] <= kMaxSide,
            "pictures must be contiguous uint8 of shape (K, 1, side, side), side 1 to 4096");
    require(r.pictures.shape[0] <= std::numeric_limits<std::int32_t>::max(), "there are too many pictures");
    require_words(of_scenes, batch, 2, kSceneWords, "scenes");
    require_words(of_objects, batch, 3, kObjectWords, "objects");
    require(of_objects.shape[1] <= kMaxObjects, "objects must be at most 64 a scene");
    require_kernels(r.out);
    require_beside(r.pictures, r.out, "pictures");
    require_beside(of_scenes, r.out, "scenes");
    require_beside(of_objects, r.out, "objects");
    r.scenes = ControlWords<Scene>(of_scenes);
    r.objects = ControlWords<SceneObject>(of_objects);
    r.job = {.pictures = static_cast<const std::uint8_t*>(r.pictures.data),
             .side = static_cast<int>(r.pictures.shape[2]),
             .scenes = r.scenes.data(),
             .objects = r.objects.data(),
             .most_objects = static_cast<int>(of_objects.shape[1]),
             .batch = batch,
             .size = static_cast<int>(size),
             .out = static_cast<std::uint8_t*>(r.out.data),
             .workspace = nullptr};
    if (!r.out.cuda) check_scenes(r.job, r.pictures.shape[0]);
    return r;
}

void paint_scenes(const py::object& pictures, const py::object& scenes, const py::object& objects,
                  const py::object& out, const py::object& workspace, int threads, const std::string& simd,
                  std::uintptr_t stream) {
    // NOLINTNEXTLINE(misc-const-correctness): kernels get their workspace below
    SceneRequest r = make_request(pictures, scenes, objects, out);
    require_threads(threads);
    if (!r.out.cuda) {
        ReleasedGil released;
        paint_scenes_cpu(r.job, threads, simd, released.interrupt());
        return;
    }
#if defined(ONEPFRAC_CUDA)
    const ArrayView memory = view_of(workspace, "workspace");
    require(memory.kind == ArrayView::Kind::kUnsigned && memory.bits == 8 && memory.contiguous() &&
                memory.count() >= r.job.batch * scene_layout(r.job.size).bytes &&
                reinterpret_cast<std::uintptr_t>(memory.data) % 16 == 0,
            "workspace must be uint8, 16 bytes aligned, of scene_workspace_bytes(size) a scene");
    require_beside(memory, r.out, "workspace");
    r.job.workspace = static_cast<unsigned char*>(memory.data);
    const ReleasedGil released;
    paint_scenes_cuda(r.job, r.out.device, stream);
#else
    static_cast<void>(workspace), static_cast<void>(stream);  // require_kernels refused
#endif
}

void paint_scenes_on_host_block(const py::object& pictures, const py::object& scenes, const py::object& objects,
                                const py::object& out, int threads, bool reverse) {
    const SceneRequest r = make_request(pictures, scenes, objects, out);
    require(!r.out.cuda, "out must be on the CPU");
    require_threads(threads);
    const ReleasedGil released;
    paint_scenes_host_block(r.job, threads, reverse);
}

std::int64_t workspace_bytes(int size) {
    require(size >= kMinSceneSize && size <= kMaxSceneSize, "size must be 8 to 1024");
    return scene_layout(size).bytes;
}

}  // namespace

void bind_scene(py::module_& module) {
    module.attr("SCENE_WORDS") = kSceneWords;
    module.attr("SCENE_OBJECT_WORDS") = kObjectWords;
    module.attr("SCENE_LEVELS") = kMaxLevels;
    module.attr("MAX_OBJECTS") = kMaxObjects;
    module.def("scene_workspace_bytes", &workspace_bytes, py::arg("size"));
    module.def("paint_scenes", &paint_scenes, py::arg("pictures"), py::arg("scenes"), py::arg("objects"),
               py::arg("out"), py::arg("workspace"), py::arg("threads"), py::arg("simd"), py::arg("stream"));
    module.def("paint_scenes_host_block", &paint_scenes_on_host_block, py::arg("pictures"), py::arg("scenes"),
               py::arg("objects"), py::arg("out"), py::arg("threads"), py::arg("reverse"));
}

}  // namespace onepfrac
