// A cell whose copies must lose nothing.
#pragma once

#include <string>

#include "schemas/job.h"

namespace bitsweep::testing {

// Every field has a value of its own and not its default; numbers are those of JSON.
inline Cell peculiar(int number) {
    Cell cell;
    cell.spec.model = {"m" + std::to_string(number % 3), WeightsSource::random, 7, "/somewhere"};
    cell.spec.method = number % 2 == 0 ? "int8" : "nf4";
    if (number % 4 != 0) {
        cell.spec.threshold = number % 4 == 1 ? 0.0 : 0.1 * number;
    }
    cell.spec.calibration = CalibrationSpec{"t", 1, 2, 3, 4};
    cell.spec.alpha = 0.25;
    cell.spec.policy = "{}";
    cell.spec.head_bits = 8;
    cell.spec.kv = "int8";
    cell.spec.gpu = "T4";
    cell.spec.batch = 1 + number;
    cell.spec.prompt = "Who \"and\" why?";
    cell.spec.prompt_tokens = 10 * number;
    cell.spec.new_tokens = 9'000'000 + number;
    cell.spec.stop_at_eos = true;
    cell.spec.warmup = 3;
    cell.spec.protocol = Protocol::headline;
    cell.spec.quality = {QualityMode::off, "other", 99, 98};
    cell.spec.threads = number % 5;
    cell.spec.seed = 9'007'199'254'740'991u - static_cast<std::uint64_t>(number);
    cell.spec.repeat = 400 - number;
    cell.identity = {"", "weights", "data", 4};
    cell.policy = {number % 2, Duration{5}, 6, 7};
    cell.yaml_line = 1000 + number;
    cell.card_condition = "sm >= 75";
    return cell;
}

}  // namespace bitsweep::testing
