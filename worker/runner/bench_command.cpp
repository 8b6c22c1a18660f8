// `bitsweep-runner bench`: a table of decode and prefill beside the measured memory bandwidth.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "worker/metrics/run_queue.h"
#include "worker/runner/bench.h"
#include "worker/runner/command.h"
#include "worker/runner/devices.h"
#include "worker/runner/job_plan.h"
#include "worker/runner/model_session.h"
#include "worker/runner/options.h"

namespace bitsweep {
namespace {

namespace po = boost::program_options;

struct BenchOptions {
    ModelChoice model;
    BenchPlan plan;
    std::string methods;              // "": by the device
    std::string threads;              // likewise
    std::int64_t decode_tokens = -1;  // below 0: likewise
    std::int64_t prefill_tokens = -1;
    int head_bits = -1;
    std::string decode = "auto";
    double threshold = default_threshold;
    bool json = false;
};

using Words = std::vector<std::string>;

struct Subject {
    std::string label;
    ModelChoice choice;
};

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, ',');) {
        if (!part.empty()) {
            parts.push_back(part);
        }
    }
    return parts;
}

Result<std::vector<int>> thread_counts(const std::string& text) {
    std::vector<int> counts;
    for (const std::string& part : split(text)) {
        const int count =
            part.find_first_not_of("0123456789") == std::string::npos && part.size() <= 4
                ? std::stoi(part)
                : 0;
        if (count < 1) {
            return make_error(ErrorCode::invalid_input,
                              "--threads '" + text + "' is not a list like 1,2");
        }
        counts.push_back(count);
    }
    return counts;
}

// One of each row of the table of methods that this device has a kernel for: 4 bits, groups of 64,
// blocks of 128 (64 is the plain name's). `mixed` has no kernel of its own.
std::vector<std::string> every_method(const Device& device) {
    std::vector<std::string> methods;
    for (const MethodRow& row : method_table()) {
        if (row.family == MethodFamily::mixed || (device.is_cpu() ? !row.on_cpu : !row.on_cuda)) {
            continue;
        }
        const bool blocks = row.family == MethodFamily::nf4 || row.family == MethodFamily::fp4;
        std::string id;
        for (const char c : row.id) {
            id += c == 'B'   ? "4"
                  : c == 'N' ? (blocks && !row.nested_scales ? "128" : "64")
                             : std::string(1, c);
        }
        if (row.reads_threshold) {
            methods.push_back(id + "@0");
            id += "@6";
        }
        methods.push_back(id);
    }
    return methods;
}

// `all` inside a list stands for every_method, less what the list names itself.
std::vector<std::string> listed_methods(const std::string& list, const Device& device) {
    std::vector<std::string> methods;
    for (const std::string& text : split(list)) {
        for (const std::string& one : text == "all" ? every_method(device) : Words{text}) {
            if (std::ranges::find(methods, one) == methods.end()) {
                methods.push_back(one);
            }
        }
    }
    return methods;
}

// Methods of one group are resident at once and measured in turn. Where there are more than that,
// the first method (fp16 as a rule) is part of each group, so that ratios stay paired.
constexpr std::size_t most_at_once = 8;

std::vector<std::vector<BenchMethod>> groups_of(const std::vector<BenchMethod>& methods) {
    std::vector<std::vector<BenchMethod>> groups;
    for (std::size_t at = 0; at < methods.size(); ++at) {
        if (groups.empty() || groups.back().size() == most_at_once) {
            groups.emplace_back();
            if (at > 0) {
                groups.back().push_back(methods.front());
            }
        }
        groups.back().push_back(methods[at]);
    }
    return groups;
}

Subject random_subject(const BenchOptions& options, const char* shape) {
    ModelChoice choice = options.model;
    choice.model = shape;
    choice.weights = "random";
    return {shape, choice};
}

// Without --model. On a card: three shapes, from one that launches dominate to one that bytes do.
// On the CPU: the real model of the set-up where it is, and a shape that no cache holds.
std::vector<Subject> subjects_of(const BenchOptions& options) {
    if (!options.model.model.empty()) {
        return {{options.model.model, options.model}};
    }
    if (!options.plan.device.is_cpu()) {
        return {random_subject(options, "gpt2"), random_subject(options, "llama-3.2-1b"),
                random_subject(options, "llama-3.1-8b")};
    }
    std::vector<Subject> subjects;
    ModelChoice real = options.model;
    real.model = "smollm2-135m";
    const std::vector<std::filesystem::path> dirs(real.model_dirs.begin(), real.model_dirs.end());
    if (locate_model(real.model, dirs)) {
        subjects.push_back({real.model, real});
    }
    subjects.push_back(random_subject(options, "llama-3.2-1b"));
    return subjects;
}

// T: threads; B: sequences side by side. "share": of the time that reading the step's bytes takes
// at the bandwidth beside it; calib: tokens of a method's calibration.
void print_header() {
    std::printf("%-14s %-27s %4s %2s %3s %10s %19s %9s %9s %11s %9s %7s %9s %6s %8s %6s %5s %s\n",
                "model", "method", "head", "T", "B", "decode t/s", "(slowest-fastest)", "p50 us",
                "p99 us", "prefill t/s", "MB/step", "GB/s", "read GB/s", "share", "vs fp16", "act.",
                "calib", "decoded");
}

