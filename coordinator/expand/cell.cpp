#include <algorithm>
#include <array>
#include <utility>

#include "coordinator/expand/draft.h"
#include "coordinator/expand/text.h"
#include "schemas/catalog/layer_methods.h"
#include "schemas/catalog/methods.h"
#include "schemas/catalog/shapes.h"

namespace bitsweep {
namespace {

using expand_text::error_at;
using expand_text::shown;

// Trained on windows of 256 tokens: a longer one measures positions that they never saw.
constexpr std::array<std::string_view, 6> small_trained = {
    "llama-pico", "llama-nano", "llama-micro", "llama-mini", "gpt2-nano", "opt-nano"};

constexpr std::int64_t whole_text = 1'000'000'000;  // more than any text has

std::int64_t quality_tokens(Protocol protocol) {
    switch (protocol) {
        case Protocol::seed_report:
            return 0;  // texts only
        case Protocol::quick:
            return 2'048;
        case Protocol::standard:
            return 32'768;
        case Protocol::headline:
            return whole_text;
    }
    return 0;
}

std::int64_t default_window(const std::string& model, const ModelShape* shape) {
    const bool small = std::ranges::find(small_trained, model) != small_trained.end();
    const std::int64_t window = small ? 256 : 512;
    return shape != nullptr ? std::min(window, shape->positions) : window;
}

std::int64_t whole(const Draft& draft, Field field) {
    return std::get<std::int64_t>(draft[field]->data);
}
const std::string& word(const Draft& draft, Field field) {
    return std::get<std::string>(draft[field]->data);
}

ModelRef model_of(const Draft& draft) {
    const auto& said = std::get<ModelValue>(draft[Field::model]->data);
    ModelRef model;
    model.name = said.name;
    model.path = said.path;
    model.weights = said.weights.value_or(*weights_source_from_string(word(draft, Field::weights)));
    model.weights_seed =
        said.weights_seed.value_or(static_cast<std::uint64_t>(whole(draft, Field::weights_seed)));
    return model;
}

QualitySpec quality_of(const Draft& draft, const JobSpec& spec, const ModelShape* shape) {
    QualitySpec quality;
    quality.mode = *quality_mode_from_string(word(draft, Field::quality));
    quality.tokens = quality_tokens(spec.protocol);
    quality.window = default_window(spec.model.name, shape);
    if (const Value* value = draft[Field::eval]) {
        const auto& eval = std::get<EvalValue>(value->data);
        quality.text = eval.text.value_or(quality.text);
        quality.tokens = eval.tokens.value_or(quality.tokens);
        quality.window = eval.window.value_or(quality.window);
    }
    return quality;
}

// What a method that calibrates reads; nothing for random weights, whose codes need no text.
std::optional<CalibrationSpec> calibration_of(const Draft& draft, const MethodRow& method,
                                              const JobSpec& spec) {
    if (!method.calibrates || spec.model.weights == WeightsSource::random) {
        return std::nullopt;
    }
    CalibrationSpec slice;
    slice.text = spec.quality.text;
    slice.window = spec.quality.window;
    if (const Value* value = draft[Field::calibration]) {
        const auto& said = std::get<EvalValue>(value->data);
        slice.text = said.text.value_or(slice.text);
        slice.offset = said.offset.value_or(slice.offset);
        slice.tokens = said.tokens.value_or(slice.tokens);
        slice.window = said.window.value_or(slice.window);
        slice.seed = static_cast<std::uint64_t>(said.seed.value_or(0));
    }
    return slice;
}

// ---- values that do not fit each other

// One digest of one text is in a cell's key.
Status check_calibration(const Matrix& matrix, const Draft& draft, const JobSpec& spec) {
    if (!spec.calibration || spec.calibration->text == spec.quality.text) {
        return {};
    }
    return error_at(matrix.file, draft[Field::calibration]->at,
                    "`calibration` reads `" + shown(spec.calibration->text) +
                        "`, but `eval` reads `" + shown(spec.quality.text) +
                        "`: name the same text in both, at another offset");
}

// What is worth a note; empty: nothing.
Result<std::string> check_model(const Matrix& matrix, const Draft& draft, const JobSpec& spec,
                                const ModelShape* shape) {
    if (shape != nullptr) {
        return std::string();
    }
    const std::string& name = spec.model.name;
    if (spec.model.weights == WeightsSource::random && spec.model.path.empty()) {
        return error_at(matrix.file, draft[Field::model]->at,
                        "model `" + shown(name) +
                            "` is not in the table of shapes, so random "
                            "weights have no shape; did you mean `" +
                            nearest_shape(name) + "`?");
    }
    return spec.model.path.empty()
               ? "model " + shown(name) +
                     " is not in the table of shapes: it runs only where a "
                     "folder or GGUF file of that name is found (the nearest known name is " +
                     nearest_shape(name) + ")"
               : std::string();
}

Status check_method(const Matrix& matrix, const Draft& draft, const MethodId& method,
                    const std::string& gpu) {
    const At at = draft[Field::method]->at;
    const std::string name = "method `" + method.text + "`";
    if (const Value* bits = draft[Field::bits];
        bits && bits->key != std::to_string(method.weight_bits)) {
        return error_at(matrix.file, at,
                        name + " has " + std::to_string(method.weight_bits) +
                            " bits, but meets `bits: " + bits->key +
                            "`: make it depend on bits, `method: {" +
                            std::to_string(method.weight_bits) + ": [" + method.text + "]}`");
    }
    const MethodRow& row = method_row(method);
    if (gpu == "cpu" && !row.on_cpu) {
        return error_at(matrix.file, at, name + " has no CPU form: give it a card under `gpu`");
    }
    if (gpu != "cpu" && gpu != "*" && !row.on_cuda) {
        return error_at(matrix.file, at,
                        name +
                            " has no CUDA form in this build: it runs with "
                            "`gpu: cpu`, not on `" +
                            shown(gpu) + "`");
    }
    return {};
}

// The text of the cell's policy file, checked.
Result<std::string> policy_of(const Matrix& matrix, const Draft& draft, const MethodId& method) {
    if (method.family != MethodFamily::mixed) {
        return std::string();
    }
    const Value* value = draft[Field::policy];
    if (value == nullptr) {
        return error_at(matrix.file, draft[Field::method]->at,
                        "method `mixed` needs `policy`, a policy file beside this one; "
                        "`bitsweep analyze policy` writes them");
    }
    if (!matrix.read) {
        return error_at(matrix.file, value->at, "no policy file can be read here");
    }
    const auto refuse = [&](const Error& error) {
        return error_at(matrix.file, value->at,
                        "policy `" + shown(value->key) + "`: " + error.message);
    };
    const Result<std::string> text = matrix.read(std::get<std::string>(value->data));
    if (!text) {
        return refuse(text.error());
    }
    const Result<LayerPolicy> policy = policy_from_json(*text);
    const Result<LayerMethods> methods =
        policy ? layer_methods_of(*policy) : Result<LayerMethods>(policy.error());
    return methods ? Result<std::string>(*text) : Result<std::string>(refuse(methods.error()));
}

Status check_context(const Matrix& matrix, const Draft& draft, const JobSpec& spec,
                     const ModelShape* shape) {
    if (shape == nullptr) {
        return {};
    }
    const std::int64_t least = std::max<std::int64_t>(spec.prompt_tokens, 1) + spec.new_tokens;
    if (least <= shape->positions) {
        const bool runs = spec.quality.mode != QualityMode::off;
        if (runs && spec.quality.window > shape->positions) {
            return error_at(matrix.file, draft[Field::eval]->at,
                            "a window of " + std::to_string(spec.quality.window) +
                                " tokens does not fit the " + std::to_string(shape->positions) +
                                " positions of `" + spec.model.name + "`");
        }
        return {};
    }
    const Field longer =
        spec.prompt_tokens > spec.new_tokens ? Field::prompt_tokens : Field::new_tokens;
    const At at = draft[longer]->at.line > 0 ? draft[longer]->at : draft[Field::model]->at;
    return error_at(matrix.file, at,
                    "`" + spec.model.name + "` has " + std::to_string(shape->positions) +
                        " positions, but " + std::to_string(spec.prompt_tokens) +
                        " tokens of prompt and " + std::to_string(spec.new_tokens) +
                        " new ones are asked for");
}

Status check_complete(const Matrix& matrix, const Draft& draft) {
    for (const Field field : {Field::model, Field::method}) {
        if (draft[field] != nullptr) {
            continue;
        }
        const bool only_bits = field == Field::method && draft[Field::bits] != nullptr;
        const At at = draft.added ? draft.from : matrix.matrix_at;
        return error_at(
            matrix.file, at,
            only_bits ? "`bits` alone does not say how: add `method`, such as "
                        "`method: {16: [fp16], 8: [int8], 4: [nf4]}`"
            : draft.added
                ? "this inclusion agrees with no cell, so it adds one, and that has no `" +
                      std::string(to_string(field)) + "`: name it here"
                : "this makes a cell without `" + std::string(to_string(field)) +
                      "`: name it under `matrix` or `defaults`");
    }
    return {};
}

}  // namespace

const std::vector<FieldValue>& built_in_values() {
    static const std::vector<FieldValue> values = [] {
        const JobSpec spec;
        std::vector<FieldValue> out;
        const auto add_text = [&](Field field, const std::string& text) {
            out.push_back({field, Value{text, text, {}}});
        };
        const auto add_whole = [&](Field field, std::int64_t value) {
            out.push_back({field, Value{value, std::to_string(value), {}}});
        };
        add_text(Field::gpu, "*");
        add_text(Field::kv, spec.kv);
        add_text(Field::prompt, spec.prompt);
        add_text(Field::protocol, std::string(to_string(spec.protocol)));
        add_text(Field::quality, std::string(to_string(spec.quality.mode)));
        add_text(Field::weights, std::string(to_string(spec.model.weights)));
        add_whole(Field::head, spec.head_bits);
        add_whole(Field::batch, spec.batch);
        add_whole(Field::prompt_tokens, spec.prompt_tokens);
        add_whole(Field::new_tokens, spec.new_tokens);
        add_whole(Field::warmup, spec.warmup);
        add_whole(Field::weights_seed, 0);
        add_whole(Field::threads, spec.threads);
        add_whole(Field::seed, 0);
        out.push_back({Field::stop_at_eos, Value{false, "false", {}}});
        out.push_back({Field::threshold, Value{6.0, "6", {}}});  // bitsandbytes' default
        out.push_back({Field::alpha, Value{0.5, "0.5", {}}});    // SmoothQuant's for OPT
        return out;
    }();
    return values;
}

namespace {

bool is_read(Field field, const MethodRow& method) {
    switch (field) {
        case Field::threshold:
            return method.reads_threshold;
        case Field::calibration:
            return method.calibrates;
        case Field::alpha:
            return method.reads_alpha;
        case Field::policy:
            return method.family == MethodFamily::mixed;
        default:
            return true;
    }
}

}  // namespace

std::string unread_because(const Draft& draft, Field field) {
    const char* why = field == Field::calibration ? "does not calibrate"
                      : field == Field::policy    ? "stores every layer alike"
                                                  : "does not read it";
    return draft[Field::method]->key + " " + why;
}

void drop_unread(Draft& draft, Notes& notes) {
    const Value* method = draft[Field::method];
    if (method == nullptr) {
        return;
    }
    for (std::size_t i = 0; i < optional_fields.size(); ++i) {
        const Field field = optional_fields[i];
        if (draft[field] == nullptr || is_read(field, *method->method)) {
            continue;
        }
        // What the file never said is not worth a note.
        if (draft[field]->at != At{}) {
            notes.count(std::string(to_string(field)) +
                        " dropped: " + unread_because(draft, field));
        }
        draft.unread[i] = std::exchange(draft[field], nullptr);
    }
}

namespace {

// Fields that become a number of the spec and decide nothing but whether the context is too long.
constexpr std::array plain_numbers = {Field::threshold, Field::alpha,         Field::head,
                                      Field::batch,     Field::prompt_tokens, Field::new_tokens,
                                      Field::warmup,    Field::threads,       Field::seed};

void set_numbers(const Draft& draft, JobSpec& spec) {
    const Value* threshold = draft[Field::threshold];
    spec.threshold = threshold ? std::optional(std::get<double>(threshold->data)) : std::nullopt;
    const Value* alpha = draft[Field::alpha];
    spec.alpha = alpha ? std::optional(std::get<double>(alpha->data)) : std::nullopt;
    spec.head_bits = static_cast<int>(whole(draft, Field::head));
    spec.batch = static_cast<int>(whole(draft, Field::batch));
    spec.prompt_tokens = whole(draft, Field::prompt_tokens);
    spec.new_tokens = whole(draft, Field::new_tokens);
    spec.warmup = static_cast<int>(whole(draft, Field::warmup));
    spec.threads = static_cast<int>(whole(draft, Field::threads));
    spec.seed = static_cast<std::uint64_t>(whole(draft, Field::seed));
    spec.repeat = draft.repeat;
}

// All values but the plain numbers.
std::array<const Value*, field_count> others_of(const Draft& draft) {
    std::array<const Value*, field_count> values = draft.values;
    for (const Field field : plain_numbers) {
        values[static_cast<std::size_t>(field)] = nullptr;
    }
    return values;
}

}  // namespace

Result<const JobSpec*> Specs::of(const Draft& draft) {
    const auto others = others_of(draft);
    if (spec_ && others == others_) {
        set_numbers(draft, *spec_);
        for (const std::size_t note : spec_notes_) {
            notes_.count(note);
        }
        TRY(check_context(matrix_, draft, *spec_, shape_));
        return &*spec_;
    }
    spec_.reset();
    spec_notes_.clear();
    spec_ = TRY(make(draft));
    others_ = others;
    return &*spec_;
}

Result<JobSpec> Specs::make(const Draft& draft) {
    TRY(check_complete(matrix_, draft));
    const MethodId method = TRY(parse_method(word(draft, Field::method)));
    const auto note = [&](const std::string& what) { spec_notes_.push_back(notes_.count(what)); };
    JobSpec spec;
    spec.model = model_of(draft);
    spec.method = method.text;
    set_numbers(draft, spec);
    spec.policy = TRY(policy_of(matrix_, draft, method));
    spec.kv = word(draft, Field::kv);
    spec.gpu = word(draft, Field::gpu);
    spec.prompt = word(draft, Field::prompt);
    spec.stop_at_eos = std::get<bool>(draft[Field::stop_at_eos]->data);
    spec.protocol = *protocol_from_string(word(draft, Field::protocol));

    shape_ = find_shape(spec.model.name);
    spec.quality = quality_of(draft, spec, shape_);
    if (spec.model.weights == WeightsSource::random && spec.quality.mode != QualityMode::off) {
        spec.quality.mode = QualityMode::off;
        note("quality dropped: random weights have none");
    }
    spec.calibration = calibration_of(draft, method_row(method), spec);
    TRY(check_calibration(matrix_, draft, spec));
    if (const std::string said = TRY(check_model(matrix_, draft, spec, shape_)); !said.empty()) {
        note(said);
    }
    TRY(check_method(matrix_, draft, method, spec.gpu));
    TRY(check_context(matrix_, draft, spec, shape_));
    return spec;
}

}  // namespace bitsweep
