#include "coordinator/cli/plan_fit.h"

#include <algorithm>
#include <cstdio>

#include "coordinator/scheduler/placement.h"
#include "schemas/catalog/cards.h"

namespace bitsweep {
namespace {

constexpr double gib = 1024.0 * 1024.0 * 1024.0;

std::string in_gib(double size) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f GiB", size);
    return text;
}

// The largest of the places that could take the cell, and what to call it.
struct Room {
    double size = 0;  // 0: nobody knows
    std::string who;
};

Room largest_room(const JobSpec& spec, const std::vector<DeviceInfo>& attached) {
    Room room;
    for (const DeviceInfo& device : attached) {
        const bool fits = spec.gpu == "*" || scheduler::kind_matches(spec.gpu, device);
        const double size = static_cast<double>(device.memory_bytes) / gib;
        if (fits && size > room.size) {
            room = {size, "attached " + device.kind};
        }
    }
    if (room.size > 0 || spec.gpu == "cpu") {
        return room;
    }
    if (spec.gpu == "*") {
        const Card& card = card_table().back();
        return {card.vram_gib, "the largest known card, " + std::string(card.name) + ","};
    }
    const Card* card = find_card(spec.gpu);
    return card == nullptr ? Room{} : Room{card->vram_gib, std::string(card->name)};
}

}  // namespace

std::optional<std::uint64_t> memory_of(const JobSpec& spec, JobMemories& memories) {
    const std::optional<JobMemory>& memory = memories.of(spec);
    if (!memory) {
        return std::nullopt;
    }
    MemoryQuestion question = memory->question;
    question.context = spec.prompt_tokens + spec.new_tokens;
    return with_buffers(memory->weights, question, memory->layers).total();
}

std::optional<std::uint64_t> memory_of(const JobSpec& spec) {
    JobMemories memories;
    return memory_of(spec, memories);
}

std::string misfit(const JobSpec& spec, std::optional<std::uint64_t> bytes,
                   const std::vector<DeviceInfo>& attached) {
    if (!bytes || (spec.gpu == "cpu" && attached.empty())) {
        return "";
    }
    const Room room = largest_room(spec, attached);
    const double needs = static_cast<double>(*bytes) / gib;
    if (room.size == 0 || needs <= room.size) {
        return "";
    }
    std::string text = "needs " + in_gib(needs) + ", " + room.who + " has " + in_gib(room.size);
    if (spec.gpu == "cpu") {
        return text;
    }
    const Card* card = smallest_card(needs);
    return text + (card == nullptr
                       ? "; no known card holds it"
                       : "; the smallest known card that holds it is " + std::string(card->name) +
                             " with " + in_gib(card->vram_gib));
}

}  // namespace bitsweep
