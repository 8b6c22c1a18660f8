#include "tests/runner/support.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>

#include "schemas/codec.h"

namespace bitsweep::test {
namespace {

namespace fs = std::filesystem;

std::string read_all(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

void write_all(const fs::path& file, const std::string& text) {
    std::ofstream(file, std::ios::binary) << text;
}

std::string quoted(const std::string& word) {
    std::string text = "'";
    for (const char c : word) {
        text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    }
    return text + "'";
}

template <class T>
std::vector<T> as(const Tensor& tensor, const char* dtype) {
    EXPECT_EQ(dtype, tensor.dtype);
    std::vector<T> values(tensor.bytes.size() / sizeof(T));
    std::ranges::copy(tensor.bytes, std::as_writable_bytes(std::span(values)).begin());
    return values;
}

}  // namespace

fs::path source_dir() {
    return BITSWEEP_SOURCE_DIR;
}

fs::path runner_program() {
    return fs::path(BITSWEEP_BIN_DIR) / "bitsweep-runner";
}

fs::path model_path(const std::string& name) {
    return source_dir() / "experiments/models" / name;
}

Ended shell(const std::string& command, const std::string& input) {
    const TempFolder folder;
    write_all(folder.path() / "in", input);
    write_all(folder.path() / "script", "RUNNER=" + quoted(runner_program()) + "\n" + command);
    const std::string at = folder.path().string();
    const std::string line = "bash " + at + "/script <" + at + "/in >" + at + "/out 2>" + at +
                             "/err 3>" + at + "/results";
    const int status = std::system(line.c_str());
    Ended ended;
    // The outer shell reports a signal of the inner one as 128 + signal.
    ended.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    ended.out = read_all(folder.path() / "out");
    ended.err = read_all(folder.path() / "err");
    ended.results = read_all(folder.path() / "results");
    return ended;
}

Ended runner(const std::vector<std::string>& arguments) {
    std::string command = "\"$RUNNER\"";
    for (const std::string& argument : arguments) {
        command += " " + quoted(argument);
    }
    return shell(command + "\n");
}

JobSpec job_of(const std::string& model, const std::string& method) {
    JobSpec spec;
    spec.model.name = model;
    spec.model.path = model_path(model);
    spec.method = method;
    spec.protocol = Protocol::quick;
    spec.new_tokens = 16;
    spec.quality.tokens = 512;
    spec.quality.window = 256;
    return spec;
}

Dispatch dispatch_of(JobSpec spec, int number) {
    Dispatch dispatch;
    char key[65];
    std::snprintf(key, sizeof key, "%064x", number);
    dispatch.key = {key};
    dispatch.attempt = {1};
    dispatch.device = "cpu";
    dispatch.timeout = {60'000};
    dispatch.spec = std::move(spec);
    return dispatch;
}

Served serve(const std::vector<Dispatch>& jobs, const std::string& options,
             const std::string& before) {
    std::string input;
    for (const Dispatch& job : jobs) {
        input += to_json(Message(job)) + "\n";
    }
    Served served;
    served.process = shell(before + "exec \"$RUNNER\" job --device cpu --result-fd 3 --data " +
                               quoted(source_dir() / "experiments/data") + " --models " +
                               quoted(source_dir() / "experiments/models") + " " + options + "\n",
                           input);
    std::istringstream lines(served.process.results);
    for (std::string line; std::getline(lines, line);) {
        const auto json = nlohmann::json::parse(line, nullptr, false);
        EXPECT_FALSE(json.is_discarded()) << line;
        if (json.contains("progress")) {
            served.progress.push_back(json["progress"]);
            continue;
        }
        auto result = result_from_json(line);
        EXPECT_TRUE(result.ok()) << (result ? "" : result.error().message);
        if (result) {
            served.results.push_back(std::move(*result));
        }
        served.progress.emplace_back("RESULT");
    }
    return served;
}

Served serve(const std::vector<JobSpec>& specs, const std::string& options) {
    std::vector<Dispatch> jobs;
    for (const JobSpec& spec : specs) {
        jobs.push_back(dispatch_of(spec, static_cast<int>(jobs.size()) + 1));
    }
    return serve(jobs, options);
}

std::map<std::string, double> values_of(const RunResult& result) {
    std::map<std::string, double> values;
    for (const Measurement& one : result.measurements) {
        values[one.metric] = one.value;
    }
    return values;
}

fs::path copy_model(const std::string& name, const fs::path& to) {
    fs::copy(model_path(name), to / name);
    fs::copy(source_dir() / "experiments/models/tokenizer.json", to / "tokenizer.json");
    return to / name;
}

std::vector<float> Tensor::floats() const {
    return as<float>(*this, "F32");
}

std::vector<std::int32_t> Tensor::ints() const {
    return as<std::int32_t>(*this, "I32");
}

std::map<std::string, Tensor> read_safetensors(const fs::path& file) {
    const std::string text = read_all(file);
    std::map<std::string, Tensor> tensors;
    std::uint64_t length = 0;
    EXPECT_GE(text.size(), sizeof length) << file;
    if (text.size() < sizeof length) {
        return tensors;
    }
    std::memcpy(&length, text.data(), sizeof length);
    const auto header = nlohmann::json::parse(text.substr(8, length), nullptr, false);
    EXPECT_TRUE(header.is_object()) << file;
    for (const auto& [name, facts] : header.items()) {
        if (name == "__metadata__") {
            continue;
        }
        const std::uint64_t begin = facts["data_offsets"][0];
        const std::uint64_t end = facts["data_offsets"][1];
        const auto* from = reinterpret_cast<const std::byte*>(text.data()) + 8 + length;
        Tensor tensor{facts["shape"], facts["dtype"], {from + begin, from + end}};
        tensors.emplace(name, std::move(tensor));
    }
    return tensors;
}

}  // namespace bitsweep::test
