// The extension module onepfrac._C. One file a topic; this one lists them.

#include <pybind11/pybind11.h>

#include "../chaos_game.h"
#include "array_view.h"

namespace onepfrac {
void bind_noise(pybind11::module_& module);
void bind_atom(pybind11::module_& module);
void bind_density(pybind11::module_& module);
void bind_picture(pybind11::module_& module);
void bind_random(pybind11::module_& module);
void bind_render(pybind11::module_& module);
void bind_replay(pybind11::module_& module);
void bind_scene(pybind11::module_& module);
}  // namespace onepfrac

PYBIND11_MODULE(_C, module) {
    module.doc() =
        "The core of onepfrac. Arguments are checked here again, but the messages for people are the package's. Words "
        "on\n"
        "a GPU (systems, shots, atoms, scenes, numbers of canvases) are not looked at: they must be what the package\n"
        "packed, unchanged until the work is done.";
    module.attr("FORMAT_VERSION") = onepfrac::kFormatVersion;
    module.attr("ORBITS") = onepfrac::kOrbits;
    module.attr("BURN_IN") = onepfrac::kBurnIn;
    module.attr("MAX_MAPS") = onepfrac::kMaxMaps;
#if defined(ONEPFRAC_CUDA)
    module.attr("CUDA_ARCHS") = ONEPFRAC_CUDA_ARCHS_STRING;
#else
    module.attr("CUDA_ARCHS") = "";
#endif
    module.def(
        "checked_dlpack",
        [](const pybind11::object& array, const std::string& name, std::int64_t stream) {
            return onepfrac::checked_dlpack(array, name.c_str(), stream);
        },
        pybind11::arg("array"), pybind11::arg("name"), pybind11::arg("stream"));
    onepfrac::bind_noise(module);
    onepfrac::bind_atom(module);
    onepfrac::bind_density(module);
    onepfrac::bind_picture(module);
    onepfrac::bind_random(module);
    onepfrac::bind_render(module);
    onepfrac::bind_replay(module);
    onepfrac::bind_scene(module);
}
