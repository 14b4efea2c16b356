// Bits to a frame whose axes are apart, in AVX2 registers: the twin of resample_grays (resample.h).
//
// Rows first: a canvas row becomes masks of 16 bits a column, and a picture row adds its weights under them; these sums
// are exact in 16 bits. Sixteen picture rows are turned so that two neighbouring columns of a row share a 32-bit lane,
// eight rows a register; then vpmaddwd sums over columns, two at a time. Sheared views have passes of their own; what
// is left (rotations) is sampled pixel by pixel.
#pragma once

#include <immintrin.h>

#include <type_traits>

#include "resample.h"

namespace onepfrac {

// The rows of an 8 x 8 block of 32-bit values as columns.
ONEPFRAC_FN void transpose8(__m256i (&r)[8]) {
    __m256i pairs[8], quads[8];
    for (int i = 0; i < 4; ++i) {
        pairs[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
        quads[4 * i] = _mm256_unpacklo_epi64(pairs[4 * i], pairs[4 * i + 2]);
        quads[4 * i + 1] = _mm256_unpackhi_epi64(pairs[4 * i], pairs[4 * i + 2]);
        quads[4 * i + 2] = _mm256_unpacklo_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
        quads[4 * i + 3] = _mm256_unpackhi_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        r[i] = _mm256_permute2x128_si256(quads[i], quads[4 + i], 0x20);
        r[4 + i] = _mm256_permute2x128_si256(quads[i], quads[4 + i], 0x31);
    }
}

// The 16 x 16 bytes from `in` on as columns.
ONEPFRAC_FN void transpose_bytes(const std::uint8_t* in, std::ptrdiff_t in_stride, std::uint8_t* out,
                                 std::ptrdiff_t out_stride) {
    __m128i a[16], b[16];
    for (int i = 0; i < 16; ++i) a[i] = _mm_load_si128(reinterpret_cast<const __m128i*>(in + i * in_stride));
    // Four times: rows i and i + 8 are interleaved byte by byte, which moves one bit from the column's number to the
    // row's.
    const auto interleave = [](const __m128i(&from)[16], __m128i(&to)[16]) {
        for (int i = 0; i < 8; ++i) {
            to[2 * i] = _mm_unpacklo_epi8(from[i], from[i + 8]);
            to[2 * i + 1] = _mm_unpackhi_epi8(from[i], from[i + 8]);
        }
    };
    interleave(a, b);
    interleave(b, a);
    interleave(a, b);
    interleave(b, a);
    for (int i = 0; i < 16; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * out_stride), a[i]);
}

// Calls work(std::integral_constant<int, n>) for a number of taps that is often met, so that loops over taps are
// unrolled, else for 0.
template <class Work>
ONEPFRAC_FN void with_taps(int taps, Work&& work) {
    switch (taps) {
        case 4:
            return work(std::integral_constant<int, 4>{});
        case 6:
            return work(std::integral_constant<int, 6>{});
        case 8:
            return work(std::integral_constant<int, 8>{});
        case 10:
            return work(std::integral_constant<int, 10>{});
        case 12:
            return work(std::integral_constant<int, 12>{});
        default:
            return work(std::integral_constant<int, 0>{});
    }
}

ONEPFRAC_FN __m256i broadcast(const std::int32_t* value) {
    return _mm256_set1_epi32(*value);
}

// Sums over rows of the 32 columns of a word: kTaps masks of two registers each, weights twice in 32 bits.
template <int kTaps>
ONEPFRAC_FN void sum_rows(const __m256i* mask, const std::int32_t* weights, int length, __m256i (&sum)[2]) {
    __m256i left = _mm256_setzero_si256(), right = left;
    const int taps = kTaps == 0 ? length : kTaps;
#pragma GCC unroll 12
    for (int tap = 0; tap < taps; ++tap) {
        const __m256i weight = broadcast(weights + tap);
        left = _mm256_add_epi16(left, _mm256_and_si256(mask[2 * tap], weight));
        right = _mm256_add_epi16(right, _mm256_and_si256(mask[2 * tap + 1], weight));
    }
    sum[0] = left;
    sum[1] = right;
}

// The sums over columns of one picture column, sixteen rows, as grays.
template <int kTaps>
ONEPFRAC_FN __m128i sum_columns(const __m256i* from, const std::int32_t* weights, int length) {
    __m256i upper = _mm256_setzero_si256(), lower = upper;
    const int pairs = (kTaps == 0 ? length : kTaps) / 2;
#pragma GCC unroll 6
    for (int pair = 0; pair < pairs; ++pair) {
        const __m256i weight = broadcast(weights + pair);
        upper = _mm256_add_epi32(upper, _mm256_madd_epi16(from[2 * pair], weight));
        lower = _mm256_add_epi32(lower, _mm256_madd_epi16(from[2 * pair + 1], weight));
    }
    const auto to_gray = [](__m256i sum) {  // gray_of_sum(127 sum), before clipping
        const __m256i scaled = _mm256_sub_epi32(_mm256_slli_epi32(sum, 7), sum);
        const __m256i half = _mm256_set1_epi32(1 << (2 * kWeightBits - 1));
        return _mm256_srai_epi32(_mm256_add_epi32(scaled, half), 2 * kWeightBits);
    };
    static_assert(kInkGray == 127);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(to_gray(upper), to_gray(lower)), 0b11011000);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

// The first pass over rows: sums of sixteen picture rows at a time, 32 columns of the canvas.
template <class L>
class RowPass {
  public:
    RowPass(const Canvas& canvas, const AxisTaps& rows, int size, Arena& arena)
        : canvas_(canvas),
          rows_(rows),
          size_(size),
          masks_(arena.take<__m256i>(2 * static_cast<std::size_t>(rows.end - rows.begin + 2 * rows.length))) {
        const auto count = static_cast<std::size_t>(size) * static_cast<std::size_t>(rows.length);
        weights_ = arena.take<std::int32_t>(count);
        for (std::size_t i = 0; i < count; ++i) {
            weights_[i] = static_cast<std::int32_t>(static_cast<std::uint16_t>(rows.weights[i]) * 0x10001U);
        }
    }

