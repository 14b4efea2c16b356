// One picture on the CPU, from a canvas to memory: the frame of grays (resample.h), the shot's steps, the film.
#pragma once

#include "look_up.h"
#include "resample.h"

namespace onepfrac {

// A frame of grays and what its steps have come to: pixels that lie on the frames of all windows are looked up in
// `table`; those off a frame have the gray of the last such window.
template <class L>
class Development {
  public:
    Development(const Shot& shot, int size, std::uint8_t* frame, Arena& arena)
        : shot_(shot), size_(size), stride_(padded(size)), frame_(frame), arena_(arena) {
        const auto count = static_cast<std::size_t>(size) * static_cast<std::size_t>(shot.num_windows);
        spans_ = arena.take<Span>(count);
        for (int g = 0; g < shot.num_windows; ++g) {
            for (int row = 0; row < size; ++row) spans_[g * size + row] = inside_of<L>(shot.windows[g], row, size);
        }
        reset_table();
    }

    void take_steps(Pace& pace) {
        const std::int64_t pixels = static_cast<std::int64_t>(size_) * size_;
        for (int s = 0; s < shot_.num_steps; ++s) {
            pace.after(pixels);
            const Step step = shot_.steps[s];
            const float amount = shot_.amounts[s];
            if (step == Step::kWindow) {
                fill_[passed_++] = static_cast<std::uint8_t>(amount);
            } else if (step == Step::kSharpness) {
                sharpen(amount);
            } else {
                std::uint8_t of_step[256];
                std::uint32_t histogram[256];
                Statistics statistics{};
                if (needs_statistics(step)) {
                    count_grays(histogram);
                    statistics = statistics_of(step, histogram);
                }
                if (step == Step::kEqualize) {
                    equalize_table(histogram, of_step);
                } else {
                    for (int v = 0; v < 256; ++v) {
                        of_step[v] = static_cast<std::uint8_t>(toned(step, amount, statistics, v));
                    }
                }
                for (std::uint8_t& gray : table_) gray = of_step[gray];
                for (int g = merged_; g < passed_; ++g) fill_[g] = of_step[fill_[g]];
            }
        }
    }

    const std::uint8_t* table() const { return table_; }
    const std::uint8_t* row(int row) const { return frame_ + static_cast<std::ptrdiff_t>(row) * stride_; }

    // Calls visit(begin, end, gray) for the pixels of a row that lie off a window's frame.
    template <class Visit>
    void outside(int row, Visit&& visit) const {
        outside_of(row, merged_, visit);
    }

  private:
    template <class Visit>
    void outside_of(int row, int first, Visit&& visit) const {
        for (int g = first; g < shot_.num_windows; ++g) {
            const Span inside = spans_[g * size_ + row];
            const std::uint8_t gray = gray_of_window(g);
            if (inside.begin > 0) visit(0, inside.begin, gray);
            if (inside.end < size_) visit(inside.end, size_, gray);
        }
    }

    std::uint8_t gray_of_window(int g) const {
        if (g < passed_) return fill_[g];
        int seen = 0;  // its step is still to come
        for (int s = 0; s < shot_.num_steps; ++s) {
            if (shot_.steps[s] == Step::kWindow && seen++ == g) return static_cast<std::uint8_t>(shot_.amounts[s]);
        }
        return 0;
    }

    void reset_table() {
        for (int v = 0; v < 256; ++v) table_[v] = static_cast<std::uint8_t>(v);
    }

