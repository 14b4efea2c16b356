#include "array_view.h"

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

std::vector<std::int64_t> contiguous_strides(const std::vector<std::int64_t>& shape) {
    std::vector<std::int64_t> strides(shape.size(), 1);
    for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
    return strides;
}

struct ReleaseBuffer {
    void operator()(Py_buffer* buffer) const {
        PyBuffer_Release(buffer);
        delete buffer;
    }
};

ArrayView view_of_buffer(const py::handle& array) {
    auto fresh = std::make_unique<Py_buffer>();
    if (PyObject_GetBuffer(array.ptr(), fresh.get(), PyBUF_FULL_RO) != 0) throw py::error_already_set();
    std::unique_ptr<Py_buffer, ReleaseBuffer> buffer(fresh.release());
    ArrayView view;
    view.data = buffer->buf;
    view.kind = kind_of_format(buffer->format);
    view.bits = static_cast<int>(8 * buffer->itemsize);
    view.read_only = buffer->readonly != 0;
    for (int i = 0; i < buffer->ndim; ++i) {
        view.shape.push_back(buffer->shape[i]);
        // A stride that is no multiple of the element's size cannot be told in elements: never contiguous.
        const auto stride = buffer->strides[i];
        view.strides.push_back(stride % buffer->itemsize == 0 ? stride / buffer->itemsize : -1);
    }
    view.owner = py::capsule(buffer.release(), [](void* p) { ReleaseBuffer()(static_cast<Py_buffer*>(p)); });
    return view;
}

ArrayView view_of_dlpack(const py::handle& array, const char* name) {
    const auto device = py::cast<std::pair<std::int32_t, std::int32_t>>(array.attr("__dlpack_device__")());
    const bool cuda = device.first == kDlCuda;
    if (!cuda && device.first != kDlCpu && device.first != kDlCudaHost) {
        throw py::value_error(std::string(name) + " must be on a CPU or a CUDA device");
    }
    // Stream -1: no synchronisation; the work is ordered by the stream that it is given.
    const py::capsule capsule = cuda ? array.attr("__dlpack__")(py::arg("stream") = -1) : array.attr("__dlpack__")();
    const auto* tensor = static_cast<const DlTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    if (tensor == nullptr) throw py::error_already_set();
    ArrayView view;
    view.data = static_cast<std::byte*>(tensor->data) + tensor->byte_offset;
    view.kind = tensor->type.lanes == 1 ? kind_of_dlpack(tensor->type.code) : ArrayView::Kind::kOther;
    view.bits = tensor->type.bits;
    view.cuda = cuda;
    view.device = tensor->device.id;
    view.shape.assign(tensor->shape, tensor->shape + tensor->dimensions);
    if (tensor->strides != nullptr) {
        view.strides.assign(tensor->strides, tensor->strides + tensor->dimensions);
    } else {
        view.strides = contiguous_strides(view.shape);
    }
    view.owner = capsule;  // not consumed: its destructor gives the tensor back
    return view;
}

}  // namespace

bool ArrayView::contiguous() const {
    const std::vector<std::int64_t> wanted = contiguous_strides(shape);
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] == 0) return true;
        if (shape[i] != 1 && strides[i] != wanted[i]) return false;
    }
    return true;
}

std::int64_t ArrayView::count() const {
    std::int64_t product = 1;
    for (const std::int64_t n : shape) product *= n;
    return product;
}

std::string ArrayView::dtype_name() const {
    static const char* const kNames[] = {"uint", "int", "float", "bfloat", "other"};
    return kNames[static_cast<int>(kind)] + std::to_string(bits);
}

ArrayView view_of(const py::handle& array, const char* name) {
    if (PyObject_CheckBuffer(array.ptr()) != 0) return view_of_buffer(array);
    if (py::hasattr(array, "__dlpack__") && py::hasattr(array, "__dlpack_device__")) return view_of_dlpack(array, name);
    throw py::type_error(std::string(name) + " must be an array (buffer protocol or DLPack), got " +
                         py::cast<std::string>(py::str(py::type::handle_of(array))));
}

}  // namespace onepfrac
