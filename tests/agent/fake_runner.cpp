// A runner that computes nothing and misbehaves on demand: the job's prompt says how. It speaks the
// line protocol of worker/agent/README.md.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "tests/agent/runner_program.h"

namespace {

using namespace bitsweep;

void sleep_ms(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

RunResult result_of(const Dispatch& job) {
    RunResult result = result_for(job);
    result.started_unix_ms = 1;
    result.finished_unix_ms = 2;
    result.measurements.push_back({"fake_pid", "1", 0, static_cast<double>(getpid())});
    return result;
}

void work_for(int ms) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    while (std::chrono::steady_clock::now() < end) {
        write_text("{\"progress\":\"working\"}\n");
        sleep_ms(20);
    }
}

// The number after the last space, else 0.
int number_in(const std::string& prompt) {
    const std::size_t space = prompt.rfind(' ');
    return space == std::string::npos ? 0 : std::atoi(prompt.c_str() + space);
}

// By the signal, also where a sanitizer would make a report and an exit status of it.
void segfault() {
    std::signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

void misbehave(const std::string& prompt, const Dispatch& job) {
    if (prompt == "segfault") {
        std::fputs("about to touch what is not ours\n", stderr);
        segfault();
    } else if (prompt == "exit 3") {
        std::fputs("giving up\n", stderr);
        _exit(3);
    } else if (prompt == "bad_alloc") {
        throw std::bad_alloc();
    } else if (prompt == "cuda out of memory") {
        std::fputs("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate\n", stderr);
        _exit(1);
    } else if (prompt == "eat memory") {
        std::vector<char> eaten(256u << 20, 'x');
        work_for(20'000);
        std::fprintf(stderr, "%d\n", eaten[getpid() % 100]);
    } else if (prompt == "hang") {
        sleep_ms(600'000);
    } else if (prompt == "hang and ignore SIGTERM") {
        std::signal(SIGTERM, SIG_IGN);
        for (;;) {
            sleep_ms(1'000);
        }
    } else if (prompt == "garbage") {
        write_text("Warning: this is not JSON\n");
        sleep_ms(600'000);
    } else if (prompt == "half") {
        const std::string line = to_json(result_of(job));
        write_text(line.substr(0, line.size() / 2));
        _exit(0);
    } else if (prompt == "another job") {
        Dispatch other = job;
        other.key = {std::string(64, 'f')};
        write_text(to_json(result_of(other)) + "\n");
        sleep_ms(600'000);
    } else if (prompt == "noise") {
        for (int i = 0; i < 20'000; ++i) {
            std::puts("{\"progress\":\"a library that prints to standard output\"}");
            std::fputs("warning\n", stderr);
        }
        std::fflush(stdout);
    } else if (prompt.rfind("work ", 0) == 0) {
        work_for(number_in(prompt));
    }
}

// "100" or "100 window_throttled": the rate that a test wants measured from now on, and what was
// wrong with the window.
void measure(RunResult& result) {
    const char* file = std::getenv("FAKE_RUNNER_RATE");
    double rate = 0;
    std::string flag;
    std::ifstream stream(file == nullptr ? "" : file);
    if (stream >> rate) {
        result.measurements.push_back({"decode_tokens_per_s", "token/s", 0, rate});
    }
    if (stream >> flag) {
        result.measurements.push_back({flag, "1", 0, 1});
    }
}

// One line for each job ever started, where a test asks for it.
void note_start(const Dispatch& job) {
    if (const char* file = std::getenv("FAKE_RUNNER_JOBS")) {
        std::ofstream(file, std::ios::app) << job.key.value << "\n";
    }
}

void run_one(const Dispatch& job) {
    note_start(job);
    write_text("{\"progress\":\"loading\"}\n");
    const std::string& prompt = job.spec.prompt;
    misbehave(prompt, job);
    RunResult result = result_of(job);
    measure(result);
    if (prompt == "fail") {
        result.outcome = {OutcomeClass::failure, "as asked", ""};
    }
    write_text(to_json(result) + "\n");
    if (prompt == "crash after the result") {
        segfault();
    }
}

}  // namespace

int main(int count, char** words) {
    const char* mood = std::getenv("FAKE_RUNNER_CAPABILITIES");
    if (mood != nullptr && count > 1 && std::strcmp(words[1], "capabilities") == 0) {
        std::fprintf(stderr, "no torch here\n");
        std::puts(mood);
        return std::strcmp(mood, "fail") == 0 ? 1 : 0;
    }
    return run_program(
        {.host = "fake",
         .cpu = "Fake CPU",
         .models = {"gpt2-nano", "llama-nano", "llama-micro", "llama-pico", "opt-nano"},
         .run = run_one},
        count, words);
}
