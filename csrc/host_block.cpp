#include "host_block.h"

#include <cstddef>
#include <vector>

#include "cpu/float_environment.h"

namespace onepfrac {

namespace {

struct SerialThreads {
    int threads;
    bool reverse;

    int count() const { return threads; }

    template <class Phase>
    void each(Phase&& phase) const {
        for (int i = 0; i < threads; ++i) phase(reverse ? threads - 1 - i : i);
    }

    static void atomic_min(std::int32_t* at, std::int32_t value) { *at = value < *at ? value : *at; }
    static void atomic_max(std::int32_t* at, std::int32_t value) { *at = value > *at ? value : *at; }
    static void atomic_or(std::uint32_t* at, std::uint32_t value) { *at |= value; }
};

}  // namespace

void render_host_block(const BlockJob& job, std::int64_t batch, int threads, bool reverse) {
    const IeeeArithmetic ieee;
    const auto words = static_cast<std::size_t>(block_memory_bytes(job.size, job.band_rows) / 16 + 1);
    struct alignas(16) Piece {
        std::byte bytes[16];
    };
    SerialThreads serial{threads, reverse};
    for (std::int64_t image = 0; image < batch; ++image) {
        for (int band = 0; band * job.band_rows < job.size; ++band) {
            // Poisoned: a phase that reads what none wrote gives wrong pixels.
            std::vector<Piece> memory(words);
            for (Piece& piece : memory) {
                for (std::byte& b : piece.bytes) b = std::byte{0xA5};
            }
            auto& block = *reinterpret_cast<BlockMemory*>(memory.data());
            if (job.num_maps == 2) {
                render_block<2>(serial, job, image, band, block);
            } else {
                render_block<0>(serial, job, image, band, block);
            }
        }
    }
}

void expand_host_block(const ExpandJob& job, int threads, bool reverse) {
    SerialThreads serial{threads, reverse};
    for (std::int64_t image = 0; image < job.batch; ++image) expand_block(serial, job, image);
}

}  // namespace onepfrac
