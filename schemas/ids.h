// Strong identifiers: a job key cannot be passed where a worker id is wanted.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace bitsweep {

template <class Tag>
struct StringId {
    std::string value;
    auto operator<=>(const StringId&) const = default;
    bool empty() const { return value.empty(); }
};

using JobKey = StringId<struct JobKeyTag>;  // 64 hex digits: the cell key, see schemas/job.h
using WorkerName = StringId<struct WorkerNameTag>;  // chosen by a person or host name plus suffix
using SessionId = StringId<struct SessionIdTag>;  // one connection life of a worker process, random
using ExperimentName = StringId<struct ExperimentNameTag>;

// Counts how often a job was handed out. Raised on every take-back, so that a late answer of an
// older attempt is recognised and changes nothing.
struct Attempt {
    std::uint32_t value = 0;
    auto operator<=>(const Attempt&) const = default;
};

}  // namespace bitsweep

template <class Tag>
struct std::hash<bitsweep::StringId<Tag>> {
    std::size_t operator()(const bitsweep::StringId<Tag>& id) const noexcept {
        return std::hash<std::string>{}(id.value);
    }
};
