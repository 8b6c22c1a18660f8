#include "coordinator/scheduler/cell_table.h"

#include <functional>
#include <string>
#include <tuple>
#include <utility>

namespace bitsweep::scheduler {

namespace {

// Equality of the nouns, here because nobody else compares them. The bindings name every member: a
// new one does not compile before it is compared.

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

auto members(const CellIdentity& noun) {
    const auto& [spec_key, weights, dataset, revision] = noun;
    return std::tie(spec_key, weights, dataset, revision);
}

bool same_calibration(const std::optional<CalibrationSpec>& a,
                      const std::optional<CalibrationSpec>& b) {
    return a && b ? members(*a) == members(*b) : !a && !b;
}

bool same_spec(const JobSpec& a, const JobSpec& b) {
    const auto parts = [](const JobSpec& spec) {
        const auto& [model, method, threshold, calibration, alpha, policy, head, kv, gpu, batch,
                     prompt, prompt_tokens, new_tokens, stop, warmup, protocol, quality, threads,
                     seed, repeat] = spec;
        (void)model, (void)calibration, (void)quality;  // nouns: below
        return std::tie(method, threshold, alpha, policy, head, kv, gpu, batch, prompt,
                        prompt_tokens, new_tokens, stop, warmup, protocol, threads, seed, repeat);
    };
    return parts(a) == parts(b) && members(a.model) == members(b.model) &&
           same_calibration(a.calibration, b.calibration) &&
           members(a.quality) == members(b.quality);
}

bool same_cell(const Cell& a, const Cell& b) {
    const auto& [spec, identity, policy, line, condition] = a;
    return line == b.yaml_line && condition == b.card_condition && same_spec(spec, b.spec) &&
           members(identity) == members(b.identity) && same_policy(policy, b.policy);
}

// The numbers leave the cell; give_back() is the other direction.
CellNumbers take_numbers(Cell& cell) {
    CellNumbers numbers;
    std::swap(numbers.seed, cell.spec.seed);
    std::swap(numbers.prompt_tokens, cell.spec.prompt_tokens);
    std::swap(numbers.new_tokens, cell.spec.new_tokens);
    numbers.has_threshold = cell.spec.threshold.has_value();
    numbers.threshold = cell.spec.threshold.value_or(0);
    cell.spec.threshold.reset();
    std::swap(numbers.batch, cell.spec.batch);
    std::swap(numbers.repeat, cell.spec.repeat);
    std::swap(numbers.yaml_line, cell.yaml_line);
    return numbers;
}

void give_back(const CellNumbers& numbers, JobSpec& spec) {
    spec.seed = numbers.seed;
    spec.prompt_tokens = numbers.prompt_tokens;
    spec.new_tokens = numbers.new_tokens;
    if (numbers.has_threshold) {
        spec.threshold = numbers.threshold;
    }
    spec.batch = numbers.batch;
    spec.repeat = numbers.repeat;
}

}  // namespace

bool same_policy(const JobPolicy& a, const JobPolicy& b) {
    const auto parts = [](const JobPolicy& policy) {
        const auto& [priority, timeout, crash, fail] = policy;
        return std::tie(priority, timeout, crash, fail);
    };
    return parts(a) == parts(b);
}

JobSpec PackedCell::spec() const {
    JobSpec spec = shared_->spec;
    give_back(numbers_, spec);
    return spec;
}

Cell PackedCell::unpack() const {
    Cell cell = *shared_;
    give_back(numbers_, cell.spec);
    cell.yaml_line = numbers_.yaml_line;
    return cell;
}

// What is left out here still counts when two are compared.
std::size_t CellTable::Hash::operator()(const Cell& cell) const {
    std::size_t hash = cell.spec.model.weights_seed;
    const auto mix = [&](std::size_t more) {
        hash ^= more + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
    };
    for (const std::string* text :
         {&cell.spec.model.name, &cell.spec.method, &cell.spec.gpu, &cell.spec.kv,
          &cell.spec.prompt, &cell.spec.policy, &cell.identity.weights_digest}) {
        mix(std::hash<std::string>{}(*text));
    }
    mix(static_cast<std::size_t>(cell.spec.head_bits));
    mix(static_cast<std::size_t>(cell.spec.protocol));
    mix(static_cast<std::size_t>(cell.spec.quality.tokens));
    mix(static_cast<std::size_t>(cell.policy.priority));
    return hash;
}

bool CellTable::Equal::operator()(const Cell& a, const Cell& b) const {
    return same_cell(a, b);
}

PackedCell CellTable::pack(Cell cell) {
    cell.identity.spec_key.clear();
    PackedCell packed;
    packed.numbers_ = take_numbers(cell);
    if (latest_ == nullptr || !same_cell(*latest_, cell)) {
        latest_ = &*shared_.insert(std::move(cell)).first;
    }
    packed.shared_ = latest_;
    return packed;
}

}  // namespace bitsweep::scheduler
