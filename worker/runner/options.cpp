#include "worker/runner/options.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "worker/metrics/run_queue.h"
#include "worker/runner/devices.h"
#include "worker/runner/job_plan.h"
#include "worker/runner/model_session.h"

namespace bitsweep {

namespace po = boost::program_options;

po::options_description model_options(ModelChoice& to) {
    po::options_description options("Model");
    options.add_options()("model", po::value(&to.model)->value_name("PATH|NAME"),
                          "Hugging Face folder, .gguf file, or a name");
    options.add_options()("weights", po::value(&to.weights)->value_name("real|random"),
                          "random: seeded weights of a named shape");
    options.add_options()("seed", po::value(&to.seed)->value_name("N"), "of random weights");
    options.add_options()("planted", po::value(&to.planted)->value_name("N"),
                          "outlier columns of random weights (6)");
    options.add_options()("models", po::value(&to.model_dirs)->value_name("DIR")->composing(),
                          "folder to search names in; may be repeated");
    options.add_options()("device", po::value(&to.device)->value_name("D"),
                          "cpu, or cuda:N for a card (cpu)");
    return options;
}

po::options_description method_options(MethodChoice& to) {
    po::options_description options("Method");
    options.add_options()("method", po::value(&to.method)->value_name("M"),
                          "fp32 fp16 bf16 int8 w8a8 llmint8-bnb nf4 fp4 intB-gN ...");
    options.add_options()("threshold",
                          po::value(&to.threshold)->value_name("T")->notifier([&to](double) {
                              to.threshold_given = true;
                          }),
                          "outlier threshold of llmint8 methods (6)");
    options.add_options()("head", po::value(&to.head_bits)->value_name("16|8|4"),
                          "bits of the output head and embedding (16)");
    options.add_options()("kv", po::value(&to.kv)->value_name("16|int8|fp8"),
                          "what keys and values are stored as (16)");
    options.add_options()("threads", po::value(&to.threads)->value_name("N"),
                          "CPU threads (one per core)");
    options.add_options()("decode", po::value(&to.decode)->value_name("auto|steps"),
                          "on a card: tokens run free in one launch where the model allows it, or "
                          "step by step (auto)");
    return options;
}

Parsed parse(const Arguments& arguments, const std::string& usage,
             const po::options_description& options, po::variables_map* found) {
    po::options_description all(options);
    all.add_options()("help,h", "these words");
    po::variables_map values;
    po::command_line_parser parser(arguments);
    // No guessing: a prefix that means one option today may mean two tomorrow.
    parser.style(po::command_line_style::default_style & ~po::command_line_style::allow_guessing);
    po::store(parser.options(all).positional({}).run(), values);
    if (values.count("help") > 0) {
        std::cout << "usage: bitsweep-runner " << usage << "\n\n" << all;
        return Parsed::help_shown;
    }
    po::notify(values);
    if (found != nullptr) {
        *found = values;
    }
    return Parsed::run;
}

Result<DecodePath> parse_decode_path(const std::string& text) {
    if (text == "auto") {
        return DecodePath::automatic;
    }
    if (text == "steps") {
        return DecodePath::steps;
    }
    return make_error(ErrorCode::invalid_input,
                      "--decode is '" + text + "'; it must be auto or steps");
}

Result<ModelFiles> open_chosen(const ModelChoice& choice) {
    if (choice.model.empty()) {
        return make_error(ErrorCode::invalid_input,
                          "--model is missing: a model folder, a .gguf file or a name");
    }
    if (choice.weights == "random") {
        if (choice.planted < 0) {
            return make_error(
                ErrorCode::invalid_input,
                "--planted is " + std::to_string(choice.planted) + "; it must be 0 or more");
        }
        return TRY(open_random_model(choice.model,
                                     {.seed = choice.seed, .outlier_columns = choice.planted}));
    }
    if (choice.weights != "real") {
        return make_error(ErrorCode::invalid_input,
                          "--weights is '" + choice.weights + "'; it must be real or random");
    }
    const std::vector<std::filesystem::path> dirs(choice.model_dirs.begin(),
                                                  choice.model_dirs.end());
    return TRY(open_model(TRY(locate_model(choice.model, dirs))));
}

Result<EngineOptions> engine_options_of(const MethodChoice& choice, const std::string& device) {
    const Device found = TRY(find_device(device));
    EngineOptions options;
    options.method = TRY(parse_method(choice.method));
    if (options.method.family == MethodFamily::mixed) {
        return make_error(ErrorCode::invalid_input,
                          "mixed takes the method of each layer from a policy, which an experiment "
                          "names (`policy:`); here give one method");
    }
    options.device = found.id();
    JobSpec spec;
    spec.method = choice.method;
    spec.head_bits = choice.head_bits;
    spec.kv = choice.kv;
    spec.threads = choice.threads;
    if (choice.threshold_given) {
        spec.threshold = choice.threshold;
    }
    TRY(check_spec(spec, found));
    const bool reads = method_row(options.method).reads_threshold;
    if (choice.threshold_given && !reads) {
        return make_error(ErrorCode::invalid_input,
                          choice.method + " reads no threshold: leave --threshold out");
    }
    options.threshold = reads ? spec.threshold.value_or(default_threshold) : 0;
    options.head_bits = choice.head_bits;
    options.kv = *kv_from_string(choice.kv);  // check_spec has looked
    options.decode_path = TRY(parse_decode_path(choice.decode));
    options.threads = choice.threads > 0 ? choice.threads : available_cores();
    return options;
}

int with_whole_output(int code) {
    std::cout.flush();
    const bool whole = std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
    struct stat kind {};
    const bool pipe =
        fstat(STDOUT_FILENO, &kind) == 0 && (S_ISFIFO(kind.st_mode) || S_ISSOCK(kind.st_mode));
    if (whole || pipe || code != 0) {
        return code;
    }
    std::fprintf(stderr,
                 "bitsweep-runner: standard output took only part of the answer: is its disk "
                 "full?\n");
    return 1;
}

int report(const char* command, const Error& error) {
    std::fprintf(stderr, "bitsweep-runner %s: %s\n", command, error.message.c_str());
    switch (error.code) {
        case ErrorCode::invalid_input:
        case ErrorCode::not_found:
        case ErrorCode::corrupt:
        case ErrorCode::unsupported:
            return 2;
        default:
            return 1;
    }
}

}  // namespace bitsweep
