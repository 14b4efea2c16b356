// Gives up the GIL while it lives, and lets Python's signals end the work that is done meanwhile.
#pragma once

#include <Python.h>

#include "../cpu/interrupt.h"

namespace onepfrac {

class ReleasedGil {
  public:
    ReleasedGil();
    // A thread that is still at work when the interpreter ends never gets the GIL again: it sleeps until the process
    // is gone. (pybind11's own class aborts the process then.)
    ~ReleasedGil();
    ReleasedGil(const ReleasedGil&) = delete;
    ReleasedGil& operator=(const ReleasedGil&) = delete;

    // Ends the work with the exception that a signal's handler raises, KeyboardInterrupt for one. Python runs handlers
    // on its main thread alone, so that work on other threads goes on.
    Interrupt& interrupt() { return interrupt_; }

  private:
    bool run_handlers();
    void take();

    PyThreadState* state_;
    bool handles_signals_ = false, known_ = false;  // whether this is the main thread; asked once it matters
    Interrupt interrupt_;
};

// Lets Python's signals end a loop that keeps the GIL: throws what a handler raises. Handlers may run any code, so that
// nothing that Python code can change may be trusted after it.
void answer_signals();

}  // namespace onepfrac
