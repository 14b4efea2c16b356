// Arrays of any library as pointer, dtype, device, shape and strides: through the buffer protocol (NumPy) or DLPack
// (torch, CuPy, JAX). No copy is made; the view keeps the exporter alive.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
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
    std::int64_t count() const;  // of elements; -1 where 64 bits do not hold the bytes
    std::int64_t bytes() const { return count() * (bits / 8); }
    std::string dtype_name() const;
};

// Throws TypeError where `array` offers neither protocol, and TypeError or ValueError where what it hands over is no
// sound array of elements that are aligned; naming the argument. Of an exporter that lies about how much memory there
// is behind its pointer nothing can be known.
ArrayView view_of(const pybind11::handle& array, const char* name);

// What `array.__dlpack__` returns, once it has been looked at as view_of does: a capsule that a library may take for
// sound. `stream` is passed on for arrays on CUDA devices, as the protocol has it.
pybind11::capsule checked_dlpack(const pybind11::handle& array, const char* name, std::int64_t stream);

// Words that decide where memory is read or written: systems, shots, numbers of canvases. On the CPU a copy of its own,
// for another thread may change an array between its check and its use; on a GPU the array itself. The view must be
// contiguous and hold whole T.
template <class T>
class ControlWords {
  public:
    ControlWords() = default;
    explicit ControlWords(const ArrayView& view) : on_gpu_(static_cast<const T*>(view.data)) {
        static_assert(std::is_trivially_copyable_v<T>);
        if (view.cuda) return;
        const auto bytes = static_cast<std::size_t>(view.bytes());
        copy_ = std::make_unique_for_overwrite<T[]>(bytes / sizeof(T) + 1);
        if (bytes > 0) std::memcpy(copy_.get(), view.data, bytes);
    }

    const T* data() const { return copy_ ? copy_.get() : on_gpu_; }

  private:
    std::unique_ptr<T[]> copy_;
    const T* on_gpu_ = nullptr;
};

}  // namespace onepfrac