    // The picture's grays as they are now, without what a window still to come is going to cover.
    void count_grays(std::uint32_t (&histogram)[256]) {
        std::uint32_t part[4][256] = {};  // in four parts, since equal grays in a row would wait for each other
        std::uint32_t of_window[kMaxWindows] = {};
        const int count = shot_.num_windows;
        for (int row = 0; row < size_; ++row) {
            Span inside{0, size_};
            int covered_to = 0, covered_from = size_;  // by windows still to come
            for (int g = merged_; g < count; ++g) {
                const Span of = spans_[g * size_ + row];
                inside = {std::max(inside.begin, of.begin), std::min(inside.end, of.end)};
                if (g >= passed_) {
                    covered_to = std::max(covered_to, of.begin);
                    covered_from = std::min(covered_from, of.end);
                }
            }
            const std::uint8_t* grays = this->row(row);
            int i = inside.begin;
            for (; i + 4 <= inside.end; i += 4) {
                for (int k = 0; k < 4; ++k) ++part[k][grays[i + k]];
            }
            for (; i < inside.end; ++i) ++part[0][grays[i]];
            if (merged_ < passed_) {
                for (int c = covered_to; c < covered_from; ++c) {
                    for (int g = passed_ - 1; g >= merged_; --g) {
                        const Span of = spans_[g * size_ + row];
                        if (c < of.begin || c >= of.end) {
                            ++of_window[g];
                            break;
                        }
                    }
                }
            }
        }
        for (std::uint32_t& bin : histogram) bin = 0;
        for (int v = 0; v < 256; ++v) histogram[table_[v]] += part[0][v] + part[1][v] + part[2][v] + part[3][v];
        for (int g = merged_; g < passed_; ++g) histogram[fill_[g]] += of_window[g];
    }

    void sharpen(float factor) {
        const auto bytes = static_cast<std::size_t>(stride_) * static_cast<std::size_t>(size_);
        if (spare_ == nullptr) spare_ = arena_.take<std::uint8_t>(bytes);
        // All that has been done so far, and the grays of windows to come, into the frame itself.
        for (int row = 0; row < size_; ++row) {
            std::uint8_t* grays = frame_ + static_cast<std::ptrdiff_t>(row) * stride_;
            Span inside{0, size_};
            for (int g = merged_; g < shot_.num_windows; ++g) {
                const Span of = spans_[g * size_ + row];
                inside = {std::max(inside.begin, of.begin), std::min(inside.end, of.end)};
            }
            for (int i = inside.begin; i < inside.end; ++i) grays[i] = table_[grays[i]];
            outside_of(row, merged_, [&](int begin, int end, std::uint8_t gray) {
                std::memset(grays + begin, gray, static_cast<std::size_t>(end - begin));
            });
        }
        for (int row = 0; row < size_; ++row) {
            sharpen_row(frame_ + static_cast<std::ptrdiff_t>(row) * stride_, row > 0 && row < size_ - 1, factor,
                        spare_ + static_cast<std::ptrdiff_t>(row) * stride_);
        }
        std::swap(frame_, spare_);
        reset_table();
        merged_ = passed_;
    }

    // The picture's border stays as it is.
    void sharpen_row(const std::uint8_t* here, bool inner, float factor, std::uint8_t* __restrict__ out) const {
        const int size = size_;
        if (!inner) {
            std::memcpy(out, here, static_cast<std::size_t>(size));
            return;
        }
        const std::uint8_t *above = here - stride_, *below = here + stride_;
        out[0] = here[0];
        for (int i = 1; i < size - 1; ++i) {
            out[i] = static_cast<std::uint8_t>(sharpened(above + i, here + i, below + i, factor));
        }
        out[size - 1] = here[size - 1];
    }

