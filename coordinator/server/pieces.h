// Submissions that are longer than one message: their pieces wait here until the last one has come.
// Time is an argument; nothing is stored, so a client or a coordinator that dies halfway leaves
// nothing behind.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "schemas/message.h"
#include "schemas/status.h"
#include "schemas/time.h"

namespace bitsweep {

inline constexpr std::size_t most_cells_of_a_submission = 1'000'000;  // matrix.md
// As unpacked_bytes() counts: all of those cells with 3 KiB of texts each.
inline constexpr std::size_t most_bytes_of_a_submission = std::size_t{4} << 30;

class Pieces {
 public:
    explicit Pieces(std::size_t most_bytes = most_bytes_of_a_submission)
        : most_bytes_(most_bytes) {}

    // What a connection sent. The whole submission with its last piece, at once where it has only
    // one; nullopt: more must come. invalid_input: too many cells or too long ones, a piece is
    // missing, or belongs to another experiment; unavailable: others fill the room. After an error
    // the client begins again.
    Result<std::optional<Submit>> take(const std::string& connection, Submit piece, TimePoint now);

    // How many cells of this connection wait.
    std::size_t cells(const std::string& connection) const;

    // Drops what nobody went on with.
    void forget_the_silent(TimePoint now);

 private:
    struct Gathered {
        Submit submit;
        TimePoint heard;
        std::size_t bytes = 0;
    };
    // Whether the cells of this piece have room behind those that wait.
    Status make_room(const Gathered& before, const Submit& piece, std::size_t bytes) const;

    std::size_t most_bytes_;
    std::map<std::string, Gathered> gathered_;  // by connection
};

}  // namespace bitsweep
