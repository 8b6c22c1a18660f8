// What `where` of a template (`gpu: {each: any}`) leaves to the card: an expression over the card's
// facts alone, frozen as text with the cell and decided when a card attaches.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "coordinator/expand/expression.h"
#include "coordinator/expand/matrix.h"
#include "schemas/message.h"
#include "schemas/status.h"

namespace bitsweep {

// `expression` with the value of everything that `lookup` knows, and the expressions of derived
// values that it does not know, put in its place: "13.5 < (vram_gib * 0.9)". Empty: it asks nothing
// of the card, or cannot be written so (a text with both kinds of quotes, too long).
std::string left_to_the_card(const Expression& expression, const Lookup& lookup,
                             std::span<const Derive> derives, const Files& file);

// Both conditions, the first of which may be empty.
std::string both_conditions(const std::string& first, const std::string& second);

// The facts of a card that an expression can read; what nobody knows is absent. A device that is
// attached says its memory itself, the table of cards the rest.
struct CardFacts {
    std::string kind;
    std::optional<double> vram_gib;
    std::optional<double> bandwidth_gbs;
    std::optional<double> sm;
};
CardFacts card_facts(const DeviceInfo& device);

struct CardVerdict {
    bool runs = true;  // also where it cannot be told
    std::string why;   // the condition and what it read: "13.5 < vram_gib * 0.9 (vram_gib 14.6)"
};

// `condition`: of left_to_the_card. One that cannot be read or computed lets the cell run and says
// why: the memory of the card is looked at again before a job is placed.
CardVerdict decide_for_card(const std::string& condition, const CardFacts& card);

}  // namespace bitsweep
