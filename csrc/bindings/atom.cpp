// Visual Atoms: packing their parameters, drawing them, and the polylines that tests compare with other painters.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <sstream>
#include <vector>

#include "../cpu/executor.h"
#include "../cpu/float_environment.h"
#include "../cuda/executor.h"
#include "../host_block.h"
#include "array_view.h"
#include "checks.h"
#include "module.h"
#include "released_gil.h"

namespace py = pybind11;

namespace onepfrac {

namespace {

template <class T>
using Array = PlainArray<T>;

constexpr float kMaxCoefficient = 100.0F, kMaxLineWidth = 100.0F, kMaxRadius = 4096.0F, kMaxOval = 64.0F,
                kMaxCentre = 16384.0F;

void check_atom(const Atom& atom, std::int64_t number) {
    const auto within = [&](const char* name, auto value, auto low, auto high) {
        if (value >= low && value <= high) return;  // false for NaN
        std::ostringstream message;
        message << "atom " << number << ": " << name << " must be " << low << " to " << high << ", got " << value;
        throw py::value_error(message.str());
    };
    within("vertices", atom.vertices, 3, kMaxAtomVertices);
    within("lines", atom.lines, 1, kMaxAtomLines);
    for (const int wave : atom.wave) within("waves", wave, 0, kMaxAtomWaves);
    within("coefficient", atom.coefficient, 0.0F, kMaxCoefficient);
    within("line_width", atom.line_width, 0.0F, kMaxLineWidth);
    within("radius", atom.radius, 0.0F, kMaxRadius);
    for (const float oval : atom.oval) within("oval", oval, 0.0F, kMaxOval);
    for (const float centre : atom.centre) within("centre", centre, -kMaxCentre, kMaxCentre);
}

// keys (B,), counts (B, 4): vertices, lines, n1, n2; sizes (B, 7): coefficient, line width, radius, oval x, oval y,
// centre x, centre y -> (B, kAtomWords)
Array<std::uint32_t> pack_atoms(const py::object& all_keys, const py::object& all_counts, const py::object& all_sizes) {
    const py::array of_keys = array_of(all_keys, "keys"), of_counts = array_of(all_counts, "counts"),
                    of_sizes = array_of(all_sizes, "sizes");
    require(of_keys.ndim() == 1, "keys must have shape (B,)");
    const py::ssize_t batch = of_keys.shape(0);
    require(of_counts.ndim() == 2 && of_counts.shape(0) == batch && of_counts.shape(1) == 4,
            "counts must have shape (B, 4)");
    require(of_sizes.ndim() == 2 && of_sizes.shape(0) == batch && of_sizes.shape(1) == 7,
            "sizes must have shape (B, 7)");
    const auto keys = plain<std::uint64_t>(of_keys, "keys");
    const auto counts = plain<std::int32_t>(of_counts, "counts");
    const auto sizes = plain<float>(of_sizes, "sizes");
    Array<std::uint32_t> packed({batch, py::ssize_t{kAtomWords}});
    auto* atoms = reinterpret_cast<Atom*>(packed.mutable_data());
    for (py::ssize_t i = 0; i < batch; ++i) {
        const std::uint64_t key = keys.data()[i];
        const std::int32_t* count = counts.data() + 4 * i;
        const float* size = sizes.data() + 7 * i;
        atoms[i] = {.key = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)},
                    .vertices = count[0],
                    .lines = count[1],
                    .wave = {count[2], count[3]},
                    .coefficient = size[0],
                    .line_width = size[1],
                    .radius = size[2],
                    .oval = {size[3], size[4]},
                    .centre = {size[5], size[6]}};
        check_atom(atoms[i], i);
        if (i % kItemsBetweenSignals == kItemsBetweenSignals - 1) answer_signals();
    }
    return packed;
}

struct AtomRequest {
    ArrayView out;
    ControlWords<Atom> atoms;
    AtomJob job;
};

// atoms (B, kAtomWords) 32-bit integers, out (B, 1, size, size) uint8
AtomRequest make_request(const py::object& atoms, const py::object& out, int max_vertices) {
    const ArrayView given = view_of(atoms, "atoms");
    AtomRequest r{view_of(out, "out"), {}, {}};
    require((given.kind == ArrayView::Kind::kUnsigned || given.kind == ArrayView::Kind::kSigned) && given.bits == 32 &&
                given.shape.size() == 2 && given.shape[1] == kAtomWords && given.contiguous(),
            "atoms must be what pack_atoms returns");
    require(r.out.shape.size() == 4 && r.out.shape[1] == 1 && r.out.shape[2] == r.out.shape[3],
            "out must have shape (B, 1, size, size)");
    require(r.out.kind == ArrayView::Kind::kUnsigned && r.out.bits == 8, "out must be uint8");
    require(r.out.contiguous(), "out must be contiguous");
    require(!r.out.read_only, "out must be writable");
    const std::int64_t batch = given.shape[0], size = r.out.shape[2];
    require(r.out.shape[0] == batch, "out must have as many images as there are atoms");
    require(batch <= std::numeric_limits<std::int32_t>::max(), "the batch is too large");
    require(size >= 8 && size <= 4096, "size must be 8 to 4096");
    require(max_vertices >= 3 && max_vertices <= kMaxAtomVertices, "max_vertices must be 3 to 2048");
    require_kernels(r.out);
    require_beside(given, r.out, "atoms");
    r.atoms = ControlWords<Atom>(given);
    r.job = {.atoms = r.atoms.data(),
             .batch = batch,
             .max_vertices = max_vertices,
             .size = static_cast<int>(size),
             .out = static_cast<std::uint8_t*>(r.out.data)};
    for (std::int64_t i = 0; !r.out.cuda && i < batch; ++i) {
        check_atom(r.job.atoms[i], i);
        if (r.job.atoms[i].vertices > max_vertices) {
            throw py::value_error("no atom may have more than max_vertices vertices, got atom " + std::to_string(i));
        }
        if (i % kItemsBetweenSignals == kItemsBetweenSignals - 1) answer_signals();
    }
    return r;
}

