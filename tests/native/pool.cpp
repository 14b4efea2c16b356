// The thread pool alone, for ThreadSanitizer: several threads call it at once, with items that write, calls within
// calls, items that all throw, and calls that are interrupted. Small enough to be compiled in every run of the tests.
//
//     pool ROUNDS    prints "N comparisons, D differ" and ends with 1 if any did

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/cpu/thread_pool.h"

namespace {

using onepfrac::Interrupt;
using onepfrac::parallel_for;

constexpr int kItems = 37;  // no multiple of a number of threads

struct Failed : std::exception {};
struct Enough : std::exception {};

// Every item is done once, and the caller sees what the other threads wrote.
bool items_are_done_once(int threads) {
    std::vector<int> done(kItems);
    Interrupt never;
    parallel_for(kItems, threads, never, [&](std::int64_t item) { done[static_cast<std::size_t>(item)] += 1; });
    return done == std::vector<int>(kItems, 1);
}

bool calls_may_be_nested(int threads) {
    std::vector<int> sums(kItems);
    Interrupt never;
    parallel_for(kItems, threads, never, [&](std::int64_t item) {
        std::vector<int> inner(kItems);
        Interrupt own;
        parallel_for(kItems, threads, own, [&](std::int64_t i) { inner[static_cast<std::size_t>(i)] = 1; });
        sums[static_cast<std::size_t>(item)] = std::accumulate(inner.begin(), inner.end(), 0);
    });
    return sums == std::vector<int>(kItems, kItems);
}

// Threads fail in the same moment: the first items wait for each other, a while.
bool one_failure_of_many_arrives(int threads) {
    std::atomic<int> arrived{0};
    Interrupt never;
    try {
        parallel_for(kItems, threads, never, [&](std::int64_t) {
            ++arrived;
            const auto late = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
            while (arrived.load() < threads && std::chrono::steady_clock::now() < late) std::this_thread::yield();
            throw Failed();
        });
    } catch (const Failed&) {
        return true;
    }
    return false;
}

bool an_interrupt_ends_a_call(int threads) {
    Interrupt interrupt([]() -> bool { throw Enough(); });
    try {
        parallel_for(1'000'000, threads, interrupt,
                     [](std::int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
    } catch (const Enough&) {
        return true;
    }
    return false;
}

}  // namespace

int main(int count, char** words) {
    const int rounds = count > 1 ? std::stoi(words[1]) : 1;
    std::atomic<int> comparisons{0}, differ{0};
    const auto expect = [&](bool held) {
        ++comparisons;
        if (!held) ++differ;
    };
    std::vector<std::thread> callers;
    callers.reserve(4);
    for (int caller = 0; caller < 4; ++caller) {
        callers.emplace_back([&, caller] {
            for (int round = 0; round < rounds; ++round) {
                const int threads = 1 + (caller + round) % 4;
                expect(items_are_done_once(threads));
                expect(calls_may_be_nested(threads));
                expect(one_failure_of_many_arrives(threads));
                if (round % 8 == 0) expect(an_interrupt_ends_a_call(threads));
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    std::printf("%d comparisons, %d differ\n", comparisons.load(), differ.load());
    return differ.load() == 0 ? 0 : 1;
}
