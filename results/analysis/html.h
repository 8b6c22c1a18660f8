// HTML as text. Everything that comes from a database passes through escaped().
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "results/store/store.h"

namespace bitsweep::html {

std::string escaped(std::string_view text);

// <tag class="classes">inner</tag>; `tag` may carry attributes, `inner` is HTML already.
std::string element(const std::string& tag, const std::string& classes, const std::string& inner);

// A paragraph, a list, a table with a caption. Columns of numbers stand right.
std::string paragraph(std::string_view text, const std::string& classes = "");
std::string list(const std::vector<std::string>& lines);
std::string table(const Table& table, std::string_view caption);

// A part that readers open: a native <details>, so that it works without a script.
std::string folded(std::string_view summary, const std::string& inner);

}  // namespace bitsweep::html
