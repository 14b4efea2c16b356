#include "array_view.h"

#include <limits>
#include <memory>

namespace py = pybind11;

namespace onepfrac {

namespace {

// The DLPack ABI, version 0: https://dmlc.github.io/dlpack/latest/c_api.html
struct DlDevice {
    std::int32_t type;
    std::int32_t id;
};
struct DlDataType {
    std::uint8_t code;
    std::uint8_t bits;
    std::uint16_t lanes;
};
struct DlTensor {
    void* data;
    DlDevice device;
    std::int32_t dimensions;
    DlDataType type;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null where C-contiguous
    std::uint64_t byte_offset;
};
constexpr std::int32_t kDlCpu = 1, kDlCuda = 2, kDlCudaHost = 3;
constexpr std::int32_t kMostDimensions = 64;  // NumPy's and torch's

ArrayView::Kind kind_of_dlpack(std::uint8_t code) {
    switch (code) {
        case 0:
            return ArrayView::Kind::kSigned;
        case 1:
            return ArrayView::Kind::kUnsigned;
        case 2:
            return ArrayView::Kind::kFloat;
        case 4:
            return ArrayView::Kind::kBfloat;
        default:
            return ArrayView::Kind::kOther;
    }
}

ArrayView::Kind kind_of_format(const char* format) {
    if (format == nullptr) return ArrayView::Kind::kUnsigned;  // plain bytes
    std::string code(format);
    if (code.size() > 1 && (code[0] == '<' || code[0] == '=' || code[0] == '@')) code.erase(0, 1);
    if (code.size() != 1) return ArrayView::Kind::kOther;
    if (std::string("BHILQN").find(code) != std::string::npos) return ArrayView::Kind::kUnsigned;
    if (std::string("bhilqn").find(code) != std::string::npos) return ArrayView::Kind::kSigned;
    if (std::string("efd").find(code) != std::string::npos) return ArrayView::Kind::kFloat;
    return ArrayView::Kind::kOther;
}

// Saturates: sizes that do not fit 64 bits are nobody's.
std::int64_t product(std::int64_t a, std::int64_t b) {
    std::int64_t result = 0;
    return __builtin_mul_overflow(a, b, &result) ? std::numeric_limits<std::int64_t>::max() : result;
}

std::vector<std::int64_t> contiguous_strides(const std::vector<std::int64_t>& shape) {
    std::vector<std::int64_t> strides(shape.size(), 1);
    for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = product(strides[i], shape[i]);
    return strides;
}

// Turns what foreign code raised while it exported `name` into a TypeError that names it. What is no error of the array
// stays: no memory, Ctrl-C.
[[noreturn]] void refuse_export(py::error_already_set& error, const char* name) {
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw std::move(error);
    py::raise_from(error, PyExc_TypeError,
                   (std::string(name) + " must be an array that hands over its memory, which it refused").c_str());
    throw py::error_already_set();
}

// The type's name; the value's own repr may be anything.
std::string type_of(const py::handle& value) {
    return Py_TYPE(value.ptr())->tp_name;
}

// Throws unless sizes and address are such as an array can have.
void check_sound(const ArrayView& view, const char* name) {
    for (const std::int64_t n : view.shape) {
        if (n < 0) throw py::value_error(std::string(name) + " must have sizes of 0 or more, got " + std::to_string(n));
    }
    const std::int64_t count = view.count();
    if (count < 0) throw py::value_error(std::string(name) + " must have sizes whose product fits 64 bits");
    if (count == 0) return;
    if (view.data == nullptr) throw py::value_error(std::string(name) + " must have memory, got a null pointer");
    const auto size = static_cast<std::uintptr_t>(view.bits / 8);
    if (size > 1 && reinterpret_cast<std::uintptr_t>(view.data) % (size > 8 ? 8 : size) != 0) {
        throw py::value_error(std::string(name) + " must be aligned in memory to its elements of " +
                              std::to_string(size) + " bytes");
    }
}

struct ReleaseBuffer {
    void operator()(Py_buffer* buffer) const {
        const std::unique_ptr<Py_buffer> freed(buffer);  // afterwards
        PyBuffer_Release(buffer);
    }
};

ArrayView view_of_buffer(const py::handle& array, const char* name) {
    auto fresh = std::make_unique<Py_buffer>();
    if (PyObject_GetBuffer(array.ptr(), fresh.get(), PyBUF_FULL_RO) != 0) {
        py::error_already_set error;
        refuse_export(error, name);
    }
    std::unique_ptr<Py_buffer, ReleaseBuffer> buffer(fresh.release());
    if (buffer->suboffsets != nullptr || buffer->itemsize < 1 || buffer->itemsize > 1024 || buffer->ndim < 0 ||
        buffer->ndim > kMostDimensions || (buffer->ndim > 0 && buffer->shape == nullptr)) {
        throw py::type_error(std::string(name) + " must be an array of elements of 1 to 1024 bytes, side by side");
    }
    ArrayView view;
    view.data = buffer->buf;
    view.kind = kind_of_format(buffer->format);
    view.bits = static_cast<int>(8 * buffer->itemsize);
    view.read_only = buffer->readonly != 0;
    if (buffer->ndim > 0) view.shape.assign(buffer->shape, buffer->shape + buffer->ndim);
    if (buffer->strides == nullptr) view.strides = contiguous_strides(view.shape);  // as ctypes has it
    for (int i = 0; buffer->strides != nullptr && i < buffer->ndim; ++i) {
        // A stride that is no multiple of the element's size cannot be told in elements: never contiguous.
        const auto stride = buffer->strides[i];
        view.strides.push_back(stride % buffer->itemsize == 0 ? stride / buffer->itemsize : -1);
    }
    check_sound(view, name);
    view.owner = py::capsule(buffer.release(), [](void* p) { ReleaseBuffer()(static_cast<Py_buffer*>(p)); });
    return view;
}

bool is_cuda(std::int32_t type, const char* name) {
    if (type != kDlCuda && type != kDlCpu && type != kDlCudaHost) {
        throw py::value_error(std::string(name) + " must be on a CPU or a CUDA device, got DLPack's device type " +
                              std::to_string(type));
    }
    return type == kDlCuda;
}

ArrayView view_of_dlpack(const py::handle& array, const char* name, std::int64_t stream) {
    py::object exported;
    bool cuda = false;
    try {
        // torch hands over what lies in memory of a tensor whose negation it has put off, and does not say so.
        if (py::hasattr(array, "is_neg") && py::bool_(array.attr("is_neg")())) {
            throw py::value_error(std::string(name) +
                                  " must hold its elements as they are, not negated: resolve_neg()");
        }
        const py::object device = array.attr("__dlpack_device__")();
        const auto parts = py::reinterpret_steal<py::tuple>(PySequence_Tuple(device.ptr()));
        if (!parts) throw py::error_already_set();
        const long type = parts.size() == 2 ? PyLong_AsLong(parts[0].ptr()) : -1;
        if (type == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
        cuda = is_cuda(type < 0 || type > kMostDimensions ? -1 : static_cast<std::int32_t>(type), name);
        exported = cuda ? array.attr("__dlpack__")(py::arg("stream") = stream) : array.attr("__dlpack__")();
    } catch (py::error_already_set& error) {
        refuse_export(error, name);
    }
    if (PyCapsule_IsValid(exported.ptr(), "dltensor") == 0) {
        throw py::type_error(std::string(name) + " must export a DLPack capsule that is not used up, got " +
                             type_of(exported));
    }
    const auto capsule = py::reinterpret_borrow<py::capsule>(exported);
    const auto* tensor = static_cast<const DlTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    if (tensor->dimensions < 0 || tensor->dimensions > kMostDimensions ||
        (tensor->dimensions > 0 && tensor->shape == nullptr)) {
        throw py::value_error(std::string(name) + " must have 0 to 64 dimensions and a shape, got " +
                              std::to_string(tensor->dimensions) + " dimensions");
    }
    if (is_cuda(tensor->device.type, name) != cuda) {
        throw py::value_error(std::string(name) + " must be on the device that it says");
    }
    ArrayView view;
    view.data = tensor->data == nullptr ? nullptr : static_cast<std::byte*>(tensor->data) + tensor->byte_offset;
    view.kind = tensor->type.lanes == 1 ? kind_of_dlpack(tensor->type.code) : ArrayView::Kind::kOther;
    view.bits = tensor->type.bits;
    view.cuda = cuda;
    view.device = tensor->device.id;
    if (tensor->dimensions > 0) view.shape.assign(tensor->shape, tensor->shape + tensor->dimensions);
    if (tensor->dimensions > 0 && tensor->strides != nullptr) {
        view.strides.assign(tensor->strides, tensor->strides + tensor->dimensions);
    } else {
        view.strides = contiguous_strides(view.shape);
    }
    view.owner = capsule;  // not consumed: its destructor gives the tensor back
    check_sound(view, name);
    return view;
}

// hasattr() takes an attribute whose lookup fails in any way for none.
bool exports_dlpack(const py::handle& array) {
    return py::hasattr(array, "__dlpack__") && py::hasattr(array, "__dlpack_device__");
}

}  // namespace

bool ArrayView::contiguous() const {
    if (count() == 0) return true;
    const std::vector<std::int64_t> wanted = contiguous_strides(shape);
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] != 1 && strides[i] != wanted[i]) return false;
    }
    return true;
}

