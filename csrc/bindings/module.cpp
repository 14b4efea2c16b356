// The extension module onepfrac._C. One file a topic; this one lists them.

#include "module.h"

#include "../chaos_game.h"
#include "array_view.h"

// A Python without its GIL stays without it: there is no state here but the thread pool and working memory of threads,
// and what other threads may change is copied before it is checked.
PYBIND11_MODULE(_C, module, pybind11::mod_gil_not_used()) {
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