void print_row(const std::string& model, const BenchRow& row) {
    char range[32];
    std::snprintf(range, sizeof range, "(%.1f-%.1f)", row.decode_low, row.decode_high);
    char ratio[16] = "-";
    if (row.over_fp16 > 0) {
        std::snprintf(ratio, sizeof ratio, "%.2fx", row.over_fp16);
    }
    std::printf(
        "%-14s %-27s %4d %2d %3lld %10.2f %19s %9.1f %9.1f %11.1f %9.1f %7.1f %9.1f %5.1f%% %8s "
        "%6s %5s %s\n",
        model.c_str(), row.method.c_str(), row.head_bits, row.threads,
        static_cast<long long>(row.batch), row.decode_tokens_per_s, range, row.step_ns_p50 / 1e3,
        row.step_ns_p99 / 1e3, row.prefill_tokens_per_s, row.bytes_per_token / 1e6,
        row.share * row.read_bandwidth / 1e9, row.read_bandwidth / 1e9, row.share * 100, ratio,
        row.rounds_activations ? "8 bits" : "float",
        row.calibration_tokens > 0 ? std::to_string(row.calibration_tokens).c_str() : "-",
        row.decoded_by.c_str());
    std::fflush(stdout);
}

// CPU: ".../t2/", a card: ".../b1/" with the batch.
void add_figures(const std::string& model, const BenchRow& row, const Device& device,
                 nlohmann::ordered_json& figures) {
    const std::string where =
        device.is_cpu() ? "/t" + std::to_string(row.threads) : "/b" + std::to_string(row.batch);
    const std::string name =
        model + "/" + row.method + "/head" + std::to_string(row.head_bits) + where + "/";
    figures[name + "decode_tokens_per_s"] = row.decode_tokens_per_s;
    figures[name + "step_ns_p50"] = row.step_ns_p50;
    figures[name + "step_ns_p99"] = row.step_ns_p99;
    figures[name + "free_running"] = row.decoded_by == "stream" ? 1 : 0;
    figures[name + "prefill_tokens_per_s"] = row.prefill_tokens_per_s;
    figures[name + "bytes_per_token"] = row.bytes_per_token;
    figures[name + "read_bandwidth"] = row.read_bandwidth;
    figures[name + "read_bandwidth_share"] = row.share;
    figures[name + "rounds_activations"] = row.rounds_activations ? 1 : 0;
    figures[name + "load_s"] = row.load_s;
    figures[name + "calibration_tokens"] = row.calibration_tokens;
    if (row.over_fp16 > 0) {
        figures[name + "over_fp16"] = row.over_fp16;
    }
}

void print_device(const Device& device) {
    for (const DeviceInfo& found : list_devices(nullptr)) {
        if (!device.is_cpu() && found.id == device.id()) {
            std::printf("%s: %s\n", found.id.c_str(), found.name.c_str());
        }
    }
}

Status check_numbers(const BenchOptions& options) {
    const BenchPlan& plan = options.plan;
    if (plan.methods.empty() || plan.rounds < 1 || plan.decode_tokens < 1 ||
        plan.prefill_tokens < 1 || plan.prompt_tokens < 1 || plan.batch < 1) {
        return make_error(ErrorCode::invalid_input,
                          "--methods, --rounds, --tokens, --prefill, --prompt-tokens and --batch "
                          "must name at least one");
    }
    if (!(options.threshold >= 0)) {
        return make_error(
            ErrorCode::invalid_input,
            "--threshold is " + std::to_string(options.threshold) + "; it must be 0 or more");
    }
    if (options.head_bits >= 0 && options.head_bits != 16 && options.head_bits != 8 &&
        options.head_bits != 4) {
        return make_error(
            ErrorCode::invalid_input,
            "--head is " + std::to_string(options.head_bits) + "; it must be 16, 8 or 4");
    }
    return {};
}

// What was not said depends on the device: a token of a card takes a hundredth of a CPU's time.
void fill_defaults(BenchOptions& options) {
    BenchPlan& plan = options.plan;
    const bool cpu = plan.device.is_cpu();
    if (options.threads.empty()) {  // on a card they only load the weights
        options.threads =
            cpu ? (available_cores() > 1 ? "1,2" : "1") : std::to_string(available_cores());
    }
    if (options.methods.empty()) {
        options.methods =
            cpu ? "fp16,int8,int4-g64" : "fp16,int8,llmint8-fused@0,llmint8-fused@6,int4-g128,nf4";
    }
    plan.head_bits = options.head_bits < 0 ? (cpu ? 8 : 0) : options.head_bits;
    plan.decode_tokens = options.decode_tokens < 0 ? (cpu ? 32 : 128) : options.decode_tokens;
    plan.prefill_tokens = options.prefill_tokens < 0 ? (cpu ? 128 : 512) : options.prefill_tokens;
}

