// Lets a call of seconds end early, as Ctrl-C asks for. Every thread that works calls check() now and then; only the
// thread that made the call asks whether to end, at most every kPeriod, and the others follow.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>
#include <utility>

namespace onepfrac {

// Thrown on the threads that follow; never reaches the caller.
struct Stopped : std::exception {};

class Interrupt {
  public:
    // `ask` throws where the work shall end, and returns whether it may be asked again. Empty: nothing ends the work.
    explicit Interrupt(std::function<bool()> ask = {}) : ask_(std::move(ask)) {}
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

    // Throws what `ask` throws on the thread that made this object, Stopped on others once the work shall end.
    void check() {
        if (stopped_.load(std::memory_order_relaxed)) throw Stopped();
        if (!ask_ || std::this_thread::get_id() != caller_) return;
        const auto now = Clock::now();
        if (now < next_) return;
        next_ = now + kPeriod;
        try {
            if (!ask_()) next_ = Clock::time_point::max();
        } catch (...) {
            stop();
            throw;
        }
    }

    void stop() { stopped_.store(true, std::memory_order_relaxed); }

    // Calls shorter than this are never interrupted, and never ask.
    static constexpr std::chrono::milliseconds kPeriod{25};

  private:
    using Clock = std::chrono::steady_clock;

    const std::function<bool()> ask_;
    const std::thread::id caller_ = std::this_thread::get_id();
    Clock::time_point next_ = Clock::now() + kPeriod;
    std::atomic<bool> stopped_{false};
};

// For loops whose rounds may be too short to check after each of them, or too long not to.
class Pace {
  public:
    explicit Pace(Interrupt& interrupt) : interrupt_(interrupt) {}

    // After `work` steps of a nanosecond or less each: checks once some have come together.
    void after(std::int64_t work) {
        done_ += work;
        if (done_ < kWork) return;
        done_ = 0;
        interrupt_.check();
    }

  private:
    static constexpr std::int64_t kWork = 1 << 20;

    Interrupt& interrupt_;
    std::int64_t done_ = 0;
};

}  // namespace onepfrac
