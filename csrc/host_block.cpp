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
        if (reverse) {
            for (int i = threads - 1; i >= 0; --i) phase(i);
        } else {
            for (int i = 0; i < threads; ++i) phase(i);
        }
    }

    static void atomic_min(std::int32_t* at, std::int32_t value) { *at = value < *at ? value : *at; }
    static void atomic_max(std::int32_t* at, std::int32_t value) { *at = value > *at ? value : *at; }
    static void atomic_add(std::uint32_t* at, std::uint32_t value) { *at += value; }
    static void atomic_or(std::uint32_t* at, std::uint32_t value) { *at |= value; }
};

// A block's memory, poisoned: a phase that reads what none wrote gives wrong pixels.
class PoisonedMemory {
  public:
    explicit PoisonedMemory(std::int64_t bytes) : pieces_(static_cast<std::size_t>(bytes / 16 + 1)) {
        for (Piece& piece : pieces_) {
            for (std::byte& b : piece.bytes) b = std::byte{0xA5};
        }
    }
    template <class T>
    T& at(std::int64_t offset) {
        return *reinterpret_cast<T*>(reinterpret_cast<std::byte*>(pieces_.data()) + offset);
    }

  private:
    struct alignas(16) Piece {
        std::byte bytes[16];
    };
    std::vector<Piece> pieces_;
};

}  // namespace

void render_host_block(const BlockJob& job, std::int64_t batch, int threads, bool reverse) {
    const IeeeArithmetic ieee;
    SerialThreads serial{threads, reverse};
    for (std::int64_t image = 0; image < batch; ++image) {
        for (int band = 0; band * job.band_rows < job.size; ++band) {
            PoisonedMemory memory(block_memory_bytes(job.size, job.band_rows));
            auto& block = memory.at<BlockMemory>(0);
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

void take_pictures_host_block(const PictureJob& job, int threads, bool reverse) {
    const IeeeArithmetic ieee;
    SerialThreads serial{threads, reverse};
    for (std::int64_t image = 0; image < job.batch; ++image) {
        PoisonedMemory memory(picture_memory_bytes(job.film.size));
        if (job.canvases.bits != nullptr) {
            take_picture_block<BlockBits>(serial, job, image, memory.at<PictureMemory>(0));
        } else {
            take_picture_block<BlockGrays>(serial, job, image, memory.at<PictureMemory>(0));
        }
    }
}

void draw_pictures_host_block(BlockJob job, const Shot* shots, const Film& film, std::int64_t batch, int threads,
                              bool reverse) {
    const IeeeArithmetic ieee;
    SerialThreads serial{threads, reverse};
    job.band_rows = job.size;
    for (std::int64_t image = 0; image < batch; ++image) {
        PoisonedMemory memory(drawn_picture_bytes(job.size, film.size));
        auto& picture = memory.at<PictureMemory>(0);
        auto& block = memory.at<BlockMemory>(picture_memory_bytes(film.size));
        if (job.num_maps == 2) {
            draw_picture_block<2>(serial, job, shots, film, image, block, picture);
        } else {
            draw_picture_block<0>(serial, job, shots, film, image, block, picture);
        }
    }
}

void draw_noise_host_block(const NoiseJob& job, int threads, bool reverse) {
    SerialThreads serial{threads, reverse};
    for (std::int64_t image = 0; image < job.batch; ++image) {
        for (int band = 0; band < band_count(job); ++band) draw_noise_block(serial, job, image, band);
    }
}

void draw_atoms_host_block(const AtomJob& job, int threads, bool reverse) {
    const IeeeArithmetic ieee;
    SerialThreads serial{threads, reverse};
    for (std::int64_t image = 0; image < job.batch; ++image) {
        PoisonedMemory memory(atom_memory_bytes(job.max_vertices));
        draw_atom_block(serial, job, image, memory.at<AtomMemory>(0));
    }
}

void density_host_block(const DensityJob& job, std::int64_t batch, int threads, bool reverse) {
    const IeeeArithmetic ieee;
    SerialThreads serial{threads, reverse};
    const BlockJob& points = job.points;
    for (std::int64_t image = 0; image < batch; ++image) {
        PoisonedMemory memory(density_memory_bytes(points.size, points.band_rows));
        auto& block = memory.at<DensityMemory>(0);
        if (job.graded) {
            grade_hits_block<0>(serial, job, image, block);
            continue;
        }
        for (int band = 0; band * points.band_rows < points.size; ++band) {
            count_hits_block<0>(serial, job, image, band, block);
        }
    }
}

void paint_scenes_host_block(const SceneJob& job, int threads, bool reverse) {
    SerialThreads serial{threads, reverse};
    for (std::int64_t image = 0; image < job.batch; ++image) {
        PoisonedMemory memory(scene_layout(job.size).bytes);
        paint_scene<ScalarLanes>(serial, job, image, &memory.at<unsigned char>(0));
    }
}

}  // namespace onepfrac
