// What the database keeps of a cell's canonical form, made together: the forms have most of their
// text in common, and every cell of a submission needs all of them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "schemas/catalog/canonical_forms.h"
#include "schemas/job.h"

namespace bitsweep {

struct StoredKeys {
    std::size_t serial = 0;  // CanonicalForms::serial() of the whole cell's form
    std::string series;      // series_key()
    std::string setting;     // setting_key()
};

class StoredForms {
 public:
    // `spec_key`: of this spec. Until the next call.
    const StoredKeys& of(const JobSpec& spec, std::string_view spec_key);
    // canonical_json() of the latest spec with marks in place of its numbers.
    std::string marked() const { return cell_.marked(); }

 private:
    CanonicalForms cell_{CanonicalScope::cell};
    CanonicalForms series_{CanonicalScope::series};
    CanonicalForms setting_{CanonicalScope::setting};
    StoredKeys keys_;
};

}  // namespace bitsweep
