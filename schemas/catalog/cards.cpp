#include "schemas/catalog/cards.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "schemas/catalog/edit_distance.h"

namespace bitsweep {
namespace {

// Memory: total MiB of nvidia-smi / 1024. Bandwidth and compute capability: NVIDIA's data sheets.
// By memory, smallest first.
constexpr std::array<Card, 20> table = {{
    {"T4", 15.0, 320, 75},
    {"V100-16GB", 16.0, 900, 70},
    {"RTX-4080", 16.0, 717, 89},
    {"A10", 22.5, 600, 86},
    {"A10G", 22.5, 600, 86},
    {"L4", 22.5, 300, 89},
    {"RTX-3090", 24.0, 936, 86},
    {"RTX-4090", 24.0, 1008, 89},
    {"RTX-5090", 31.8, 1792, 120},
    {"V100-32GB", 32.0, 900, 70},
    {"A100-40GB", 40.0, 1555, 80},
    {"L40S", 45.0, 864, 89},
    {"A40", 45.0, 696, 86},
    {"RTX-A6000", 48.0, 768, 86},
    {"H100-80GB", 79.6, 3350, 90},
    {"A100-80GB", 80.0, 2039, 80},
    {"GH200-96GB", 95.6, 4000, 90},
    {"RTX-PRO-6000", 95.6, 1792, 120},
    {"H200", 140.4, 4800, 90},
    {"B200", 179.1, 8000, 100},
}};

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> out;
    std::string word;
    for (const char c : text) {
        const char small = lower(c);
        const bool part = (small >= 'a' && small <= 'z') || (small >= '0' && small <= '9');
        if (part) {
            word += small;
        } else if (!word.empty()) {
            out.push_back(std::move(word));
            word.clear();
        }
    }
    if (!word.empty()) {
        out.push_back(std::move(word));
    }
    return out;
}

// 80 of "80gb"; 0 of any other word.
int gigabytes(const std::string& word) {
    int number = 0;
    const auto parsed = std::from_chars(word.data(), word.data() + word.size(), number);
    return parsed.ec == std::errc{} && std::string_view(parsed.ptr) == "gb" ? number : 0;
}

}  // namespace

std::span<const Card> card_table() {
    return table;
}

const Card* find_card(std::string_view kind) {
    const std::vector<std::string> words = words_of(kind.substr(0, 200));
    int stated = 0;
    for (const std::string& word : words) {
        stated = std::max(stated, gigabytes(word));
    }
    const Card* best = nullptr;
    for (const Card& card : table) {
        const std::vector<std::string> parts = words_of(card.name);
        const bool fits = std::ranges::all_of(parts, [&](const std::string& part) {
            return gigabytes(part) > 0 || std::ranges::find(words, part) != words.end();
        });
        if (!fits) {
            continue;
        }
        const auto distance = [&](const Card& one) { return std::abs(one.vram_gib - stated); };
        if (best == nullptr || (stated > 0 && distance(card) < distance(*best))) {
            best = &card;
        }
    }
    return best;
}

const Card* smallest_card(double gib) {
    const auto found =
        std::ranges::find_if(table, [gib](const Card& card) { return card.vram_gib >= gib; });
    return found == table.end() ? nullptr : &*found;
}

std::string nearest_card(std::string_view kind) {
    kind = kind.substr(0, 64);
    const auto replacement = [](char a, char b) { return unit_replacement(lower(a), lower(b)); };
    const auto nearest = std::ranges::min_element(table, {}, [&](const Card& card) {
        return edit_distance(kind, card.name, replacement);
    });
    return std::string(nearest->name);
}

}  // namespace bitsweep
