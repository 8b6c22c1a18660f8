// `bitsweep-runner generate`: greedy text of a prompt.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "schemas/run_result.h"
#include "worker/runner/command.h"
#include "worker/runner/options.h"
#include "worker/runner/sequence.h"

namespace bitsweep {
namespace {

namespace po = boost::program_options;

struct GenerateOptions {
    ModelChoice model;
    MethodChoice method;
    std::string prompt;
    std::int64_t new_tokens = 32;
    bool stop_at_eos = false;
    std::string format = "text";
};

Result<GeneratedText> generate(const GenerateOptions& options) {
    if (options.format != "text" && options.format != "json") {
        return make_error(ErrorCode::invalid_input,
                          "--format is '" + options.format + "'; it must be text or json");
    }
    if (options.new_tokens < 1) {
        return make_error(
            ErrorCode::invalid_input,
            "--new-tokens is " + std::to_string(options.new_tokens) + "; it must be at least 1");
    }
    EngineOptions engine_options = TRY(engine_options_of(options.method, options.model.device));
    const ModelFiles files = TRY(open_chosen(options.model));
    if (!files.tokenizer) {
        return make_error(ErrorCode::unsupported,
                          "random weights have no tokenizer, so they generate no text");
    }
    SequencePlan plan;
    plan.prompt = files.tokenizer->encode(options.prompt);
    plan.new_tokens = options.new_tokens;
    plan.stop_id = options.stop_at_eos ? files.config.eos_id : -1;
    plan.vocabulary = files.config.vocabulary;
    if (plan.prompt.empty()) {
        return make_error(ErrorCode::invalid_input, "--prompt is missing or has no tokens");
    }
    engine_options.context = static_cast<std::int64_t>(plan.prompt.size()) + plan.new_tokens;
    if (engine_options.context > files.config.positions) {
        return make_error(ErrorCode::invalid_input,
                          std::to_string(plan.prompt.size()) + " prompt tokens and " +
                              std::to_string(plan.new_tokens) + " new ones do not fit the " +
                              std::to_string(files.config.positions) + " positions of " +
                              files.config.name + ": lower --new-tokens");
    }
    const auto engine = TRY(load_engine(files, engine_options, nullptr));
    Sequence sequence = TRY(run_sequence(*engine, plan, {}));
    GeneratedText text;
    text.text = files.tokenizer->decode(sequence.new_ids);
    text.prompt_ids = std::move(plan.prompt);
    text.new_ids = std::move(sequence.new_ids);
    return text;
}

}  // namespace

int command_generate(const Arguments& arguments) {
    GenerateOptions options;
    po::options_description all = model_options(options.model);
    all.add(method_options(options.method));
    all.add_options()("prompt", po::value(&options.prompt)->value_name("TEXT"), "the prompt");
    all.add_options()("new-tokens", po::value(&options.new_tokens)->value_name("N"),
                      "how many to generate (32)");
    all.add_options()("stop-at-eos", po::bool_switch(&options.stop_at_eos),
                      "stop at end-of-sequence");
    all.add_options()("format", po::value(&options.format)->value_name("text|json"), "(text)");
    if (parse(arguments, "generate --model PATH --prompt TEXT --new-tokens N --method M", all) ==
        Parsed::help_shown) {
        return 0;
    }
    const Result<GeneratedText> text = generate(options);
    if (!text) {
        return report("generate", text.error());
    }
    if (options.format == "json") {
        const nlohmann::ordered_json json = {
            {"prompt_ids", text->prompt_ids}, {"new_ids", text->new_ids}, {"text", text->text}};
        std::puts(
            json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    } else {
        std::printf("%s%s\n", options.prompt.c_str(), text->text.c_str());
    }
    return 0;
}

}  // namespace bitsweep
