// `bitsweep-runner logits`: the mathematics, for anyone who wants to check it from outside.
#include <algorithm>
#include <charconv>
#include <span>
#include <string>
#include <vector>

#include "worker/runner/command.h"
#include "worker/runner/options.h"
#include "worker/runner/safetensors_writer.h"

namespace bitsweep {
namespace {

namespace po = boost::program_options;

struct LogitsOptions {
    ModelChoice model;
    MethodChoice method;
    std::string ids;
    std::string output;
};

Result<std::vector<std::int32_t>> parse_ids(const std::string& text) {
    std::vector<std::int32_t> ids;
    const char* at = text.data();
    const char* end = at + text.size();
    while (at < end) {
        std::int32_t id = 0;
        const auto [next, failed] = std::from_chars(at, end, id);
        if (failed != std::errc() || (next != end && *next != ',') || next + 1 == end) {
            return make_error(ErrorCode::invalid_input,
                              "--ids '" + text + "' is not a list like 1,2,3");
        }
        ids.push_back(id);
        at = next == end ? end : next + 1;
    }
    if (ids.empty()) {
        return make_error(ErrorCode::invalid_input, "--ids is missing: a list like 1,2,3");
    }
    return ids;
}

Status write_logits(const LogitsOptions& options) {
    const std::vector<std::int32_t> ids = TRY(parse_ids(options.ids));
    if (options.output.empty()) {
        return make_error(ErrorCode::invalid_input, "-o is missing: a file to write");
    }
    EngineOptions engine_options = TRY(engine_options_of(options.method, options.model.device));
    engine_options.context = static_cast<std::int64_t>(ids.size());
    const ModelFiles files = TRY(open_chosen(options.model));
    const auto engine = TRY(load_engine(files, engine_options, nullptr));
    const std::int64_t vocabulary = files.config.vocabulary;
    std::vector<float> logits(ids.size() * static_cast<std::size_t>(vocabulary));
    TRY(engine->score(
        ids,
        [&](std::int64_t first, std::int64_t count, const float* rows) -> Status {
            std::copy_n(rows, count * vocabulary, logits.data() + first * vocabulary);
            return {};
        },
        nullptr));
    return write_safetensors(options.output,
                             {{"logits",
                               "F32",
                               {static_cast<std::int64_t>(ids.size()), vocabulary},
                               std::as_bytes(std::span(logits))}},
                             {{"method", options.method.method}, {"model", options.model.model}});
}

}  // namespace

int command_logits(const Arguments& arguments) {
    LogitsOptions options;
    po::options_description all = model_options(options.model);
    all.add(method_options(options.method));
    all.add_options()("ids", po::value(&options.ids)->value_name("1,2,3"), "token ids");
    all.add_options()("output,o", po::value(&options.output)->value_name("F.safetensors"),
                      "float32 logits [tokens, vocabulary]");
    if (parse(arguments, "logits --model PATH --ids 1,2,3 --method M -o F.safetensors", all) ==
        Parsed::help_shown) {
        return 0;
    }
    const Status written = write_logits(options);
    return written ? 0 : report("logits", written.error());
}

}  // namespace bitsweep
