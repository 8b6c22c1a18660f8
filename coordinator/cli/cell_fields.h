// A cell field by field, as its canonical form has it: what `plan --why` and `diff` compare.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schemas/job.h"

namespace bitsweep {

// Name ("method", "model.name", "quality.tokens") and value as JSON without the quotes of a text,
// in the order of the canonical form.
using CellFields = std::vector<std::pair<std::string, std::string>>;

// Such a value without the escapes of JSON, for people.
std::string as_text(std::string_view value);

// Of canonical_json(); an unknown form gives what could be read.
CellFields fields_of(std::string_view canonical);
CellFields fields_of(const JobSpec& spec);

// One field that differs. Empty: the field is not read there.
struct FieldChange {
    std::string name;
    std::string before;
    std::string after;
};

std::vector<FieldChange> changes(const CellFields& before, const CellFields& after);

// "method fp16 -> nf4, batch 1 -> 8"; a field that is read only on one side has "(none)" there.
std::string in_words(const std::vector<FieldChange>& changes);

// "llama-nano nf4", "llama-3.2-1b llmint8-bnb T=6 batch 8 on T4 repeat 2": for people, what is at
// its usual value left out.
std::string name_of(const JobSpec& spec);

}  // namespace bitsweep
