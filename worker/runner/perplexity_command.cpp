// `bitsweep-runner perplexity`: a method on a device against the same model's fp32 on this CPU,
// over a text: the quality numbers of a job, for one model without a matrix.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "schemas/content.h"
#include "worker/metrics/statistics.h"
#include "worker/runner/calibrated_model.h"
#include "worker/runner/command.h"
#include "worker/runner/job_plan.h"
#include "worker/runner/options.h"
#include "worker/runner/quality_run.h"

namespace bitsweep {
namespace {

namespace po = boost::program_options;

struct PerplexityOptions {
    ModelChoice model;
    MethodChoice method;
    std::vector<std::string> data;
    std::string text = "heldout-fiction";
    std::int64_t tokens = 2048;
    std::int64_t window = 256;
    std::string format = "text";
    CalibrationSpec calibration;  // of methods that calibrate; its text is `text`
    double alpha = default_alpha;
};

constexpr std::uint64_t kept_reference_bytes = std::uint64_t{1} << 30;

Result<std::filesystem::path> locate_text(const PerplexityOptions& options) {
    std::error_code failed;
    if (std::filesystem::is_regular_file(options.text, failed)) {
        return std::filesystem::path(options.text);
    }
    std::vector<std::filesystem::path> dirs(options.data.begin(), options.data.end());
    const auto defaults = default_data_dirs();
    dirs.insert(dirs.end(), defaults.begin(), defaults.end());
    return find_text(options.text, dirs);
}

Status check(const PerplexityOptions& options) {
    if (options.format != "text" && options.format != "json") {
        return make_error(ErrorCode::invalid_input,
                          "--format is '" + options.format + "'; it must be text or json");
    }
    if (options.tokens < 2 || options.window < 2) {
        return make_error(ErrorCode::invalid_input, "--tokens and --window must be at least 2");
    }
    if (!(options.alpha >= 0 && options.alpha <= 1)) {
        return make_error(ErrorCode::invalid_input, "--alpha: from 0 to 1");
    }
    return {};
}

nlohmann::ordered_json figures_of(const QualityScores& scores, std::int64_t window) {
    const double tokens = static_cast<double>(scores.tokens());
    return {{"tokens", scores.tokens()},
            {"window", window},
            {"perplexity", std::exp(mean(scores.nll).value_or(0))},
            {"perplexity_fp32", std::exp(mean(scores.nll_fp32).value_or(0))},
            {"kl_mean", mean(scores.kl).value_or(0)},
            {"top1_agreement", static_cast<double>(scores.same_top) / tokens}};
}

// Null where the method does not calibrate.
Result<std::unique_ptr<CalibratedModel>> calibrate_for(const PerplexityOptions& options,
                                                       const ModelFiles& files,
                                                       const EngineOptions& engine,
                                                       const Progress& progress) {
    if (!method_row(engine.method).calibrates) {
        return std::unique_ptr<CalibratedModel>();
    }
    CalibrationSpec slice = options.calibration;
    slice.text = options.text;
    slice.window = options.window;
    if (slice.offset < options.tokens || slice.tokens < 1) {
        return make_error(ErrorCode::invalid_input,
                          "calibration must begin behind the " + std::to_string(options.tokens) +
                              " tokens that are scored, and have at least one: raise "
                              "--calibration-offset");
    }
    const auto file = TRY(locate_text(options));
    const CalibrationIdentity identity{TRY(model_digest(files.path)), TRY(file_digest(file)),
                                       slice};
    const CalibrationOptions how{.method = engine.method,
                                 .alpha = options.alpha,
                                 .window = slice.window,
                                 .threads = engine.threads};
    const auto ids = [&]() -> Result<std::vector<std::int32_t>> {
        const auto text = TRY(first_tokens(*files.tokenizer, file, slice.offset + slice.tokens));
        return slice_of(text.ids, slice);
    };
    return calibrated_model(files, identity, how, CalibrationStore(), ids, progress);
}

Result<nlohmann::ordered_json> perplexity(const PerplexityOptions& options) {
    TRY(check(options));
    EngineOptions engine_options = TRY(engine_options_of(options.method, options.model.device));
    if (options.alpha != PerplexityOptions{}.alpha &&
        !method_row(engine_options.method).reads_alpha) {
        return make_error(ErrorCode::invalid_input,
                          options.method.method + " reads no alpha: leave --alpha out");
    }
    const ModelFiles files = TRY(open_chosen(options.model));
    if (!files.tokenizer) {
        return make_error(ErrorCode::unsupported,
                          "random weights have no tokenizer, so they read no text");
    }
    const TextTokens text =
        TRY(first_tokens(*files.tokenizer, TRY(locate_text(options)), options.tokens));
    const ScoredWindows windows =
        TRY(scored_windows(text, options.window, files.config.positions, options.text));
    const Progress progress = [](const std::string& what) {
        std::fprintf(stderr, "perplexity: %s\n", what.c_str());
    };
    Reference reference(kept_reference_bytes);
    TRY(reference.prepare(files, windows, engine_options.threads, progress));
    engine_options.context = windows.window;
    const auto calibrated = TRY(calibrate_for(options, files, engine_options, progress));
    const auto engine =
        TRY(load_engine(calibrated ? calibrated->files : files, engine_options, nullptr));
    const QualityRun run = TRY(score_quality(*engine, reference, text, windows,
                                             files.config.vocabulary, Outliers::ignore, {}));
    return figures_of(run.scores, windows.window);
}

}  // namespace

int command_perplexity(const Arguments& arguments) {
    PerplexityOptions options;
    po::options_description all = model_options(options.model);
    all.add(method_options(options.method));
    all.add_options()("text", po::value(&options.text)->value_name("NAME|FILE"),
                      "what is read (heldout-fiction)");
    all.add_options()("data", po::value(&options.data)->value_name("DIR")->composing(),
                      "folder to search texts in; may be repeated");
    all.add_options()("tokens", po::value(&options.tokens)->value_name("N"),
                      "at most so many of it (2048)");
    all.add_options()("window", po::value(&options.window)->value_name("N"),
                      "tokens of a window; windows do not overlap (256)");
    all.add_options()("calibration-offset", po::value(&options.calibration.offset)->value_name("N"),
                      "methods that calibrate read the text from this token on (200000)");
    all.add_options()("calibration-tokens", po::value(&options.calibration.tokens)->value_name("N"),
                      "so many (8192)");
    all.add_options()("alpha", po::value(&options.alpha)->value_name("A"),
                      "smoothquant's migration strength (0.5)");
    all.add_options()("format", po::value(&options.format)->value_name("text|json"), "(text)");
    if (parse(arguments, "perplexity --model PATH --method M [--device D] [--text NAME]", all) ==
        Parsed::help_shown) {
        return 0;
    }
    const auto figures = perplexity(options);
    if (!figures) {
        return report("perplexity", figures.error());
    }
    if (options.format == "json") {
        std::puts(figures->dump().c_str());
        return 0;
    }
    for (const auto& [name, value] : figures->items()) {
        std::printf("%-16s %s\n", name.c_str(), value.dump().c_str());
    }
    return 0;
}

}  // namespace bitsweep