    // Calls store(word, sums), sums[row][half of the word], for the words from first to end of the rows from `top` on;
    // null where they are all zero. Rows beyond the picture hold anything. Returns whether any is not zero.
    template <class Store>
    bool group(int top, int first_word, int end_word, Store&& store) const {
        const __m256i bit =
            _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
        const int stride = canvas_.stride(), count = std::min(kGroup, size_ - top);
        int low = canvas_.height, high = 0;
        for (int r = 0; r < count; ++r) {
            low = std::min(low, rows_.first[top + r]);
            high = std::max(high, rows_.first[top + r] + rows_.length);
        }
        const int end = std::min(high, canvas_.height);
        for (int row = end; row < high; ++row) masks_[2 * (row - low)] = masks_[2 * (row - low) + 1] = __m256i{};
        bool inked = false;
        for (int word = first_word; word < end_word; ++word) {
            const std::uint32_t* from = canvas_.bits + static_cast<std::ptrdiff_t>(low) * stride + word;
            std::uint32_t any = 0;
            for (int row = 0; row < end - low; ++row) any |= from[row * stride];
            if (any == 0) {
                store(word, static_cast<const __m256i(*)[2]>(nullptr));
                continue;
            }
            inked = true;
            for (int row = 0; row < end - low; ++row, from += stride) {
                const __m256i both = _mm256_set1_epi32(static_cast<int>(*from));
                const __m256i left = _mm256_shufflelo_epi16(both, 0), right = _mm256_shufflelo_epi16(both, 0x55);
                masks_[2 * row] = _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_unpacklo_epi64(left, left), bit), bit);
                masks_[2 * row + 1] =
                    _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_unpacklo_epi64(right, right), bit), bit);
            }
            alignas(32) __m256i sums[kGroup][2];
            with_taps(rows_.length, [&](auto taps) {
                for (int r = 0; r < kGroup; ++r) {
                    const int row = std::min(top + r, size_ - 1);
                    sum_rows<decltype(taps)::value>(masks_ + 2 * (rows_.first[row] - low),
                                                    weights_ + static_cast<std::ptrdiff_t>(row) * rows_.length,
                                                    rows_.length, sums[r]);
                }
            });
            store(word, static_cast<const __m256i(*)[2]>(sums));
        }
        return inked;
    }

  private:
    const Canvas& canvas_;
    const AxisTaps& rows_;
    int size_;
    __m256i* masks_;         // of the canvas rows of a group, two registers each
    std::int32_t* weights_;  // of the rows, each twice
};

