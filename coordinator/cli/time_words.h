// Times as people type them.
#pragma once

#include <string>

#include "schemas/status.h"
#include "schemas/time.h"

namespace bitsweep {

// How long from `now` until what `text` says: a span ("90s", "30m", "12h", "2d", plain seconds), a
// time of day ("18:30": the next one), or a date and time ("2026-11-24T18:30"); clock times are
// local ones. invalid_input: none of these, zero, in the past, or more than 366 days away.
Result<Duration> parse_until(const std::string& text, TimePoint now);

}  // namespace bitsweep
