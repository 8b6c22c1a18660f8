#include "coordinator/server/pieces.h"

#include <iterator>
#include <utility>

namespace bitsweep {

namespace {

constexpr Duration patience{60'000};  // a client answers a receipt with the next piece at once

Error out_of_order(const Submit& piece, std::int64_t expected) {
    return make_error(ErrorCode::invalid_input,
                      "piece " + std::to_string(piece.piece) + " of experiment " +
                          piece.experiment.value + " came where piece " + std::to_string(expected) +
                          " belongs; submit it again");
}

}  // namespace

Result<std::optional<Submit>> Pieces::take(const std::string& connection, Submit piece,
                                           TimePoint now) {
    forget_the_silent(now);
    auto entry = gathered_.find(connection);
    if (piece.piece == 0) {
        if (entry != gathered_.end()) {
            gathered_.erase(entry);  // the client begins again
        }
        if (!piece.continues) {
            return std::optional<Submit>(std::move(piece));
        }
        entry = gathered_.emplace(connection, Gathered{}).first;
    } else if (entry == gathered_.end()) {
        return out_of_order(piece, 0);
    } else if (const Submit& before = entry->second.submit;
               piece.piece != before.piece + 1 || piece.experiment != before.experiment) {
        const Error error = out_of_order(piece, before.piece + 1);
        gathered_.erase(entry);
        return error;
    }
    const std::size_t mine = entry->second.submit.cells.size() + piece.cells.size();
    const bool too_many = mine > most_cells_of_a_submission;
    if (too_many || all_cells() + piece.cells.size() > most_cells_of_a_submission) {
        gathered_.erase(entry);
        return too_many ? make_error(ErrorCode::invalid_input,
                                     "more than 1,000,000 cells in one experiment")
                        : make_error(ErrorCode::unavailable,
                                     "another large submission is on its way; try again when it "
                                     "is here");
    }
    std::vector<Cell> cells = std::move(entry->second.submit.cells);
    std::move(piece.cells.begin(), piece.cells.end(), std::back_inserter(cells));
    piece.cells = std::move(cells);
    if (piece.continues) {
        entry->second = {std::move(piece), now};
        return std::optional<Submit>();
    }
    gathered_.erase(entry);
    return std::optional<Submit>(std::move(piece));
}

std::size_t Pieces::cells(const std::string& connection) const {
    const auto found = gathered_.find(connection);
    return found == gathered_.end() ? 0 : found->second.submit.cells.size();
}

std::size_t Pieces::all_cells() const {
    std::size_t sum = 0;
    for (const auto& [connection, one] : gathered_) {
        sum += one.submit.cells.size();
    }
    return sum;
}

void Pieces::forget_the_silent(TimePoint now) {
    std::erase_if(gathered_,
                  [&](const auto& entry) { return now - entry.second.heard >= patience; });
}

}  // namespace bitsweep
