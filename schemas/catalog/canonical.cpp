// The canonical form of a cell: what identifies it. It asks the method table which axes are read,
// so it lives in the catalog; the contract is in schemas/codec.h.
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "schemas/catalog/methods.h"
#include "schemas/catalog/stored_keys.h"
#include "schemas/codec.h"
#include "schemas/content.h"

namespace bitsweep {
namespace {

// So many characters at the start stand as they are; seen eight at a time, the last few left out.
std::size_t plain_prefix(std::string_view text) {
    constexpr std::uint64_t ones = 0x0101'0101'0101'0101u;
    constexpr std::uint64_t tops = 0x8080'8080'8080'8080u;
    // A byte of zero gives a top bit; bytes above it in the word may give one too many, never too
    // few.
    const auto has_zero = [](std::uint64_t word) { return (word - ones) & ~word & tops; };
    std::size_t at = 0;
    for (; at + sizeof(std::uint64_t) <= text.size(); at += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, text.data() + at, sizeof word);
        const std::uint64_t control = (word - 0x20 * ones) & ~word & tops;
        if ((control | has_zero(word ^ (ones * '"')) | has_zero(word ^ (ones * '\\'))) != 0) {
            break;
        }
    }
    return at;
}

// JSON by hand on purpose: the bytes are hashed, so no library release may change them.
class CanonicalObject {
 public:
    // Most cells fit without growing.
    CanonicalObject() { out_.reserve(usual_bytes); }

    // Names must arrive in sorted order.
    CanonicalObject& text(std::string_view name, std::string_view value) {
        begin(name);
        append_string(value);
        return *this;
    }
    CanonicalObject& integer(std::string_view name, std::int64_t value) {
        begin(name);
        append_digits(value);
        return *this;
    }
    CanonicalObject& unsigned_integer(std::string_view name, std::uint64_t value) {
        begin(name);
        append_digits(value);
        return *this;
    }
    CanonicalObject& boolean(std::string_view name, bool value) {
        begin(name);
        out_ += value ? "true" : "false";
        return *this;
    }
    // Shortest digits that read back as the same double: 6, 0.5, 3.0000000000000004
    CanonicalObject& number(std::string_view name, double value) {
        begin(name);
        if (!std::isfinite(value)) {
            out_ += "null";
            return *this;
        }
        if (std::abs(value) < 1e15 && value == std::trunc(value)) {  // 100000, not 1e+05
            append_digits(static_cast<std::int64_t>(value));
            return *this;
        }
        append_digits(value);
        return *this;
    }
    CanonicalObject& object(std::string_view name, CanonicalObject& value) {
        begin(name);
        out_ += value.close();
        return *this;
    }
    std::string close() {
        out_ += '}';
        return std::move(out_);
    }

 private:
    void begin(std::string_view name) {
        ASSERT(last_.empty() || last_ < name);
        out_ += last_.empty() ? '{' : ',';
        last_ = name;
        out_ += '"';
        out_ += name;  // ours: nothing to escape
        out_ += "\":";
    }
    void append_string(std::string_view value) {
        static constexpr char hex[] = "0123456789abcdef";
        out_ += '"';
        std::size_t copied = 0;
        for (std::size_t i = plain_prefix(value); i < value.size(); ++i) {
            const auto byte = static_cast<unsigned char>(value[i]);
            if (byte >= 0x20 && byte != '"' && byte != '\\') {
                continue;
            }
            out_ += value.substr(copied, i - copied);
            copied = i + 1;
            if (byte < 0x20) {
                out_ += "\\u00";
                out_ += hex[byte >> 4];
                out_ += hex[byte & 15];
            } else {
                out_ += '\\';
                out_ += value[i];
            }
        }
        out_ += value.substr(copied);
        out_ += '"';
    }
    template <class Number>
    void append_digits(Number value) {
        char digits[32];
        const auto end = std::to_chars(digits, digits + sizeof digits, value);
        out_.append(digits, end.ptr);
    }

    static constexpr std::size_t usual_bytes = 384;

