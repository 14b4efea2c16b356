#include "thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

namespace onepfrac {

namespace {

// One call of parallel_for. Threads take items from `next` until none is left.
struct Job {
    std::int64_t count;
    Interrupt& interrupt;
    const std::function<void(std::int64_t)>& work;
    std::atomic<std::int64_t> next{0};
    int helpers = 0;  // pool threads that are inside run(); guarded by the pool's mutex
    int wanted;       // pool threads that may still join; guarded by the pool's mutex
    std::mutex error_mutex;
    std::exception_ptr error;

    void run() {
        try {
            for (std::int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
                work(i);
                interrupt.check();
            }
        } catch (const Stopped&) {
            next.store(count);  // why it stopped, another thread has told
        } catch (...) {
            fail();
        }
    }

    // Ends the job with the exception that is being handled.
    void fail() {
        next.store(count);
        interrupt.stop();
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
    }
};

class Pool {
  public:
    void run(Job& job) {
        {
            const std::lock_guard lock(mutex_);
            while (threads_ < job.wanted) {
                try {
                    std::thread(&Pool::serve, this).detach();
                } catch (const std::exception&) {
                    break;  // no more threads, or no memory for one: those there are, and the caller, do the work
                }
                ++threads_;
            }
            jobs_.push_back(&job);
        }
        wake_.notify_all();
        job.run();
        std::unique_lock lock(mutex_);
        std::erase(jobs_, &job);
        while (!done_.wait_for(lock, Interrupt::kPeriod, [&] { return job.helpers == 0; })) {
            lock.unlock();  // asking may run any code of the caller's
            try {
                job.interrupt.check();
            } catch (const Stopped&) {
            } catch (...) {
                job.fail();
            }
            lock.lock();
        }
    }

  private:
    [[noreturn]] void serve() {
        pthread_setname_np(pthread_self(), "onepfrac");  // as `top -H` shows it
        std::unique_lock lock(mutex_);
        for (;;) {
            const auto open = std::find_if(jobs_.begin(), jobs_.end(), [](const Job* job) { return job->wanted > 0; });
            if (open == jobs_.end()) {
                wake_.wait(lock);
                continue;
            }
            Job& job = **open;
            --job.wanted;
            ++job.helpers;
            lock.unlock();
            job.run();
            lock.lock();
            --job.helpers;
            done_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::deque<Job*> jobs_;
    int threads_ = 0;
};

// Never destroyed: its threads sleep when the process exits. After a fork the child has none of them, so that it starts
// with no pool; the parent's memory is left alone.
std::atomic<Pool*> pool{nullptr};

// When the library is loaded, not when the first pool starts: a fork in that moment would leave the child waiting.
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); });

Pool& current_pool() {
    Pool* existing = pool.load();
    if (existing == nullptr) {
        auto fresh = std::make_unique<Pool>();
        if (pool.compare_exchange_strong(existing, fresh.get())) existing = fresh.release();
    }
    return *existing;
}

}  // namespace

void parallel_for(std::int64_t count, int threads, Interrupt& interrupt,
                  const std::function<void(std::int64_t)>& work) {
    const auto helpers = static_cast<int>(std::min<std::int64_t>(threads, count)) - 1;
    Job job{.count = count,
            .interrupt = interrupt,
            .work = work,
            .wanted = std::max(helpers, 0),
            .error_mutex = {},
            .error = {}};
    if (helpers > 0) {
        current_pool().run(job);
    } else {
        job.run();
    }
    if (job.error) std::rethrow_exception(job.error);
}

}  // namespace onepfrac
