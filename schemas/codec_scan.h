// Inside the codec only: JSON text read from left to right, without a tree. Every function says
// false at what is not plain and right; the caller then leaves the text to the library, which
// judges and explains it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace bitsweep::codec {

// True: UTF-8 as RFC 3629 has it, without surrogates and overlong forms.
bool is_utf8(std::string_view text);

// Of the next eight characters, the top bit of each byte that does not stand in a JSON string as it
// is, or is not ASCII: of the first of them at least, and none where there is none.
inline std::uint64_t stops_in_eight(const char* at) {
    static_assert(std::endian::native == std::endian::little, "the first character is the lowest");
    constexpr std::uint64_t ones = 0x0101010101010101;
    std::uint64_t eight = 0;
    std::memcpy(&eight, at, sizeof eight);
    const std::uint64_t quotes = eight ^ (ones * '"');
    const std::uint64_t slashes = eight ^ (ones * '\\');
    // A byte that is too small borrows: it gets its top bit, and bytes behind it may.
    return ((eight - ones * 0x20) | (quotes - ones) | (slashes - ones) | eight) & (ones * 0x80);
}

// How many characters at the start are ASCII and stand in a JSON string as they are; fewer only
// within the last seven.
inline std::size_t plain_ascii(const char* at, const char* end) {
    const char* const start = at;
    for (; end - at >= 8; at += 8) {
        if (const std::uint64_t stops = stops_in_eight(at); stops != 0) {
            at += std::countr_zero(stops) / 8;
            break;
        }
    }
    return static_cast<std::size_t>(at - start);
}

class Scanner {
 public:
    explicit Scanner(std::string_view text) : at_(text.data()), end_(at_ + text.size()) {}

    // The next character that is no blank.
    bool take(char mark);
    bool at_end();
    bool literal(std::string_view word);  // null, true, false, or any text as it stands

    bool text(std::string& out);       // decoded
    bool name(std::string_view& out);  // without escapes; a view into the input
    // A number without fraction and exponent that fits.
    bool integer(std::int64_t& out);
    bool integer(std::uint64_t& out);
    // Any number that a double can hold; whether it was written as an integer.
    bool number(double& out, bool& as_integer);

    // How often it stands in what is not read yet, in texts too.
    std::size_t count_ahead(char mark) const {
        return static_cast<std::size_t>(std::count(at_, end_, mark));
    }

    // The marks , : [ { taken so far, as codec.h counts values.
    std::size_t marks() const { return marks_; }

 private:
    void skip_blanks();
    bool escape(std::string& out);
    template <class T>
    bool read_integer(T& out);

    const char* at_;
    const char* end_;
    std::size_t marks_ = 0;
};

inline void Scanner::skip_blanks() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) {
        ++at_;
    }
}

inline bool Scanner::take(char mark) {
    skip_blanks();
    if (at_ == end_ || *at_ != mark) {
        return false;
    }
    ++at_;
    marks_ += mark == ',' || mark == ':' || mark == '[' || mark == '{' ? 1 : 0;
    return true;
}

}  // namespace bitsweep::codec
