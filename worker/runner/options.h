// Options that several commands share: which model, which method, which device.
#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schemas/status.h"
#include "worker/inference/engine.h"
#include "worker/inference/model_files.h"
#include "worker/runner/command.h"

namespace bitsweep {

struct ModelChoice {
    std::string model;  // folder, GGUF file, or a name
    std::string weights = "real";
    std::uint64_t seed = 0;
    int planted = RandomWeightsOptions{}.outlier_columns;  // outlier columns of random weights
    std::vector<std::string> model_dirs;
    std::string device = "cpu";
};

struct MethodChoice {
    std::string method = "fp32";
    double threshold = -1;  // below 0: not given
    bool threshold_given = false;
    int head_bits = 16;
    std::string kv = "16";
    int threads = 0;              // 0: one per core
    std::string decode = "auto";  // on a card: auto | steps
};

boost::program_options::options_description model_options(ModelChoice& to);
boost::program_options::options_description method_options(MethodChoice& to);

// "auto" or "steps"; invalid_input.
Result<DecodePath> parse_decode_path(const std::string& text);

// Parses; on --help prints `usage` and the options to stdout. Throws what Boost throws.
enum class Parsed { run, help_shown };
Parsed parse(const Arguments& arguments, const std::string& usage,
             const boost::program_options::options_description& options,
             boost::program_options::variables_map* found = nullptr);

// Opens what was chosen; not_found, invalid_input ("--weights" is real or random).
Result<ModelFiles> open_chosen(const ModelChoice& choice);

// Checks device (devices.h), method, threshold, head and way of decoding. `context` and `batch` are
// left to the caller.
Result<EngineOptions> engine_options_of(const MethodChoice& choice, const std::string& device);

// `code`, or 1 with a line on stderr where standard output did not take the whole answer (a full
// disk; a pipe whose reader had enough is none).
int with_whole_output(int code);

// Prints "bitsweep-runner COMMAND: message" on stderr; 2 for what the user can mend, else 1.
int report(const char* command, const Error& error);

}  // namespace bitsweep
