#include "coordinator/scheduler/cell_table.h"

#include <utility>

namespace bitsweep::scheduler {

namespace {

// give_back() is the other direction.
CellNumbers numbers_of(const Cell& cell) {
    const JobSpec& spec = cell.spec;
    CellNumbers numbers;
    numbers.seed = spec.seed;
    numbers.prompt_tokens = spec.prompt_tokens;
    numbers.new_tokens = spec.new_tokens;
    numbers.threshold = spec.threshold.value_or(0);
    numbers.batch = spec.batch;
    numbers.repeat = spec.repeat;
    numbers.threads = spec.threads;
    numbers.yaml_line = cell.yaml_line;
    numbers.has_threshold = spec.threshold.has_value();
    return numbers;
}

void give_back(const CellNumbers& numbers, JobSpec& spec) {
    spec.seed = numbers.seed;
    spec.prompt_tokens = numbers.prompt_tokens;
    spec.new_tokens = numbers.new_tokens;
    spec.threshold = numbers.has_threshold ? std::optional(numbers.threshold) : std::nullopt;
    spec.batch = numbers.batch;
    spec.repeat = numbers.repeat;
    spec.threads = numbers.threads;
}

}  // namespace

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

PackedCell CellTable::pack(const Cell& cell) {
    if (latest_ == nullptr || !same_but_numbers(*latest_, cell)) {
        auto known = shared_.find(cell);
        if (known == shared_.end()) {
            Cell shared = cell;
            shared.identity.spec_key.clear();
            known = shared_.insert(std::move(shared)).first;
        }
        latest_ = &*known;
    }
    PackedCell packed;
    packed.numbers_ = numbers_of(cell);
    packed.shared_ = latest_;
    return packed;
}

}  // namespace bitsweep::scheduler
