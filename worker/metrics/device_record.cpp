#include "worker/metrics/device_record.h"

#include <cstdio>

namespace bitsweep {

std::string throttle_names(std::uint64_t mask) {
    std::string names;
    const auto add = [&](const std::string& name) { names += (names.empty() ? "" : ", ") + name; };
    for (const ThrottleReason& reason : throttle_reasons) {
        if ((mask & reason.bit) != 0) {
            add(reason.name);
            mask &= ~reason.bit;
        }
    }
    if (mask != 0) {
        char text[24];
        std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(mask));
        add(text);
    }
    return names.empty() ? "none" : names;
}

bool slows(std::uint64_t mask) {
    for (const ThrottleReason& reason : throttle_reasons) {
        if (reason.slows && (mask & reason.bit) != 0) {
            return true;
        }
    }
    return false;
}

}  // namespace bitsweep
