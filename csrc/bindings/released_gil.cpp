#include "released_gil.h"

#include <cxxabi.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

#include <memory>

namespace py = pybind11;

namespace onepfrac {

ReleasedGil::ReleasedGil() : state_(PyEval_SaveThread()), interrupt_([this] { return run_handlers(); }) {}

ReleasedGil::~ReleasedGil() {
    take();
}

// What glibc unwinds with is no object of C++, so that the reference to it is null.
__attribute__((no_sanitize("null"))) void ReleasedGil::take() {
    try {
        PyEval_RestoreThread(state_);
    } catch (abi::__forced_unwind&) {  // the interpreter ends, and Python before 3.14 ends its threads by unwinding
        for (;;) pause();
    }
}

bool ReleasedGil::run_handlers() {
    take();
    const auto give = [this](void*) { state_ = PyEval_SaveThread(); };
    const std::unique_ptr<void, decltype(give)> back(this, give);
    if (!known_) {
        known_ = true;
        const py::object main = py::module_::import("threading").attr("main_thread")().attr("ident");
        handles_signals_ = main.cast<unsigned long>() == PyThread_get_thread_ident();
    }
    if (handles_signals_ && PyErr_CheckSignals() != 0) throw py::error_already_set();
    return handles_signals_;
}

void answer_signals() {
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

}  // namespace onepfrac
