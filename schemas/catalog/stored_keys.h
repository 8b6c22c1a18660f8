// What the database keeps of a cell's canonical form, made together: the forms have most of their
// text in common, and every cell of a submission needs all of them.
#pragma once

#include <string>
#include <string_view>

#include "schemas/job.h"

namespace bitsweep {

struct StoredKeys {
    std::string canonical;  // canonical_json()
    std::string series;     // series_key()
    std::string setting;    // setting_key()
};

// `spec_key`: of this spec.
StoredKeys stored_keys(const JobSpec& spec, std::string_view spec_key);

}  // namespace bitsweep
