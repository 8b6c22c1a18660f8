// The fields of a cell by name; fields.h has what each may hold.
#pragma once

#include <cstddef>
#include <string_view>

namespace bitsweep {

// Everything that a cell is made of and that an axis can vary. `bits` selects methods and `weights`
// belongs to the model; the others are fields of JobSpec.
enum class Field {
    model,
    bits,
    method,
    threshold,
    head,
    kv,
    gpu,
    batch,
    prompt,
    prompt_tokens,
    new_tokens,
    stop_at_eos,
    warmup,
    protocol,
    quality,
    eval,
    calibration,
    alpha,
    policy,
    weights,
    weights_seed,
    threads,
    seed,
    repeat,
};
inline constexpr std::size_t field_count = 24;

std::string_view to_string(Field field);

}  // namespace bitsweep
