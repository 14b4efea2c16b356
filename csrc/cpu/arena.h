// A thread's working memory: parts are taken one after the other and given back together. Grown where needed and kept
// between images. AddressSanitizer is told which bytes are taken, so that it sees a step from one part into the next.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace onepfrac {

class Arena {
  public:
    // Gives back, when it goes, what was taken after it was made.
    class Mark {
      public:
        explicit Mark(Arena& arena) : arena_(arena), chunk_(arena.chunk_), used_(arena.used_) {}
        ~Mark() {
            arena_.chunk_ = chunk_;
            arena_.used_ = used_;
        }
        Mark(const Mark&) = delete;
        Mark& operator=(const Mark&) = delete;

      private:
        Arena& arena_;
        std::size_t chunk_, used_;
    };

    // Room for `count` values, on a page of its own where it is large; what it holds is left over from before.
    template <class T>
    T* take(std::size_t count) {
        return reinterpret_cast<T*>(take_bytes(count * sizeof(T)));
    }

  private:
    static constexpr std::size_t kLine = 64;
    static constexpr std::size_t kFirstChunk = std::size_t{1} << 20;
    static constexpr std::align_val_t kAlignment{4096};  // a page: at an odd 64 bytes images take 6 % longer
    struct Free {
        void operator()(std::byte* p) const { ::operator delete(p, kAlignment); }
    };
    struct Chunk {
        std::unique_ptr<std::byte, Free> memory;
        std::size_t size;
    };

    std::byte* take_bytes(std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
        const std::size_t whole = (bytes + 2 * kLine - 1) / kLine * kLine;  // a line between this part and the next
#else
        const std::size_t whole = (bytes + kLine - 1) / kLine * kLine;
#endif
        while (chunk_ < chunks_.size() && chunks_[chunk_].size - used_ < whole) {
            ++chunk_;
            used_ = 0;
        }
        if (chunk_ == chunks_.size()) {
            const std::size_t size = whole > kFirstChunk ? whole : kFirstChunk;
            chunks_.push_back(
                {std::unique_ptr<std::byte, Free>(static_cast<std::byte*>(::operator new(size, kAlignment))), size});
            used_ = 0;
        }
        std::byte* found = chunks_[chunk_].memory.get() + used_;
        used_ += whole;
#if defined(__SANITIZE_ADDRESS__)
        ASAN_UNPOISON_MEMORY_REGION(found, bytes);
        ASAN_POISON_MEMORY_REGION(found + bytes, whole - bytes);
#endif
        return found;
    }

    std::vector<Chunk> chunks_;
    std::size_t chunk_ = 0, used_ = 0;
};

}  // namespace onepfrac
