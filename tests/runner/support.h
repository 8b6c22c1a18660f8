// Runs the real bitsweep-runner: lines in, lines out on a descriptor of its own.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "schemas/message.h"
#include "tests/temp_folder.h"

namespace bitsweep::test {

std::filesystem::path source_dir();
std::filesystem::path runner_program();
std::filesystem::path model_path(const std::string& name);  // experiments/models/NAME

struct Ended {
    int exit_code = -1;  // -signal when a signal ended it
    std::string out;
    std::string err;
    std::string results;  // what came on descriptor 3
};

// `command` in bash, with bitsweep-runner as $RUNNER and `input` on standard input.
Ended shell(const std::string& command, const std::string& input = "");

// `bitsweep-runner ARGUMENTS`, quoted as they stand.
Ended runner(const std::vector<std::string>& arguments);

// A quick job of a committed model: 16 new tokens, 512 quality tokens in windows of 256.
JobSpec job_of(const std::string& model, const std::string& method);

struct Served {
    Ended process;
    std::vector<RunResult> results;
    std::vector<std::string> progress;  // words, in order; "RESULT" where a result came
};

// `bitsweep-runner job` for these specs, in one process. `options` are appended to the command,
// `before` are shell lines such as a ulimit.
Served serve(const std::vector<Dispatch>& jobs, const std::string& options = "",
             const std::string& before = "");
Served serve(const std::vector<JobSpec>& specs, const std::string& options = "");
Dispatch dispatch_of(JobSpec spec, int number = 1);

// Metric -> value.
std::map<std::string, double> values_of(const RunResult& result);

// Copies a committed model, tokenizer included, so that a test may damage it.
std::filesystem::path copy_model(const std::string& name, const std::filesystem::path& to);

// One float32 tensor of a safetensors file.
struct Tensor {
    std::vector<std::int64_t> shape;
    std::string dtype;
    std::vector<std::byte> bytes;
    std::vector<float> floats() const;
    std::vector<std::int32_t> ints() const;
};
std::map<std::string, Tensor> read_safetensors(const std::filesystem::path& file);

}  // namespace bitsweep::test
