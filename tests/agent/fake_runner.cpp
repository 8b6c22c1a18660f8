// A runner that computes nothing and misbehaves on demand: the job's prompt says how. It speaks the
// line protocol of worker/agent/README.md.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "schemas/codec.h"

namespace {

using namespace bitsweep;

void write_text(const std::string& text) {
    std::size_t written = 0;
    while (written < text.size()) {
        const ssize_t count = write(3, text.data() + written, text.size() - written);
        if (count <= 0) {
            _exit(9);
        }
        written += static_cast<std::size_t>(count);
    }
}

void sleep_ms(int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

RunResult result_of(const Dispatch& job) {
    RunResult result;
    result.key = job.key;
    result.attempt = job.attempt;
    result.started_unix_ms = 1;
    result.finished_unix_ms = 2;
    result.weights_digest = job.weights_digest;
    result.dataset_digest = job.dataset_digest;
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

void misbehave(const std::string& prompt, const Dispatch& job) {
    if (prompt == "segfault") {
        std::fputs("about to touch what is not ours\n", stderr);
        raise(SIGSEGV);
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

int serve() {
    for (std::string line; std::getline(std::cin, line);) {
        const Result<Message> message = message_from_json(line);
        const auto* job = message ? std::get_if<Dispatch>(&*message) : nullptr;
        if (job == nullptr) {
            std::fputs("not a dispatch\n", stderr);
            return 4;
        }
        note_start(*job);
        write_text("{\"progress\":\"loading\"}\n");
        const std::string& prompt = job->spec.prompt;
        misbehave(prompt, *job);
        RunResult result = result_of(*job);
        measure(result);
        if (prompt == "fail") {
            result.outcome = {OutcomeClass::failure, "as asked", ""};
        }
        write_text(to_json(result) + "\n");
        if (prompt == "crash after the result") {
            raise(SIGSEGV);
        }
    }
    return 0;
}

int capabilities() {
    Hello hello;
    hello.worker = {"capabilities"};
    hello.session = {"capabilities"};
    hello.host = "fake";
    hello.version = "fake-1";
    hello.devices = {{"cpu", "cpu", "Fake CPU", 1u << 30, 1u << 29, {{"cores", "2"}}}};
    hello.models = {"gpt2-nano", "llama-nano", "llama-micro", "llama-pico", "opt-nano"};
    std::puts(to_json(Message(hello)).c_str());
    return 0;
}

}  // namespace

int main(int count, char** words) {
    const std::string command = count > 1 ? words[1] : "";
    if (command == "capabilities") {
        if (const char* mood = std::getenv("FAKE_RUNNER_CAPABILITIES")) {
            std::fprintf(stderr, "no torch here\n");
            std::puts(mood);
            return std::strcmp(mood, "fail") == 0 ? 1 : 0;
        }
        return capabilities();
    }
    if (command == "job") {
        return serve();
    }
    return 2;
}
