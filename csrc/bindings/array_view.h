// Arrays of any library as pointer, dtype, device, shape and strides: through the buffer protocol (NumPy) or DLPack
// (torch, CuPy, JAX). No copy is made; the view keeps the exporter alive.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

namespace onepfrac {

struct ArrayView {
    enum class Kind { kUnsigned, kSigned, kFloat, kBfloat, kOther };

    void* data = nullptr;
    Kind kind = Kind::kOther;
    int bits = 0;
    bool cuda = false;
    int device = 0;
    bool read_only = false;
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;  // in elements
    pybind11::object owner;

    bool contiguous() const;
    std::int64_t count() const;
    std::string dtype_name() const;
};

// Throws TypeError where `array` offers neither protocol, naming the argument.
ArrayView view_of(const pybind11::handle& array, const char* name);

}  // namespace onepfrac
