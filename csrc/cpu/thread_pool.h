// A pool of threads that deals items to whoever is free. One pool a process, started when first needed, grown on
// demand; a child made by fork starts its own. The calling thread works too, so that a call for one thread uses no
// other.
#pragma once

#include <cstdint>
#include <functional>

#include "interrupt.h"

namespace onepfrac {

// Calls work(item) for every item in 0 .. count - 1, on at most `threads` threads, and returns when all are done. May
// be called from several threads at once, and by `work`. An exception thrown by `work`, or by a check of `interrupt`
// between the items, is thrown here after the running items end; long ones call interrupt.check() themselves.
void parallel_for(std::int64_t count, int threads, Interrupt& interrupt, const std::function<void(std::int64_t)>& work);

}  // namespace onepfrac
