#include "results/store/job_rows.h"

#include <bit>
#include <functional>

#include "results/store/queries.h"

namespace bitsweep {
namespace {

constexpr std::size_t fewest_slots = 1'024;
constexpr std::int64_t ask = -1;

std::uint64_t hash_of(std::string_view key) {
    return std::hash<std::string_view>{}(key);
}

Result<std::optional<std::int64_t>> ask_database(Connection& connection, std::string_view key) {
    Statement& select = *TRY(connection.cached(sql::row_of_key));
    const bool found = TRY(select.bind_all(key).step());
    const auto row = found ? std::optional(select.integer(0)) : std::nullopt;
    select.reset();
    return row;
}

}  // namespace

JobRows::Slot& JobRows::slot_of(std::uint64_t hash) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hash & mask;
    while (slots_[at].row != 0 && slots_[at].hash != hash) {
        at = (at + 1) & mask;
    }
    return slots_[at];
}

void JobRows::grow(std::size_t jobs) {
    const std::vector<Slot> before = std::move(slots_);
    slots_.assign(std::bit_ceil(std::max(fewest_slots, 2 * jobs)), Slot{});
    for (const Slot& slot : before) {
        if (slot.row != 0) {
            slot_of(slot.hash) = slot;
        }
    }
}

void JobRows::add(std::string_view key, std::int64_t row) {
    if (slots_.empty()) {
        return;  // read with everything else when somebody asks
    }
    if (2 * (used_ + 1) > slots_.size()) {
        grow(2 * used_);
    }
    const std::uint64_t hash = hash_of(key);
    Slot& slot = slot_of(hash);
    used_ += slot.row == 0 ? 1 : 0;
    slot = {hash, slot.row == 0 ? row : ask};
}

void JobRows::forget() {
    slots_ = {};
    used_ = 0;
}

Status JobRows::load(Connection& connection) {
    grow(static_cast<std::size_t>(TRY(connection.integer("SELECT count(*) FROM job_specs"))));
    Statement rows = TRY(connection.prepare("SELECT key, id FROM job_specs"));
    while (TRY(rows.step())) {
        add(rows.view(0), rows.integer(1));
    }
    return {};
}

Result<std::optional<std::int64_t>> JobRows::find(Connection& connection, std::string_view key) {
    if (slots_.empty()) {
        if (Status loaded = load(connection); !loaded) {
            forget();
            return loaded.error();
        }
    }
    const Slot& slot = slot_of(hash_of(key));
    if (slot.row < 0) {
        return ask_database(connection, key);
    }
    return slot.row == 0 ? std::optional<std::int64_t>() : std::optional(slot.row);
}

}  // namespace bitsweep
