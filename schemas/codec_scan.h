// Inside the codec only: JSON text read from left to right, without a tree. Every function says
// false at what is not plain and right; the caller then leaves the text to the library, which
// judges and explains it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitsweep::codec {

// True: UTF-8 as RFC 3629 has it, without surrogates and overlong forms.
bool is_utf8(std::string_view text);

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
