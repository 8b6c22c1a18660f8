#include "schemas/cell_rows.h"

#include <functional>
#include <string>
#include <tuple>

namespace bitsweep {

namespace {

// Equality of the nouns. The bindings name every member: a new one does not compile before it is
// compared. catalog/canonical.cpp compares specs, too, but for what their canonical forms share:
// there the threshold counts, and whether there are prompt tokens and repeats.

auto members(const ModelRef& noun) {
    const auto& [name, weights, seed, path] = noun;
    return std::tie(name, weights, seed, path);
}

auto members(const QualitySpec& noun) {
    const auto& [mode, text, tokens, window] = noun;
    return std::tie(mode, text, tokens, window);
}

auto members(const CalibrationSpec& noun) {
    const auto& [text, offset, tokens, window, seed] = noun;
    return std::tie(text, offset, tokens, window, seed);
}

bool same_calibration(const std::optional<CalibrationSpec>& a,
                      const std::optional<CalibrationSpec>& b) {
    return a && b ? members(*a) == members(*b) : !a && !b;
}

// All but the numbers that each job keeps, and the spec key, which follows from the spec.
bool same_spec(const JobSpec& a, const JobSpec& b) {
    const auto parts = [](const JobSpec& spec) {
        const auto& [model, method, threshold, calibration, alpha, policy, head, kv, gpu, batch,
                     prompt, prompt_tokens, new_tokens, stop, warmup, protocol, quality, threads,
                     seed, repeat] = spec;
        (void)model, (void)calibration, (void)quality;  // nouns: below
        (void)threshold, (void)batch, (void)prompt_tokens, (void)new_tokens, (void)threads,
            (void)seed, (void)repeat;  // numbers
        return std::tie(method, alpha, policy, head, kv, gpu, prompt, stop, warmup, protocol);
    };
    return parts(a) == parts(b) && members(a.model) == members(b.model) &&
           same_calibration(a.calibration, b.calibration) &&
           members(a.quality) == members(b.quality);
}

bool same_identity(const CellIdentity& a, const CellIdentity& b) {
    const auto parts = [](const CellIdentity& identity) {
        const auto& [spec_key, weights, dataset, revision] = identity;
        (void)spec_key;
        return std::tie(weights, dataset, revision);
    };
    return parts(a) == parts(b);
}

}  // namespace

bool same_but_numbers(const Cell& a, const Cell& b) {
    const auto& [spec, identity, policy, line, condition] = a;
    (void)line;  // a number
    return same_spec(spec, b.spec) && same_identity(identity, b.identity) &&
           same_policy(policy, b.policy) && condition == b.card_condition;
}

bool same_policy(const JobPolicy& a, const JobPolicy& b) {
    const auto parts = [](const JobPolicy& policy) {
        const auto& [priority, timeout, crash, fail] = policy;
        return std::tie(priority, timeout, crash, fail);
    };
    return parts(a) == parts(b);
}

// What is left out here still counts when two are compared.
std::size_t HashButNumbers::operator()(const Cell& cell) const {
    std::size_t hash = cell.spec.model.weights_seed;
    const auto mix = [&](std::size_t more) {
        hash ^= more + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
    };
    for (const std::string* text : {&cell.spec.model.name, &cell.spec.method, &cell.spec.gpu,
                                    &cell.spec.prompt, &cell.spec.policy}) {
        mix(text->empty() ? 0 : std::hash<std::string>{}(*text));
    }
    mix(cell.spec.kv.size());
    mix(static_cast<std::size_t>(cell.spec.head_bits));
    mix(static_cast<std::size_t>(cell.spec.protocol));
    mix(static_cast<std::size_t>(cell.spec.quality.tokens));
    mix(static_cast<std::size_t>(cell.policy.priority));
    return hash;
}

std::size_t SharedCells::index_of(const Cell& cell) {
    if (all_.empty() || !same_but_numbers(*all_[latest_], cell)) {
        const auto [known, is_new] = known_.try_emplace(&cell, all_.size());
        if (is_new) {
            all_.push_back(&cell);
        }
        latest_ = known->second;
    }
    return latest_;
}

}  // namespace bitsweep