// The plan's methods, less those of `all` that cannot calibrate on this model.
Result<std::vector<BenchMethod>> methods_for(BenchCalibrations& calibrations, const BenchPlan& plan,
                                             const Words& named, const Progress& progress) {
    std::vector<BenchMethod> methods;
    for (const BenchMethod& one : plan.methods) {
        const MethodId method = TRY(parse_method(one.method));
        const auto seen = calibrations.model_for(method, plan.threads, progress);
        const bool asked = std::ranges::find(named, one.method) != named.end();
        if (!seen && (asked || seen.error().code != ErrorCode::unsupported)) {
            return seen.error();
        }
        if (seen) {
            methods.push_back(one);
        } else {
            progress("leaving out " + one.method + ": " + seen.error().message);
        }
    }
    return methods;
}

Status bench_subject(const Subject& subject, const ModelFiles& files,
                     BenchCalibrations& calibrations, const BenchPlan& plan, const Words& named,
                     nlohmann::ordered_json& figures) {
    const Progress progress = [&](const std::string& what) {
        std::fprintf(stderr, "bench: %s, %d threads: %s\n", subject.label.c_str(), plan.threads,
                     what.c_str());
    };
    bool first = true;
    for (const std::vector<BenchMethod>& group :
         groups_of(TRY(methods_for(calibrations, plan, named, progress)))) {
        BenchPlan part = plan;
        part.methods = group;
        auto rows = TRY(bench_model(files, calibrations, part, progress));
        if (!first) {
            rows.erase(rows.begin());  // told with the first group
        }
        first = false;
        for (const BenchRow& row : rows) {
            print_row(subject.label, row);
            add_figures(subject.label, row, plan.device, figures);
        }
    }
    return {};
}

Status bench(BenchOptions& options) {
    BenchPlan& plan = options.plan;
    plan.device = TRY(find_device(options.model.device));
    plan.decode_path = TRY(parse_decode_path(options.decode));
    fill_defaults(options);
    const std::vector<int> counts = TRY(thread_counts(options.threads));
    const std::vector<Subject> subjects = subjects_of(options);
    for (const std::string& text : listed_methods(options.methods, plan.device)) {
        BenchMethod method = TRY(parse_bench_method(text, plan.device));
        if (text.find('@') == std::string::npos) {
            method.threshold = options.threshold;
        }
        plan.methods.push_back(method);
    }
    TRY(check_numbers(options));
    print_device(plan.device);
    nlohmann::ordered_json figures;
    print_header();
    for (const Subject& subject : subjects) {
        const ModelFiles files = TRY(open_chosen(subject.choice));
        BenchCalibrations calibrations(files);
        for (const int threads : counts) {
            plan.threads = threads;
            TRY(bench_subject(subject, files, calibrations, plan, split(options.methods), figures));
        }
    }
    if (options.json) {
        std::puts(figures.dump().c_str());
    }
    return {};
}

}  // namespace

int command_bench(const Arguments& arguments) {
    BenchOptions options;
    po::options_description all = model_options(options.model);
    po::options_description own("Bench");
    own.add_options()(
        "methods", po::value(&options.methods)->value_name("A,B@T"),
        "with a threshold of its own after @; all: one of every method, behind fp16 in "
        "fp16,all (CPU: fp16,int8,int4-g64)");
    own.add_options()("threads", po::value(&options.threads)->value_name("1,2"),
                      "thread counts (1,2; on a card one per core)");
    own.add_options()("batch", po::value(&options.plan.batch)->value_name("N"),
                      "sequences side by side (1)");
    own.add_options()("prompt-tokens", po::value(&options.plan.prompt_tokens)->value_name("N"),
                      "context before the decode steps (8)");
    own.add_options()("head", po::value(&options.head_bits)->value_name("16|8|4"),
                      "bits of head and embedding (8; on a card 16 for 16-bit methods)");
    own.add_options()("threshold", po::value(&options.threshold)->value_name("T"),
                      "of llmint8 methods (6)");
    own.add_options()("rounds", po::value(&options.plan.rounds)->value_name("N"),
                      "interleaved over the methods (5)");
    own.add_options()("tokens", po::value(&options.decode_tokens)->value_name("N"),
                      "decode steps per round (32; on a card 128)");
    own.add_options()("prefill", po::value(&options.prefill_tokens)->value_name("N"),
                      "tokens of the measured prompt (128; on a card 512)");
    own.add_options()("decode", po::value(&options.decode)->value_name("auto|steps"),
                      "on a card: free running where the model allows it (auto)");
    own.add_options()("json", po::bool_switch(&options.json),
                      "one JSON object of named figures on the last line");
    all.add(own);
    if (parse(arguments, "bench [--model NAME|PATH] [--methods A,B] [--threads 1,2]", all) ==
        Parsed::help_shown) {
        return 0;
    }
    const Status done = bench(options);
    return done ? 0 : report("bench", done.error());
}

}  // namespace bitsweep
