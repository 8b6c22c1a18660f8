#include "results/store/job_reader.h"

#include <bit>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "schemas/cell_numbers.h"
#include "schemas/codec.h"

namespace bitsweep {
namespace {

// More than the models x methods x thresholds of an experiment. A database of before schema 9 has
// one for each job.
constexpr std::size_t most_kept = 1'024;

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    if (!text.empty()) {
        std::istringstream in{std::string(text)};
        for (std::string line; std::getline(in, line);) {
            lines.push_back(std::move(line));
        }
    }
    return lines;
}

int small(const Statement& row, int column) {
    return static_cast<int>(row.integer(column));
}

// The cells of one `shared` have all in common but the columns before it.
class CellReader {
 public:
    Result<Cell> read(const Statement& row) {
        JobSpec numbers;
        numbers.batch = small(row, 15);
        numbers.new_tokens = row.integer(16);
        numbers.prompt_tokens = row.integer(17);
        numbers.repeat = small(row, 18);
        numbers.seed = std::bit_cast<std::uint64_t>(row.integer(19));
        numbers.threads = small(row, 20);
        Cell cell = *TRY(shared_cell(row, numbers));
        copy_numbers(numbers, cell.spec);
        cell.identity.spec_key = row.text(21);
        cell.yaml_line = small(row, 26);
        cell.policy.priority = small(row, 27);
        cell.policy.timeout.ms = row.integer(28);
        cell.policy.retries_crash = small(row, 29);
        cell.policy.retries_fail = small(row, 30);
        return cell;
    }

 private:
    // Until the next call.
    Result<const Cell*> shared_cell(const Statement& row, const JobSpec& numbers) {
        const std::int64_t shared = row.integer(14);
        if (const auto known = shared_.find(shared); known != shared_.end()) {
            return &known->second;
        }
        if (shared_.size() >= most_kept) {
            shared_.clear();
        }
        Cell cell;
        cell.spec = TRY(job_from_json(fill_marks(row.view(22), numbers)));
        cell.identity.weights_digest = row.text(23);
        cell.identity.dataset_digest = row.text(24);
        cell.identity.numerics_revision = small(row, 25);
        return &shared_.emplace(shared, std::move(cell)).first->second;
    }

    std::unordered_map<std::int64_t, Cell> shared_;
};

Result<StoredJob> job_of_row(const Statement& row, CellReader& cells) {
    StoredJob job;
    job.cell = TRY(cells.read(row));
    job.key.value = row.text(0);
    job.state = row.text(1);
    job.attempt.value = static_cast<std::uint32_t>(row.integer(2));
    job.crashes = small(row, 3);
    job.failures = small(row, 4);
    job.worker.value = row.text(5);
    job.session.value = row.text(6);
    job.device = row.text(7);
    const std::optional<OutcomeClass> outcome = outcome_from_string(row.view(8));
    if (!outcome) {
        return make_error(
            ErrorCode::corrupt,
            "job " + job.key.value + ": the database names an unknown outcome, " + row.text(8));
    }
    job.last_outcome = *outcome;
    job.last_message = row.text(9);
    job.kinds_tried = lines_of(row.view(10));
    job.outgrew_bytes = static_cast<std::uint64_t>(row.integer(11));
    job.windows_again = small(row, 12);
    job.shown = row.text(13);
    return job;
}

}  // namespace

Result<std::vector<StoredJob>> read_jobs(Statement& rows, std::size_t expected) {
    CellReader cells;
    std::vector<StoredJob> all;
    all.reserve(expected);
    while (TRY(rows.step())) {
        all.push_back(TRY(job_of_row(rows, cells)));
    }
    return all;
}

}  // namespace bitsweep
