// The command line and the lines (worker/agent/README.md) of the tests' own runners.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "schemas/codec.h"

namespace bitsweep {

// To the descriptor of the results; ends the process where nobody reads it any more.
inline void write_text(const std::string& text) {
    std::size_t written = 0;
    while (written < text.size()) {
        const ssize_t count = write(3, text.data() + written, text.size() - written);
        if (count <= 0) {
            _exit(9);
        }
        written += static_cast<std::size_t>(count);
    }
}

// The head of every result.
inline RunResult result_for(const Dispatch& job) {
    RunResult result;
    result.key = job.key;
    result.attempt = job.attempt;
    result.weights_digest = job.weights_digest;
    result.dataset_digest = job.dataset_digest;
    return result;
}

struct RunnerProgram {
    std::string host;
    std::string cpu;                           // name of its only device
    std::vector<std::string> models;           // empty: any
    std::function<void(const Dispatch&)> run;  // writes its own lines
};

inline int capabilities_of(const RunnerProgram& program) {
    Hello hello;
    hello.worker = {"capabilities"};
    hello.session = {"capabilities"};
    hello.host = program.host;
    hello.version = program.host + "-1";
    hello.devices = {{"cpu", "cpu", program.cpu, 1u << 30, 1u << 29, {{"cores", "2"}}}};
    hello.models = program.models;
    std::puts(to_json(Message(hello)).c_str());
    return 0;
}

inline int serve_jobs(const RunnerProgram& program) {
    for (std::string line; std::getline(std::cin, line);) {
        const Result<Message> message = message_from_json(line);
        const auto* job = message ? std::get_if<Dispatch>(&*message) : nullptr;
        if (job == nullptr) {
            std::fputs("not a dispatch\n", stderr);
            return 4;
        }
        program.run(*job);
    }
    return 0;
}

inline int run_program(const RunnerProgram& program, int count, char** words) {
    const std::string command = count > 1 ? words[1] : "";
    return command == "capabilities" ? capabilities_of(program)
           : command == "job"        ? serve_jobs(program)
                                     : 2;
}

}  // namespace bitsweep
