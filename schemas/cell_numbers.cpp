#include "schemas/cell_numbers.h"

#include <charconv>

#include "schemas/status.h"

namespace bitsweep {

std::string_view digits_of(const JobSpec& spec, CellNumber number, Digits& room) {
    const auto digits = [&](auto value) {
        const auto end = std::to_chars(room.data(), room.data() + room.size(), value).ptr;
        return std::string_view(room.data(), static_cast<std::size_t>(end - room.data()));
    };
    switch (number) {
        case CellNumber::batch:
            return digits(spec.batch);
        case CellNumber::new_tokens:
            return digits(spec.new_tokens);
        case CellNumber::prompt_tokens:
            return digits(spec.prompt_tokens);
        case CellNumber::repeat:
            return digits(spec.repeat);
        case CellNumber::seed:
            return digits(spec.seed);
        case CellNumber::threads:
            return digits(spec.threads);
    }
    ASSERT(false);
    return {};
}

std::string fill_marks(std::string_view marked, const JobSpec& spec) {
    constexpr char last = mark_of(CellNumber::threads);
    std::string out;
    out.reserve(marked.size() + 32);
    for (const char c : marked) {
        if (c >= 1 && c <= last) {
            Digits room{};
            out += digits_of(spec, static_cast<CellNumber>(c - 1), room);
        } else {
            out += c;
        }
    }
    return out;
}

void copy_numbers(const JobSpec& from, JobSpec& to) {
    to.batch = from.batch;
    to.new_tokens = from.new_tokens;
    to.prompt_tokens = from.prompt_tokens;
    to.repeat = from.repeat;
    to.seed = from.seed;
    to.threads = from.threads;
}

}  // namespace bitsweep
