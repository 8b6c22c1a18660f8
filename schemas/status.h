// Errors as values: Result<T>, Status, TRY, ASSERT. Used by every room; depends on std only.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace bitsweep {

// What went wrong, as a category that a caller can act on. The message is for people.
enum class ErrorCode {
    invalid_input,      // the user's file, flag or value is wrong; nothing was changed
    not_found,          // a file, model, experiment or job that does not exist
    already_exists,     // another owner holds it (a port, a database, a name)
    corrupt,            // a file or message contradicts itself
    unsupported,        // valid, but not something this build or machine can do
    unavailable,        // nobody answered, or the resource is away for now
    refused,            // the peer answered no
    out_of_memory,      // host memory
    out_of_gpu_memory,  // device memory
    gpu_fault,          // sticky device error: this process can no longer use the device
    invalid_numbers,    // NaN or infinity where a finite number was needed
    timeout,
    interrupted,
    io,        // the operating system said no; the message carries its words
    internal,  // a bug in bitsweep
};

// The words of JSON: "invalid_input" ... (names.cpp)
std::string_view to_string(ErrorCode code);
std::optional<ErrorCode> error_code_from_string(std::string_view text);

struct Error {
    ErrorCode code = ErrorCode::internal;
    std::string message;  // one line: what, where, what instead
};

// The value of an operation or the reason why there is none. Never empty of both.
template <class T>
class [[nodiscard]] Result {
 public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }

    // Only on ok(): a call on an error is a bug in the caller.
    T& value() & { return std::get<0>(state_); }
    const T& value() const& { return std::get<0>(state_); }
    T&& value() && { return std::get<0>(std::move(state_)); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    // Only on !ok().
    const Error& error() const& { return std::get<1>(state_); }
    Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
    Result() = default;
    Result(Error error) : state_(std::move(error)) {}

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }
    void value() const {}

    const Error& error() const& { return std::get<1>(state_); }
    Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
    std::variant<std::monostate, Error> state_;
};

using Status = Result<void>;

inline Error make_error(ErrorCode code, std::string message) {
    return Error{code, std::move(message)};
}

}  // namespace bitsweep

// The value of `expr`, or an early return of its error from the enclosing function.
#define TRY(expr)                                          \
    ({                                                     \
        auto&& bitsweep_try_result = (expr);               \
        if (!bitsweep_try_result) {                        \
            return std::move(bitsweep_try_result).error(); \
        }                                                  \
        std::move(bitsweep_try_result).value();            \
    })

// For what cannot happen. Never on user input: that is an Error.
#define ASSERT(condition)                                                                       \
    do {                                                                                        \
        if (!(condition)) [[unlikely]] {                                                        \
            std::fprintf(stderr, "%s:%d: this is a bug: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                       \
        }                                                                                       \
    } while (false)
