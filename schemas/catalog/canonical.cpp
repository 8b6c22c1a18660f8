// The canonical form of a cell: what identifies it. It asks the method table which axes are read,
// so it lives in the catalog; the contract is in schemas/codec.h.
#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>

#include "schemas/catalog/canonical_forms.h"
#include "schemas/catalog/canonical_object.h"
#include "schemas/catalog/methods.h"
#include "schemas/catalog/stored_keys.h"
#include "schemas/codec.h"
#include "schemas/content.h"

namespace bitsweep {
namespace {

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

using Scope = CanonicalScope;

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

// `cuts`: where its numbers stand; may be null.
std::string canonical(const JobSpec& spec, Scope scope, std::vector<CanonicalCut>* cuts) {
    const std::string_view method =
        scope == Scope::setting ? "fp16" : std::string_view(spec.method);
    // Quality runs in one of the repeats only: what it reads counts for that cell alone.
    const bool whole = scope == Scope::cell;
    const QualitySpec quality = whole ? spec.quality : QualitySpec{};
    CanonicalObject cell;
    const auto number = [&](const char* name, CellNumber which) {
        Digits room{};
        cell.digits(name, digits_of(spec, which, room));
        if (cuts != nullptr) {
            cuts->push_back({which, cell.value_at(), cell.size()});
        }
    };
    if (spec.alpha && method_is(method, &MethodRow::reads_alpha)) {
        cell.number("alpha", *spec.alpha);
    }
    number("batch", CellNumber::batch);
    if (spec.calibration && method_is(method, &MethodRow::calibrates)) {
        add_calibration(cell, *spec.calibration);
    }
    cell.text("gpu", spec.gpu);
    cell.integer("head_bits", spec.head_bits);
    cell.text("kv", spec.kv);
    cell.text("method", method);
    add_model(cell, spec.model);
    number("new_tokens", CellNumber::new_tokens);
    if (method == "mixed") {
        cell.text("policy", sha256_hex(spec.policy));
    }
    if (spec.prompt_tokens > 0) {
        cell.text("prompt_text", quality.text);
        number("prompt_tokens", CellNumber::prompt_tokens);
    } else {
        cell.text("prompt", spec.prompt);
    }
    cell.text("protocol", to_string(spec.protocol));
    const int repeat = whole ? spec.repeat : 0;
    if (quality.mode != QualityMode::off && repeat == 0 &&
        spec.model.weights == WeightsSource::real) {
        add_quality(cell, quality);
    }
    if (whole) {
        number("repeat", CellNumber::repeat);
    } else {
        cell.integer("repeat", 0);
    }
    number("seed", CellNumber::seed);
    cell.boolean("stop_at_eos", spec.stop_at_eos);
    number("threads", CellNumber::threads);
    if (spec.threshold && scope != Scope::setting && reads_threshold(method)) {
        cell.number("threshold", *spec.threshold);
    }
    if (reads_warmup(spec.protocol)) {
        cell.integer("warmup", spec.warmup);
    }
    return cell.close();
}

// ---- one form after another

// All but the numbers that are cut out. The bindings name every member: a new one does not compile
// before it is compared.
bool same_but_numbers(const JobSpec& a, const JobSpec& b) {
    const auto parts = [](const JobSpec& spec) {
        const auto& [model, method, threshold, calibration, alpha, policy, head, kv, gpu, batch,
                     prompt, prompt_tokens, new_tokens, stop, warmup, protocol, quality, threads,
                     seed, repeat] = spec;
        const auto& [name, weights, weights_seed, path] = model;
        const auto& [mode, text, tokens, window] = quality;
        (void)calibration, (void)batch, (void)new_tokens, (void)threads, (void)seed;
        return std::tuple_cat(
            std::tie(method, threshold, head, name, kv, gpu, weights, weights_seed, path, alpha,
                     prompt, policy, stop, warmup, protocol, mode, text, tokens, window),
            std::tuple(prompt_tokens > 0, repeat == 0));
    };
    const auto same_calibration = [&] {
        const auto slice = [](const CalibrationSpec& calibration) {
            const auto& [text, offset, tokens, window, seed] = calibration;
            return std::tie(text, offset, tokens, window, seed);
        };
        return a.calibration && b.calibration ? slice(*a.calibration) == slice(*b.calibration)
                                              : !a.calibration && !b.calibration;
    };
    return parts(a) == parts(b) && same_calibration();
}

std::size_t hash_of(const JobSpec& spec) {
    const auto mixed = [](std::size_t hash, std::size_t more) {
        return hash ^ (more + 0x9E3779B97F4A7C15u + (hash << 6) + (hash >> 2));
    };
    std::size_t hash = std::hash<std::string>{}(spec.method);
    hash = mixed(hash, std::hash<std::string>{}(spec.model.name));
    hash = mixed(hash, std::hash<std::string>{}(spec.gpu));
    hash = mixed(hash, std::hash<double>{}(spec.threshold.value_or(-1)));
    hash = mixed(hash, static_cast<std::size_t>(spec.head_bits) * 8 + spec.kv.size());
    return mixed(hash, (spec.repeat == 0 ? 2u : 0u) + (spec.prompt_tokens > 0 ? 1u : 0u));
}

}  // namespace

std::string_view CanonicalForms::of(const JobSpec& spec) {
    Set& set = kept_[hash_of(spec) % kept_.size()];
    const auto known = std::ranges::find_if(set, [&](const std::unique_ptr<Kept>& one) {
        return one != nullptr && same_but_numbers(one->spec, spec);
    });
    if (known == set.end()) {
        Kept& kept = *(set[made_ % set.size()] = std::make_unique<Kept>());
        kept.serial = ++made_;
        kept.spec = spec;
        kept.text = canonical(spec, scope_, &kept.cuts);
        latest_ = &kept;
        return kept.text;
    }
    latest_ = known->get();
    const std::string_view text = latest_->text;
    std::size_t copied = 0;
    out_.clear();
    for (const CanonicalCut& cut : latest_->cuts) {
        Digits room{};
        out_ += text.substr(copied, cut.begin - copied);
        out_ += digits_of(spec, cut.number, room);
        copied = cut.end;
    }
    out_ += text.substr(copied);
    return out_;
}

std::size_t CanonicalForms::serial() const {
    return latest_->serial;
}

std::string CanonicalForms::marked() const {
    const Kept& kept = *latest_;
    std::string out;
    std::size_t copied = 0;
    for (const CanonicalCut& cut : kept.cuts) {
        out.append(kept.text, copied, cut.begin - copied);
        out += mark_of(cut.number);
        copied = cut.end;
    }
    return out.append(kept.text, copied);
}

std::string CanonicalForms::key(const JobSpec& spec) {
    return sha256_hex(of(spec));
}

std::string canonical_json(const JobSpec& spec) {
    return canonical(spec, Scope::cell, nullptr);
}

std::string series_key(const JobSpec& spec) {
    return sha256_hex(canonical(spec, Scope::series, nullptr));
}

std::string setting_key(const JobSpec& spec) {
    return sha256_hex(canonical(spec, Scope::setting, nullptr));
}

std::string spec_key(const JobSpec& spec) {
    return sha256_hex(canonical_json(spec));
}

// Most cells are the first repeat and have no quality: their series' form is their own.
const StoredKeys& StoredForms::of(const JobSpec& spec, std::string_view spec_key) {
    const std::string_view canonical = cell_.of(spec);
    const std::string_view series = series_.of(spec);
    keys_.serial = cell_.serial();
    keys_.series = series == canonical ? std::string(spec_key) : sha256_hex(series);
    keys_.setting = setting_.key(spec);
    return keys_;
}

JobKey CellKeys::of(const CellIdentity& identity) {
    if (before_.empty() || identity.dataset_digest != like_.dataset_digest ||
        identity.weights_digest != like_.weights_digest ||
        identity.numerics_revision != like_.numerics_revision) {
        like_ = identity;
        CanonicalObject before;
        before.text("dataset_digest", identity.dataset_digest);
        before.integer("numerics_revision", identity.numerics_revision);
        before.text("spec_key", "");
        before_ = before.close();
        before_.resize(before_.size() - std::string_view("\"}").size());
        CanonicalObject behind;
        behind.text("weights_digest", identity.weights_digest);
        behind_ = "\"," + behind.close().substr(1);
    }
    text_.assign(before_).append(identity.spec_key).append(behind_);
    return JobKey{sha256_hex(text_)};
}

JobKey cell_key(const CellIdentity& identity) {
    return CellKeys().of(identity);
}

}  // namespace bitsweep
