// The words that enums have in JSON, SQL and YAML. One table per enum serves both directions.
#include <array>
#include <cstddef>

#include "schemas/job.h"
#include "schemas/message.h"
#include "schemas/run_result.h"
#include "schemas/status.h"

namespace bitsweep {
namespace {

template <std::size_t N, class E>
std::optional<E> find_name(const std::array<std::string_view, N>& names, std::string_view text) {
    for (std::size_t i = 0; i < N; ++i) {
        if (names[i] == text) {
            return static_cast<E>(i);
        }
    }
    return std::nullopt;
}

// In the order of the enums.
constexpr std::array<std::string_view, 12> outcome_names = {
    "done",    "failure",         "crash",      "out_of_memory", "out_of_gpu_memory", "gpu_fault",
    "timeout", "invalid_numbers", "infeasible", "lost_worker",   "refused",           "cancelled"};
constexpr std::array<std::string_view, 2> weights_names = {"real", "random"};
constexpr std::array<std::string_view, 4> protocol_names = {"seed-report", "quick", "standard",
                                                            "headline"};
constexpr std::array<std::string_view, 3> quality_names = {"off", "once", "layers"};
constexpr std::array<std::string_view, 15> error_names = {
    "invalid_input",     "not_found",   "already_exists",  "corrupt",
    "unsupported",       "unavailable", "refused",         "out_of_memory",
    "out_of_gpu_memory", "gpu_fault",   "invalid_numbers", "timeout",
    "interrupted",       "io",          "internal"};
constexpr std::array<std::string_view, 6> control_names = {"pause", "resume", "cancel",
                                                           "retry", "drain",  "clear"};

static_assert(static_cast<std::size_t>(OutcomeClass::cancelled) + 1 == outcome_names.size());
static_assert(static_cast<std::size_t>(WeightsSource::random) + 1 == weights_names.size());
static_assert(static_cast<std::size_t>(Protocol::headline) + 1 == protocol_names.size());
static_assert(static_cast<std::size_t>(QualityMode::layers) + 1 == quality_names.size());
static_assert(static_cast<std::size_t>(ErrorCode::internal) + 1 == error_names.size());
static_assert(static_cast<std::size_t>(ControlAction::clear) + 1 == control_names.size());

}  // namespace

std::string_view to_string(OutcomeClass outcome) {
    return outcome_names[static_cast<std::size_t>(outcome)];
}
std::string_view to_string(WeightsSource source) {
    return weights_names[static_cast<std::size_t>(source)];
}
std::string_view to_string(Protocol protocol) {
    return protocol_names[static_cast<std::size_t>(protocol)];
}
std::string_view to_string(QualityMode mode) {
    return quality_names[static_cast<std::size_t>(mode)];
}
std::string_view to_string(ErrorCode code) {
    return error_names[static_cast<std::size_t>(code)];
}
std::string_view to_string(ControlAction action) {
    return control_names[static_cast<std::size_t>(action)];
}

std::optional<OutcomeClass> outcome_from_string(std::string_view text) {
    return find_name<12, OutcomeClass>(outcome_names, text);
}
std::optional<WeightsSource> weights_source_from_string(std::string_view text) {
    return find_name<2, WeightsSource>(weights_names, text);
}
std::optional<Protocol> protocol_from_string(std::string_view text) {
    return find_name<4, Protocol>(protocol_names, text);
}
std::optional<QualityMode> quality_mode_from_string(std::string_view text) {
    return find_name<3, QualityMode>(quality_names, text);
}
std::optional<ErrorCode> error_code_from_string(std::string_view text) {
    return find_name<15, ErrorCode>(error_names, text);
}
std::optional<ControlAction> control_action_from_string(std::string_view text) {
    return find_name<6, ControlAction>(control_names, text);
}

}  // namespace bitsweep
