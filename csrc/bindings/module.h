// What each topic adds to the extension module.
#pragma once

#include <pybind11/pybind11.h>

namespace onepfrac {

void bind_atom(pybind11::module_& module);
void bind_density(pybind11::module_& module);
void bind_noise(pybind11::module_& module);
void bind_picture(pybind11::module_& module);
void bind_random(pybind11::module_& module);
void bind_render(pybind11::module_& module);
void bind_replay(pybind11::module_& module);
void bind_scene(pybind11::module_& module);

}  // namespace onepfrac