    std::string out_;
    std::string_view last_;  // names are literals
};

std::string lower_case(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return out;
}

bool reads_threshold(std::string_view method) {
    const Result<MethodId> id = parse_method(method);
    return !id || method_row(*id).reads_threshold;
}

bool method_is(std::string_view method, bool MethodRow::*property) {
    const Result<MethodId> id = parse_method(method);
    return !id || method_row(*id).*property;
}

bool reads_warmup(Protocol protocol) {
    return protocol == Protocol::seed_report || protocol == Protocol::quick;
}

// The whole cell; without what differs between its repeats; without what a speed-up compares.
enum class Scope { cell, series, setting };

void add_model(CanonicalObject& cell, const ModelRef& ref) {
    CanonicalObject model;
    model.text("name", lower_case(ref.name));
    model.text("weights", to_string(ref.weights));
    if (ref.weights == WeightsSource::random) {
        model.unsigned_integer("weights_seed", ref.weights_seed);
    }
    cell.object("model", model);
}

void add_calibration(CanonicalObject& cell, const CalibrationSpec& calibration) {
    CanonicalObject slice;
    slice.integer("offset", calibration.offset);
    slice.unsigned_integer("seed", calibration.seed);
    slice.text("text", calibration.text);
    slice.integer("tokens", calibration.tokens);
    slice.integer("window", calibration.window);
    cell.object("calibration", slice);
}

void add_quality(CanonicalObject& cell, const QualitySpec& spec) {
    CanonicalObject quality;
    if (spec.mode == QualityMode::layers) {
        quality.boolean("layers", true);
    }
    quality.text("text", spec.text);
    quality.integer("tokens", spec.tokens);
    quality.integer("window", spec.window);
    cell.object("quality", quality);
}

std::string canonical(const JobSpec& spec, Scope scope) {
    const std::string_view method =
        scope == Scope::setting ? "fp16" : std::string_view(spec.method);
    // Quality runs in one of the repeats only: what it reads counts for that cell alone.
    const bool whole = scope == Scope::cell;
    const QualitySpec quality = whole ? spec.quality : QualitySpec{};
    CanonicalObject cell;
    if (spec.alpha && method_is(method, &MethodRow::reads_alpha)) {
        cell.number("alpha", *spec.alpha);
    }
    cell.integer("batch", spec.batch);
    if (spec.calibration && method_is(method, &MethodRow::calibrates)) {
        add_calibration(cell, *spec.calibration);
    }
    cell.text("gpu", spec.gpu);
    cell.integer("head_bits", spec.head_bits);
    cell.text("kv", spec.kv);
    cell.text("method", method);
    add_model(cell, spec.model);
    cell.integer("new_tokens", spec.new_tokens);
    if (method == "mixed") {
        cell.text("policy", sha256_hex(spec.policy));
    }
    if (spec.prompt_tokens > 0) {
        cell.text("prompt_text", quality.text);
        cell.integer("prompt_tokens", spec.prompt_tokens);
    } else {
        cell.text("prompt", spec.prompt);
    }
    cell.text("protocol", to_string(spec.protocol));
    const int repeat = whole ? spec.repeat : 0;
    if (quality.mode != QualityMode::off && repeat == 0 &&
        spec.model.weights == WeightsSource::real) {
        add_quality(cell, quality);
    }
    cell.integer("repeat", repeat);
    cell.unsigned_integer("seed", spec.seed);
    cell.boolean("stop_at_eos", spec.stop_at_eos);
    cell.integer("threads", spec.threads);
    if (spec.threshold && scope != Scope::setting && reads_threshold(method)) {
        cell.number("threshold", *spec.threshold);
    }
    if (reads_warmup(spec.protocol)) {
        cell.integer("warmup", spec.warmup);
    }
    return cell.close();
}

}  // namespace

std::string canonical_json(const JobSpec& spec) {
    return canonical(spec, Scope::cell);
}

std::string series_key(const JobSpec& spec) {
    return sha256_hex(canonical(spec, Scope::series));
}

std::string setting_key(const JobSpec& spec) {
    return sha256_hex(canonical(spec, Scope::setting));
}

std::string spec_key(const JobSpec& spec) {
    return sha256_hex(canonical_json(spec));
}

// Most cells are the first repeat and have no quality: their series' form is their own.
StoredKeys stored_keys(const JobSpec& spec, std::string_view spec_key) {
    StoredKeys keys;
    keys.canonical = canonical(spec, Scope::cell);
    const std::string series = canonical(spec, Scope::series);
    keys.series = series == keys.canonical ? std::string(spec_key) : sha256_hex(series);
    keys.setting = setting_key(spec);
    return keys;
}

JobKey cell_key(const CellIdentity& identity) {
    CanonicalObject key;
    key.text("dataset_digest", identity.dataset_digest);
    key.integer("numerics_revision", identity.numerics_revision);
    key.text("spec_key", identity.spec_key);
    key.text("weights_digest", identity.weights_digest);
    return JobKey{sha256_hex(key.close())};
}

}  // namespace bitsweep
