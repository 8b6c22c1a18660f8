// A message as one line for people who read what a seed did.
#pragma once

#include <string>

#include "schemas/message.h"

namespace bitsweep::sim {

std::string in_words(const Message& message);

}  // namespace bitsweep::sim