template <class L>
void resample_bits_avx2(const Canvas& canvas, const AxisTaps& columns, const AxisTaps& rows, int size,
                        std::uint8_t* frame, Arena& arena, Pace& pace) {
    const Arena::Mark mark(arena);
    const RowPass<L> pass(canvas, rows, size, arena);
    const int first_word = columns.begin / 32, end_word = (columns.end + 31) / 32;
    // Sums over rows: [pair of columns][row of the group], two 16-bit sums each; zeros behind the last word.
    const std::size_t room = static_cast<std::size_t>(16 * (end_word - first_word) + columns.length / 2) * kGroup;
    auto* sums = arena.take<std::uint32_t>(room);
    std::memset(sums, 0, room * sizeof(std::uint32_t));
    auto* turned = arena.take<std::uint8_t>(static_cast<std::size_t>(padded(size)) * kGroup);
    std::memset(turned, 0, static_cast<std::size_t>(padded(size)) * kGroup);
    const auto* column_weights = reinterpret_cast<const std::int32_t*>(columns.weights);  // of pairs

    for (int top = 0; top < size; top += kGroup) {
        const bool inked = pass.group(top, first_word, end_word, [&](int word, const __m256i(*of_word)[2]) {
            std::uint32_t* to = sums + static_cast<std::ptrdiff_t>(16 * (word - first_word)) * kGroup;
            if (of_word == nullptr) {
                for (int i = 0; i < 32; ++i) {
                    _mm256_store_si256(reinterpret_cast<__m256i*>(to + 8 * i), _mm256_setzero_si256());
                }
                return;
            }
            for (int half = 0; half < 2; ++half) {
                for (int rows8 = 0; rows8 < 2; ++rows8) {
                    __m256i block[8];
                    for (int i = 0; i < 8; ++i) block[i] = of_word[8 * rows8 + i][half];
                    transpose8(block);
                    for (int i = 0; i < 8; ++i) {
                        _mm256_store_si256(reinterpret_cast<__m256i*>(to + (8 * half + i) * kGroup + 8 * rows8),
                                           block[i]);
                    }
                }
            }
        });
        pace.after(static_cast<std::int64_t>(end_word - first_word) * 32 * rows.length +
                   static_cast<std::int64_t>(size) * columns.length);
        std::uint8_t* out = frame_row(frame, size, top);
        if (!inked) {
            std::memset(out, 0, static_cast<std::size_t>(kGroup * padded(size)));
            continue;
        }
        with_taps(columns.length, [&](auto taps) {
            const int pairs_before = 16 * first_word;
            for (int i = 0; i < size; ++i) {
                const __m128i grays = sum_columns<decltype(taps)::value>(
                    reinterpret_cast<const __m256i*>(sums + (columns.first[i] / 2 - pairs_before) * kGroup),
                    column_weights + static_cast<std::ptrdiff_t>(i) * (columns.length / 2), columns.length);
                _mm_store_si128(reinterpret_cast<__m128i*>(turned + kGroup * i), grays);
            }
        });
        for (int left = 0; left < size; left += kGroup) {
            transpose_bytes(turned + kGroup * left, kGroup, out + left, padded(size));
        }
    }
}

inline constexpr int kVectorTaps = 16;  // columns of a kernel that one register holds

// The weights of each phase, filled up with zeros to one register: [phase][kVectorTaps].
inline const std::int16_t* fill_register(const Weights& weights, Arena& arena) {
    auto* out = arena.take<std::int16_t>(static_cast<std::size_t>(kPhases * kVectorTaps));
    for (int phase = 0; phase < kPhases; ++phase) {
        const std::int16_t* of = weights.of(phase);
        std::int16_t* to = out + phase * kVectorTaps;
        for (int k = 0; k < kVectorTaps; ++k) to[k] = k < weights.taps ? of[k] : std::int16_t{0};
    }
    return out;
}

