// The visible table of cards: what a kind under `gpu` means before one attaches. A card that is
// attached says itself what it has.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace bitsweep {

struct Card {
    std::string_view name;  // "A100-40GB"
    double vram_gib;        // total, as the driver reports it
    double bandwidth_gbs;   // memory, GB/s, by the data sheet
    int sm;                 // compute capability without its point: 75, 120
};

std::span<const Card> card_table();

// The card that `kind` means: each part of the card's name is a word of the kind, without case
// ("a100", "NVIDIA-H200-141GB-700W"). Where several fit, the one whose memory the kind states, else
// the smallest, so that nothing is planned that the others only could hold. nullptr: none.
const Card* find_card(std::string_view kind);

// The card with the least memory that holds `gib`; nullptr: none does.
const Card* smallest_card(double gib);

// The known name with the smallest edit distance, for "did you mean".
std::string nearest_card(std::string_view kind);

}  // namespace bitsweep
