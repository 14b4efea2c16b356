// Checks that several bindings share. They guard the core; the messages for people are the package's.
#pragma once

#include <string>

#include "../block.h"
#include "../cpu/executor.h"
#include "array_view.h"

namespace onepfrac {

// Throws ValueError with the message where the condition does not hold.
void require(bool condition, const std::string& message);

// Throws where an array is not on the device of `out`, naming it.
void require_same_device(const ArrayView& array, const ArrayView& out, const std::string& name);

// The systems in an array that pack_systems made.
const System* systems_of(const ArrayView& view);

// The job of drawing `batch` systems, checked; where to write is left open.
RenderJob make_render_job(const ArrayView& systems, std::int64_t batch, int num_maps, std::int64_t points, int size,
                          int pad, int brush, PixelType type);

// The same for blocks of threads.
BlockJob block_job(const RenderJob& job, int band_rows);

// What an array to write to holds.
PixelType pixel_type_of(const ArrayView& out);

}  // namespace onepfrac