// Views whose rows are rows of the canvas, shifted against each other (sheared along x): the pass over rows is as
// above; columns are weighted pixel by pixel, up to kVectorTaps of them.
template <class L>
void resample_sheared(const Canvas& canvas, const std::int64_t* along_x, const Weights& wx, const AxisTaps& rows,
                      int size, std::uint8_t* frame, Arena& arena) {
    const Arena::Mark mark(arena);
    const RowPass<L> pass(canvas, rows, size, arena);
    const std::int16_t* by_phase = fill_register(wx, arena);
    // Sums over rows, a margin of the edge's on either side: farther away all taps are there.
    const int width = canvas.width, stride = kVectorTaps + 32 * canvas.stride() + 2 * kVectorTaps;
    auto* sums = arena.take<std::int16_t>(static_cast<std::size_t>(stride * kGroup));
    for (int top = 0; top < size; top += kGroup) {
        const int count = std::min(kGroup, size - top);
        const bool inked = pass.group(top, 0, canvas.stride(), [&](int word, const __m256i(*of_word)[2]) {
            for (int r = 0; r < count; ++r) {
                auto* to = reinterpret_cast<__m256i*>(sums + r * stride + kVectorTaps + 32 * word);
                _mm256_storeu_si256(to, of_word == nullptr ? _mm256_setzero_si256() : of_word[r][0]);
                _mm256_storeu_si256(to + 1, of_word == nullptr ? _mm256_setzero_si256() : of_word[r][1]);
            }
        });
        if (!inked) {
            std::memset(frame_row(frame, size, top), 0, static_cast<std::size_t>(count * padded(size)));
            continue;
        }
        for (int r = 0; r < count; ++r) {
            std::int16_t* line = sums + r * stride + kVectorTaps;
            std::fill(line - kVectorTaps, line, line[0]);
            std::fill(line + width, line + width + 2 * kVectorTaps, line[width - 1]);
            std::int64_t at = position_at(along_x, 0, top + r);
            const auto next = [&] {  // the pixel's products, in pairs of columns
                const Place x = place_of(at);
                at += along_x[0];
                const int left = std::clamp(x.base - wx.reach + 1, -kVectorTaps, width);
                const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line + left));
                const __m256i weights =
                    _mm256_load_si256(reinterpret_cast<const __m256i*>(by_phase + x.phase * kVectorTaps));
                const __m256i products = _mm256_madd_epi16(values, weights);
                return _mm_add_epi32(_mm256_castsi256_si128(products), _mm256_extracti128_si256(products, 1));
            };
            std::uint8_t* out = frame_row(frame, size, top + r);
            for (int i = 0; i < size; i += 4) {  // up to padded(size)
                const __m128i a = next(), b = next(), c = next(), d = next();
                const __m128i sum = _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d));
                const __m128i scaled = _mm_sub_epi32(_mm_slli_epi32(sum, 7), sum);
                const __m128i half = _mm_set1_epi32(1 << (2 * kWeightBits - 1));
                const __m128i gray = _mm_srai_epi32(_mm_add_epi32(scaled, half), 2 * kWeightBits);
                const __m128i words = _mm_packs_epi32(gray, gray);
                const int four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
                std::memcpy(out + i, &four, sizeof four);
            }
        }
    }
}

// A canvas in bits with rows and columns exchanged.
template <class L>
Canvas transposed(const Canvas& canvas, Arena& arena) {
    const Canvas out{nullptr, nullptr, canvas.height, canvas.width};
    const auto words = static_cast<std::size_t>(out.height) * static_cast<std::size_t>(out.stride());
    auto* bits = arena.take<std::uint32_t>(words);
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(canvas.bits);
    const std::ptrdiff_t stride = 4 * static_cast<std::ptrdiff_t>(canvas.stride());
    for (int top = 0; top < canvas.height; top += 32) {
        const int count = std::min(32, canvas.height - top);
        for (int left = 0; left < canvas.width; left += 8) {
            alignas(32) std::uint8_t column[32] = {};
            for (int r = 0; r < count; ++r) column[r] = bytes[(top + r) * stride + left / 8];
            __m256i rows = _mm256_load_si256(reinterpret_cast<const __m256i*>(column));
            for (int c = 7; c >= 0; --c, rows = _mm256_add_epi8(rows, rows)) {
                if (left + c >= canvas.width) continue;
                bits[static_cast<std::ptrdiff_t>(left + c) * out.stride() + top / 32] =
                    static_cast<std::uint32_t>(_mm256_movemask_epi8(rows));
            }
        }
    }
    return {bits, nullptr, out.width, out.height};
}

