// A result on its way to the database that asked for it: no other may have it.
#pragma once

#include <string>

#include "schemas/run_result.h"

namespace bitsweep::agent {

struct KeptResult {
    RunResult result;
    std::string database;  // its name, as its coordinator told it (Welcome)
};

}  // namespace bitsweep::agent
