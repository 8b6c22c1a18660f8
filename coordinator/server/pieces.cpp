#include "coordinator/server/pieces.h"

#include <iterator>
#include <utility>

#include "schemas/codec.h"

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
    const std::size_t bytes = entry->second.bytes + unpacked_bytes(piece.cells);
    if (Status room = make_room(entry->second, piece, bytes); !room) {
        gathered_.erase(entry);
        return room.error();
    }
    std::vector<Cell> cells = std::move(entry->second.submit.cells);
    std::move(piece.cells.begin(), piece.cells.end(), std::back_inserter(cells));
    piece.cells = std::move(cells);
    if (piece.continues) {
        entry->second = {std::move(piece), now, bytes};
        return std::optional<Submit>();
    }
    gathered_.erase(entry);
    return std::optional<Submit>(std::move(piece));
}

std::size_t Pieces::cells(const std::string& connection) const {
    const auto found = gathered_.find(connection);
    return found == gathered_.end() ? 0 : found->second.submit.cells.size();
}

Status Pieces::make_room(const Gathered& before, const Submit& piece, std::size_t bytes) const {
    if (before.submit.cells.size() + piece.cells.size() > most_cells_of_a_submission) {
        return make_error(ErrorCode::invalid_input, "more than 1,000,000 cells in one experiment");
    }
    if (bytes > most_bytes_) {
        return make_error(ErrorCode::invalid_input,
                          "the cells of one experiment, with their texts, take more than " +
                              std::to_string(most_bytes_) +
                              " bytes; give it fewer cells or shorter prompts and policies");
    }
    std::size_t all_cells = piece.cells.size();
    std::size_t all_bytes = bytes - before.bytes;
    for (const auto& [connection, one] : gathered_) {
        all_cells += one.submit.cells.size();
        all_bytes += one.bytes;
    }
    if (all_cells > most_cells_of_a_submission || all_bytes > most_bytes_) {
        return make_error(ErrorCode::unavailable,
                          "another large submission is on its way; try again when it is here");
    }
    return {};
}

void Pieces::forget_the_silent(TimePoint now) {
    std::erase_if(gathered_,
                  [&](const auto& entry) { return now - entry.second.heard >= patience; });
}

}  // namespace bitsweep
