// What the live page shows of a database, as JSON. Every call reads; nothing is kept but the last
// estimates, because making them costs more than all else.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>

#include "schemas/status.h"

namespace bitsweep {

class LiveResults {
 public:
    explicit LiveResults(std::filesystem::path db) : db_(std::move(db)) {}

    // {"answer": "...", "cells": [{"model", "method", "gpu", "states": {"done": 3, ...},
    // "estimate":
    //  {"decode", "low", "high", "disturbed", "perplexity"} or null}, ...]}, a cell for all
    //  repeats, in the order
    // in which the summary reads; a number that was not measured is null. Errors: those of the
    // store; not_found: no such experiment.
    Result<std::string> experiment(const std::string& name);
    // [{"worker", "device", "sm_clock_mhz", "temperature_c", "power_w", "flagged"}, ...]: of the
    // newest window of each device.
    Result<std::string> windows() const;
    // {"views": [{"view", "about"}, ...], "experiments": [...]}
    Result<std::string> views() const;
    // The first 2,000 rows of a view, an object each; empty `experiment`: of all.
    Result<std::string> view(const std::string& name, const std::string& experiment) const;

 private:
    struct Estimates {
        std::string version;  // of what they were made from
        std::string json;
        double made_s = 0;  // what making them took
        std::chrono::steady_clock::time_point made_at;
    };
    std::filesystem::path db_;
    std::mutex mutex_;
    std::map<std::string, Estimates> estimates_;
};

}  // namespace bitsweep