std::int64_t ArrayView::count() const {
    std::int64_t number = 1, total = bits / 8 > 0 ? bits / 8 : 1;
    for (const std::int64_t n : shape) {
        if (n == 0) return 0;
        number = product(number, n);
        total = product(total, n);
    }
    return total == std::numeric_limits<std::int64_t>::max() ? -1 : number;
}

std::string ArrayView::dtype_name() const {
    static const char* const kNames[] = {"uint", "int", "float", "bfloat", "other"};
    return kNames[static_cast<int>(kind)] + std::to_string(bits);
}

ArrayView view_of(const py::handle& array, const char* name) {
    if (PyObject_CheckBuffer(array.ptr()) != 0) return view_of_buffer(array, name);
    // Stream -1: no synchronisation; the work is ordered by the stream that it is given.
    if (exports_dlpack(array)) return view_of_dlpack(array, name, -1);
    throw py::type_error(std::string(name) + " must be an array (buffer protocol or DLPack), got " + type_of(array));
}

py::capsule checked_dlpack(const py::handle& array, const char* name, std::int64_t stream) {
    if (!exports_dlpack(array)) {
        throw py::type_error(std::string(name) + " must be an array of a library with DLPack, got " + type_of(array));
    }
    ArrayView view = view_of_dlpack(array, name, stream);
    // torch takes no others, and release 2.9 ends the process when it meets one.
    for (const std::int64_t stride : view.strides) {
        if (stride < 0)
            throw py::value_error(std::string(name) + " must have strides of 0 or more, got " + std::to_string(stride));
    }
    // Who says one shape and hands over another is not to be trusted with either.
    if (py::hasattr(array, "shape")) {
        py::tuple claimed(view.shape.size());  // NOLINT(misc-const-correctness): filled below
        for (std::size_t i = 0; i < view.shape.size(); ++i) claimed[i] = view.shape[i];
        try {
            const auto says = py::reinterpret_steal<py::tuple>(PySequence_Tuple(array.attr("shape").ptr()));
            if (!says) throw py::error_already_set();
            if (!says.equal(claimed))
                throw py::value_error(std::string(name) + " must hand over the shape that it says");
        } catch (py::error_already_set& error) {
            refuse_export(error, name);
        }
    }
    return py::reinterpret_borrow<py::capsule>(view.owner);
}

}  // namespace onepfrac
