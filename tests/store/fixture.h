// Small jobs and results to put into a store.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "results/store/store.h"
#include "tests/temp_folder.h"

namespace bitsweep::testing {

struct Speed {
    double decode = 0;
    int repeat = 0;
};

// A job of model "tiny" on the CPU, with its keys computed; waiting, never run.
StoredJob make_job(const std::string& method, int repeat = 0,
                   std::optional<double> threshold = std::nullopt);
// Keys again, after a field of the spec or the identity was changed.
void rekey(StoredJob& job);

// The job's first attempt, done at the given rate on CPU "test cpu".
FinishedRun make_run(const StoredJob& job, double decode_tokens_per_s);

StoredExperiment make_experiment(const std::string& name);

std::unique_ptr<Store> open_store(const std::filesystem::path& file,
                                  OpenMode mode = OpenMode::read_write);

// Puts the experiment with these jobs, as waiting.
void put_jobs(Store& store, const std::string& experiment, const std::vector<StoredJob>& jobs);
void put_run(Store& store, const FinishedRun& run);

// One number, or the text of one cell, of a query that gives exactly one row and column.
double number(Store& store, const std::string& sql);
std::string text(Store& store, const std::string& sql);

}  // namespace bitsweep::testing