    const Shot& shot_;
    int size_, stride_;
    std::uint8_t* frame_;
    std::uint8_t* spare_ = nullptr;
    Arena& arena_;
    Span* spans_;  // [window][row]
    std::uint8_t table_[256];
    std::uint8_t fill_[kMaxWindows];
    int merged_ = 0;  // windows that are part of the frame since a sharpness step
    int passed_ = 0;  // windows whose step has been taken
};

// Writes a developed frame. Pixel is an unsigned integer as wide as the film's type.
template <class L, class Pixel>
void write_film(const Film& film, const Shot& shot, const Development<L>& development, Pixel* out, Pace& pace) {
    const int size = film.size, channels = film.channels;
    const std::int64_t area = static_cast<std::int64_t>(size) * size;
    const std::int64_t pixel_step = film.channels_last ? channels : 1;
    const std::int64_t channel_step = film.channels_last ? 1 : area;
    const auto* values = static_cast<const Pixel*>(film.table);
    const auto* noise = static_cast<const Pixel*>(film.noise);
    const RoundKeys<L> keys(shot.key);
    const int erased_end = shot.erased[0] + shot.erased[2];
    alignas(64) Pixel line[4096 + 64];

    Pixel table[4][256];
    for (int c = 0; c < film.table_rows; ++c) {
        for (int v = 0; v < 256; ++v) table[c][v] = values[256 * c + development.table()[v]];
    }
    for (int row = 0; row < size; ++row) {
        pace.after(static_cast<std::int64_t>(size) * channels);
        const std::uint8_t* grays = development.row(row);
        const bool erases = row >= shot.erased[0] && row < erased_end;
        for (int c = 0; c < channels; ++c) {
            const int from = film.table_rows == 1 ? 0 : c;
            if (c == 0 || film.table_rows > 1) {
                const Pixel* of = table[from];
                look_up<L>(grays, of, size, line);
                development.outside(row, [&](int begin, int end, std::uint8_t gray) {
                    std::fill(line + begin, line + end, values[256 * from + gray]);
                });
            }
            if (erases) {
                const int left = shot.erased[1], right = left + shot.erased[3];
                const Pixel* levels = noise + kNoiseLevels * from;
                constexpr int kColumns = kNoisePerBlock * L::kWidth;
                Pixel drawn[kColumns];
                for (int first = left / kColumns * kColumns; first < right; first += kColumns) {
                    const auto number = static_cast<std::uint32_t>(first / kNoisePerBlock);
                    const PhiloxBlock<L> block = noise_block<L>(L::add(L::iota(), L::splat_u(number)), row, c, keys);
                    std::uint32_t words[4][L::kWidth];
                    for (int q = 0; q < 4; ++q) L::store_u(words[q], block.word[q]);
                    for (int k = 0; k < L::kWidth; ++k) {
#pragma GCC unroll 4
                        for (int q = 0; q < 4; ++q) {  // two neighbours leave in one store
                            const Pixel pair[2] = {levels[noise_level(words[q][k], 0)],
                                                   levels[noise_level(words[q][k], 1)]};
                            std::memcpy(drawn + kNoisePerBlock * k + 2 * q, pair, sizeof pair);
                        }
                    }
                    const int begin = std::max(left, first), end = std::min(right, first + kColumns);
                    std::copy(drawn + (begin - first), drawn + (end - first), line + begin);
                }
            }
            Pixel* to = out + c * channel_step + static_cast<std::int64_t>(row) * size * pixel_step;
            if (pixel_step == 1) {
                std::memcpy(to, line, static_cast<std::size_t>(size) * sizeof(Pixel));
            } else {
                for (int i = 0; i < size; ++i) to[i * pixel_step] = line[i];
            }
        }
    }
}

template <class L, class Bits>
void take_picture(const Film& film, const Shot& shot, const Canvas& canvas, Arena& arena, Interrupt& interrupt,
                  void* out) {
    const Arena::Mark mark(arena);
    Pace pace(interrupt);
    const auto side = static_cast<std::size_t>(padded(film.size));
    auto* frame = arena.take<std::uint8_t>(side * side);
    resample<L, Bits>(canvas, shot, film, frame, arena, pace);
    Development<L> development(shot, film.size, frame, arena);
    development.take_steps(pace);
    switch (film.type) {
        case PixelType::kUint8:
            return write_film<L>(film, shot, development, static_cast<std::uint8_t*>(out), pace);
        case PixelType::kFloat16:
        case PixelType::kBfloat16:
            return write_film<L>(film, shot, development, static_cast<std::uint16_t*>(out), pace);
        default:
            return write_film<L>(film, shot, development, static_cast<std::uint32_t*>(out), pace);
    }
}

using TakePicture = void (*)(const Film& film, const Shot& shot, const Canvas& canvas, Arena& arena,
                             Interrupt& interrupt, void* out);

void take_picture_scalar(const Film& film, const Shot& shot, const Canvas& canvas, Arena& arena, Interrupt& interrupt,
                         void* out);
void take_picture_avx2(const Film& film, const Shot& shot, const Canvas& canvas, Arena& arena, Interrupt& interrupt,
                       void* out);
void take_picture_avx512(const Film& film, const Shot& shot, const Canvas& canvas, Arena& arena, Interrupt& interrupt,
                         void* out);

}  // namespace onepfrac