// Pixel by pixel, for kernels of up to 16 columns. A row's bits become a mask of 16 bits a column, and the row's weight
// is added under it; the sums are then weighted by column. Pixels around which nothing is inked are told from a map of
// 8 x 8 cells.
template <class L>
class VectorSampler {
  public:
    VectorSampler(const Canvas& canvas, const Weights& wx, const Weights& wy, Arena& arena)
        : canvas_(canvas), wx_(wx), wy_(wy), cells_(canvas.stride() * 4) {
        for (int shift = 0; shift < 8; ++shift) {
            alignas(32) std::uint8_t bytes[32];
            alignas(32) std::uint16_t bits[16];
            for (int k = 0; k < kVectorTaps; ++k) {
                bytes[2 * k] = static_cast<std::uint8_t>((k + shift) / 8);
                bytes[2 * k + 1] = 0x80;
                bits[k] = static_cast<std::uint16_t>(1U << ((k + shift) % 8));
            }
            bytes_[shift] = _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes));
            bits_[shift] = _mm256_load_si256(reinterpret_cast<const __m256i*>(bits));
        }
        columns_ = fill_register(wx, arena);
        auto* rows = arena.take<std::int32_t>(static_cast<std::size_t>(kPhases * wy.taps));
        for (int phase = 0; phase < kPhases; ++phase) {
            for (int k = 0; k < wy.taps; ++k) {
                rows[phase * wy.taps + k] =
                    static_cast<std::int32_t>(static_cast<std::uint16_t>(wy.of(phase)[k]) * 0x10001U);
            }
        }
        rows_ = rows;
        find_inked(arena);
    }

    template <int kTaps>
    void row(const Shot& shot, int row, Span columns, std::uint8_t* out) const {
        const std::ptrdiff_t stride = 4 * static_cast<std::ptrdiff_t>(canvas_.stride());
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(canvas_.bits);
        const int taps = kTaps == 0 ? wy_.taps : kTaps;
        std::int64_t x_at = position_at(shot.view, columns.begin, row);
        std::int64_t y_at = position_at(shot.view + 3, columns.begin, row);
        for (int i = columns.begin; i < columns.end; ++i, x_at += shot.view[0], y_at += shot.view[3]) {
            const Place x = place_of(x_at), y = place_of(y_at);
            const int left = x.base - wx_.reach + 1, top = y.base - wy_.reach + 1;
            if (left < 0 || left + wx_.taps > canvas_.width || top < 0 || top + taps > canvas_.height) {
                out[i] = static_cast<std::uint8_t>(gray_of_sum(kInkGray * sum_at_edge<L>(canvas_, wx_, wy_, x, y)));
                continue;
            }
            if (inked_[(top >> 3) * cells_ + (left >> 3)] == 0) {
                out[i] = 0;
                continue;
            }
            const std::uint8_t* from = bytes + top * stride + (left >> 3);
            const __m256i pick = bytes_[left & 7], bit = bits_[left & 7];
            const std::int32_t* weights = rows_ + y.phase * taps;
            __m256i sums = _mm256_setzero_si256();
#pragma GCC unroll 12
            for (int v = 0; v < taps; ++v) {
                std::int32_t word = 0;
                std::memcpy(&word, from + v * stride, sizeof word);
                const __m256i picked = _mm256_shuffle_epi8(_mm256_set1_epi32(word), pick);
                const __m256i mask = _mm256_cmpeq_epi16(_mm256_and_si256(picked, bit), bit);
                sums = _mm256_add_epi16(sums, _mm256_and_si256(mask, broadcast(weights + v)));
            }
            const __m256i by_column =
                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns_ + x.phase * kVectorTaps));
            const __m256i pairs = _mm256_madd_epi16(sums, by_column);
            __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
            sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0b01001110));
            sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0b10110001));
            out[i] = static_cast<std::uint8_t>(gray_of_sum(kInkGray * _mm_cvtsi128_si32(sum)));
        }
    }

  private:
    // Whether anything is inked in the 3 x 3 cells from each cell on, which hold any kernel that begins in it.
    void find_inked(Arena& arena) {
        const int rows = (canvas_.height + 7) / 8;
        const auto count = static_cast<std::size_t>((rows + 2) * cells_ + 2);
        auto* any = arena.take<std::uint8_t>(count);
        auto* inked = arena.take<std::uint8_t>(count);
        std::memset(any, 0, count);
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(canvas_.bits);
        for (int row = 0; row < canvas_.height; ++row) {
            std::uint8_t* to = any + (row / 8) * cells_;
            const std::uint8_t* from = bytes + static_cast<std::ptrdiff_t>(row) * cells_;
            for (int c = 0; c < cells_; ++c) to[c] |= from[c];
        }
        // Beyond a row's last cell the next row's first ones are read: at worst a pixel is worked out in vain.
        for (int at = 0; at < rows * cells_; ++at) {
            const std::uint8_t *a = any + at, *b = a + cells_, *c = b + cells_;
            inked[at] = static_cast<std::uint8_t>(a[0] | a[1] | a[2] | b[0] | b[1] | b[2] | c[0] | c[1] | c[2]);
        }
        inked_ = inked;
    }

    const Canvas& canvas_;
    const Weights &wx_, &wy_;
    int cells_;                    // a row of them
    __m256i bytes_[8], bits_[8];   // of a kernel that begins at each bit of a byte: its bytes, and its bits in those
    const std::int16_t* columns_;  // [phase][kVectorTaps]
    const std::int32_t* rows_;     // [phase][taps], each twice
    const std::uint8_t* inked_;
};

