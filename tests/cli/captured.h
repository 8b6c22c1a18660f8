// Runs one command inside the test's process and keeps what it printed.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "coordinator/cli/command.h"

namespace bitsweep::testing {

struct Printed {
    int code = 0;
    std::string out, err;
};

inline Printed run(int (*command)(const Arguments&), const Arguments& arguments) {
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    Printed printed;
    printed.code = command(arguments);
    printed.out = ::testing::internal::GetCapturedStdout();
    printed.err = ::testing::internal::GetCapturedStderr();
    return printed;
}

}  // namespace bitsweep::testing
