// Where something stands: which file, line and column. Every message of this room begins with one.
#pragma once

#include <compare>
#include <string>
#include <utility>
#include <vector>

namespace bitsweep {

// 1-based; columns count bytes. Line 0: from no file.
struct At {
    int line = 0;
    int column = 0;
    int file = 0;  // index into Files: 0 is the experiment, others are what it extends
    auto operator<=>(const At&) const = default;
};

// Of what --set says. At{} is the place of what nobody said: a default of bitsweep's own.
inline constexpr At from_set{0, 1, 0};

// The names of the files of one experiment, as messages show them.
class Files {
 public:
    Files() = default;
    Files(std::string name) : names_{std::move(name)} {}
    Files(const char* name) : names_{name} {}

    int add(std::string name) {
        names_.push_back(std::move(name));
        return static_cast<int>(names_.size()) - 1;
    }
    const std::string& of(At at) const {
        const auto index = static_cast<std::size_t>(at.file);
        return index < names_.size() ? names_[index] : names_.front();
    }

 private:
    std::vector<std::string> names_ = {""};
};

}  // namespace bitsweep