// PlainBits (resample.h) in AVX2 registers.
template <class L>
struct VectorBits {
    static void resample(const Canvas& canvas, const AxisTaps& columns, const AxisTaps& rows, int size,
                         std::uint8_t* frame, Arena& arena, Pace& pace) {
        resample_bits_avx2<L>(canvas, columns, rows, size, frame, arena, pace);
    }

    static void sample(const Canvas& canvas, const Shot& shot, const Weights& wx, const Weights& wy, int size,
                       std::uint8_t* frame, Arena& arena, Pace& pace) {
        if (wx.taps > kVectorTaps || wy.taps > kVectorTaps) {
            PlainBits<L>::sample(canvas, shot, wx, wy, size, frame, arena, pace);
            return;
        }
        const std::int64_t* view = shot.view;
        if (view[3] == 0) {  // sheared along x
            const AxisTaps rows = make_axis_taps<L>(view[4], view[5], size, canvas.height, wy, false, arena);
            resample_sheared<L>(canvas, view, wx, rows, size, frame, arena);
            return;
        }
        if (view[1] == 0) {  // along y: the same with canvas and picture transposed
            const Canvas turned = transposed<L>(canvas, arena);
            const std::int64_t along[3] = {view[4], view[3], view[5]};
            const AxisTaps rows = make_axis_taps<L>(view[0], view[2], size, turned.height, wx, false, arena);
            const auto side = static_cast<std::size_t>(padded(size));
            auto* other = arena.take<std::uint8_t>(side * side);
            resample_sheared<L>(turned, along, wy, rows, size, other, arena);
            for (int top = 0; top < size; top += kGroup) {
                for (int left = 0; left < size; left += kGroup) {
                    transpose_bytes(other + static_cast<std::ptrdiff_t>(top) * padded(size) + left, padded(size),
                                    frame_row(frame, size, left) + top, padded(size));
                }
            }
            return;
        }
        const VectorSampler<L> sampler(canvas, wx, wy, arena);
        with_taps(wy.taps, [&](auto taps) {
            each_row<L>(shot, size, [&](int row, Span columns) {
                sampler.template row<decltype(taps)::value>(shot, row, columns, frame_row(frame, size, row));
                pace.after(static_cast<std::int64_t>(size) * wy.taps);
            });
        });
    }
};

}  // namespace onepfrac