void draw_atoms(const py::object& atoms, const py::object& out, int max_vertices, int threads, const std::string& simd,
                std::uintptr_t stream) {
    const AtomRequest r = make_request(atoms, out, max_vertices);
    require_threads(threads);
    ReleasedGil released;
    if (r.out.cuda) {
#if defined(ONEPFRAC_CUDA)
        draw_atoms_cuda(r.job, r.out.device, stream);
#else
        static_cast<void>(stream);  // require_kernels refused
#endif
    } else {
        draw_atoms_cpu(r.job, threads, simd, released.interrupt());
    }
}

void draw_atoms_on_host_block(const py::object& atoms, const py::object& out, int max_vertices, int threads,
                              bool reverse) {
    const AtomRequest r = make_request(atoms, out, max_vertices);
    require(!r.out.cuda, "out must be on the CPU");
    require_threads(threads);
    const ReleasedGil released;
    draw_atoms_host_block(r.job, threads, reverse);
}

// atoms as above, the number of one of them -> its polylines (lines, vertices, 2) in pixels, and their grays (lines,)
std::pair<Array<float>, Array<std::uint8_t>> atom_polylines(const py::object& given, std::int64_t number) {
    const py::array atoms = array_of(given, "atoms");
    require(atoms.ndim() == 2 && atoms.shape(1) == kAtomWords, "atoms must be what pack_atoms returns");
    require(number >= 0 && number < atoms.shape(0), "number must be 0 or more and below the number of atoms");
    const auto words = plain<std::uint32_t>(array_of(atoms[py::int_(number)], "atoms"), "atoms");
    require(words.size() == kAtomWords, "atoms must keep their shape");
    Atom atom{};  // a copy, which no other thread changes
    std::memcpy(&atom, words.data(), sizeof atom);
    check_atom(atom, number);
    const IeeeArithmetic ieee;
    const int vertices = atom.vertices;
    Array<float> places({py::ssize_t{atom.lines}, py::ssize_t{vertices}, py::ssize_t{2}});
    Array<std::uint8_t> grays(py::ssize_t{atom.lines});
    std::vector<AtomVertex> fixed;
    std::vector<float> place;
    for (int v = 0; v < vertices; ++v) {
        fixed.push_back(atom_vertex(atom, v));
        place.push_back(atom_start(atom, 0, fixed.back().cos));
        place.push_back(atom_start(atom, 1, fixed.back().sin));
    }
    const RoundKeys<ScalarLanes> keys(atom.key);
    float* out = places.mutable_data();
    for (int line = 0; line < atom.lines; ++line) {
        answer_signals();
        grays.mutable_data()[line] = atom_gray(keys, line);
        for (int v = 0; v < vertices; ++v) {
            const auto block =
                philox4x32<ScalarLanes>(static_cast<std::uint32_t>(line / 2), static_cast<std::uint32_t>(v),
                                        static_cast<std::uint32_t>(kAtomPurpose), 0U, keys);
            for (int axis = 0; axis < 2; ++axis) {
                const auto i = 2 * static_cast<std::size_t>(v) + static_cast<std::size_t>(axis);
                const auto& at = fixed[static_cast<std::size_t>(v)];
                place[i] = atom_moved(place[i], axis == 0 ? at.cos : at.sin, at.base, 0.4F * atom.coefficient,
                                      block.word[2 * (line % 2) + axis]);
            }
        }
        out = std::copy(place.begin(), place.end(), out);
    }
    return {places, grays};
}

}  // namespace

void bind_atom(py::module_& module) {
    module.attr("ATOM_WORDS") = kAtomWords;
    module.attr("MAX_ATOM_VERTICES") = kMaxAtomVertices;
    module.attr("MAX_ATOM_LINES") = kMaxAtomLines;
    module.attr("MAX_ATOM_WAVES") = kMaxAtomWaves;
    module.def("pack_atoms", &pack_atoms, py::arg("keys"), py::arg("counts"), py::arg("sizes"));
    module.def("draw_atoms", &draw_atoms, py::arg("atoms"), py::arg("out"), py::arg("max_vertices"), py::arg("threads"),
               py::arg("simd"), py::arg("stream"));
    module.def("draw_atoms_host_block", &draw_atoms_on_host_block, py::arg("atoms"), py::arg("out"),
               py::arg("max_vertices"), py::arg("threads"), py::arg("reverse"));
    module.def("atom_polylines", &atom_polylines, py::arg("atoms"), py::arg("number"));
}

}  // namespace onepfrac
