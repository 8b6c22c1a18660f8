// Inside the catalog only: the writer of canonical JSON. By hand on purpose: the bytes are hashed,
// so no library release may change them.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "schemas/status.h"

namespace bitsweep {

// So many characters at the start stand as they are; seen eight at a time, the last few left out.
inline std::size_t plain_prefix(std::string_view text) {
    constexpr std::uint64_t ones = 0x0101'0101'0101'0101u;
    constexpr std::uint64_t tops = 0x8080'8080'8080'8080u;
    // A byte of zero gives a top bit; bytes above it in the word may give one too many, never too
    // few.
    const auto has_zero = [](std::uint64_t word) { return (word - ones) & ~word & tops; };
    std::size_t at = 0;
    for (; at + sizeof(std::uint64_t) <= text.size(); at += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, text.data() + at, sizeof word);
        const std::uint64_t control = (word - 0x20 * ones) & ~word & tops;
        if ((control | has_zero(word ^ (ones * '"')) | has_zero(word ^ (ones * '\\'))) != 0) {
            break;
        }
    }
    return at;
}

class CanonicalObject {
 public:
    // Most cells fit without growing.
    CanonicalObject() { out_.reserve(usual_bytes); }

    // Names must arrive in sorted order.
    CanonicalObject& text(std::string_view name, std::string_view value) {
        begin(name);
        append_string(value);
        return *this;
    }
    CanonicalObject& integer(std::string_view name, std::int64_t value) {
        begin(name);
        append_digits(value);
        return *this;
    }
    CanonicalObject& unsigned_integer(std::string_view name, std::uint64_t value) {
        begin(name);
        append_digits(value);
        return *this;
    }
    // Digits that were made already.
    CanonicalObject& digits(std::string_view name, std::string_view value) {
        begin(name);
        out_ += value;
        return *this;
    }
    CanonicalObject& boolean(std::string_view name, bool value) {
        begin(name);
        out_ += value ? "true" : "false";
        return *this;
    }
    // Shortest digits that read back as the same double: 6, 0.5, 3.0000000000000004
    CanonicalObject& number(std::string_view name, double value) {
        begin(name);
        if (!std::isfinite(value)) {
            out_ += "null";
            return *this;
        }
        if (std::abs(value) < 1e15 && value == std::trunc(value)) {  // 100000, not 1e+05
            append_digits(static_cast<std::int64_t>(value));
            return *this;
        }
        append_digits(value);
        return *this;
    }
    CanonicalObject& object(std::string_view name, CanonicalObject& value) {
        begin(name);
        out_ += value.close();
        return *this;
    }
    // Where the text of the newest value begins, and where the next one would.
    std::size_t value_at() const { return value_at_; }
    std::size_t size() const { return out_.size(); }

    std::string close() {
        out_ += '}';
        return std::move(out_);
    }

 private:
    void begin(std::string_view name) {
        ASSERT(last_.empty() || last_ < name);
        out_ += last_.empty() ? '{' : ',';
        last_ = name;
        out_ += '"';
        out_ += name;  // ours: nothing to escape
        out_ += "\":";
        value_at_ = out_.size();
    }
    void append_string(std::string_view value) {
        static constexpr char hex[] = "0123456789abcdef";
        out_ += '"';
        std::size_t copied = 0;
        for (std::size_t i = plain_prefix(value); i < value.size(); ++i) {
            const auto byte = static_cast<unsigned char>(value[i]);
            if (byte >= 0x20 && byte != '"' && byte != '\\') {
                continue;
            }
            out_ += value.substr(copied, i - copied);
            copied = i + 1;
            if (byte < 0x20) {
                out_ += "\\u00";
                out_ += hex[byte >> 4];
                out_ += hex[byte & 15];
            } else {
                out_ += '\\';
                out_ += value[i];
            }
        }
        out_ += value.substr(copied);
        out_ += '"';
    }
    template <class Number>
    void append_digits(Number value) {
        char digits[32];
        const auto end = std::to_chars(digits, digits + sizeof digits, value);
        out_.append(digits, end.ptr);
    }

    static constexpr std::size_t usual_bytes = 384;

    std::string out_;
    std::string_view last_;  // names are literals
    std::size_t value_at_ = 0;
};

}  // namespace bitsweep
