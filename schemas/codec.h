// JSON for every noun; validated against schemas/*.schema.json where data enters.
// Exceptions of the JSON library stop in codec.cpp.
//
// Every reader: at most max_json_bytes, max_json_depth, max_json_values; unknown fields, missing
// fields, wrong types and sizes above the schema's are invalid_input and the message names the
// path. Numbers that are not finite have no JSON: a writer puts null, which a measurement or a
// sample reads back as NaN and a threshold as absent. Bytes that are not UTF-8 are replaced
// (U+FFFD). A writer shortens two texts that come from outside, so that no result is refused for
// them: Outcome::evidence keeps its last max_evidence_bytes, Outcome::message its first
// max_line_bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "schemas/job.h"
#include "schemas/message.h"
#include "schemas/run_result.h"
#include "schemas/status.h"

namespace bitsweep {

inline constexpr std::size_t max_json_bytes = 64u << 20;  // one frame
inline constexpr int max_json_depth = 16;                 // the deepest noun has 7
// Counted as the marks , : [ { outside of strings: a cell has 73 and a row 10 at most, so that 64
// MiB of either pass. An empty object costs two marks and 80 bytes: 320 MiB for the worst frame.
inline constexpr std::size_t max_json_values = 8'000'000;
// Of the cells of one message in memory, however few bytes their rows were: 128,000 of them.
inline constexpr std::size_t max_unpacked_bytes = 128u << 20;
inline constexpr std::size_t max_evidence_bytes = 16'384;
inline constexpr std::size_t max_line_bytes = 2'048;

// The nouns that have a schema of their own.
enum class Noun { experiment, job, result, message };

// The schema's text, as embedded at build time.
std::string_view schema_text(Noun noun);

// corrupt: not JSON; invalid_input: JSON that the schema refuses (the message names the path).
Status validate(Noun noun, std::string_view json);

std::string to_json(const JobSpec& spec);
// Of a JobSpec with marks in place of its numbers (cell_numbers.h).
std::string to_marked_json(const JobSpec& spec);
std::string to_json(const RunResult& result);
std::string to_json(const Message& message);
void append_json(std::string& out, const Message& message);  // to_json() behind what is there

// What cells take in memory: 1 KiB each for nouns and digests, and the texts that may be long.
std::size_t unpacked_bytes(const Cell& cell);
std::size_t unpacked_bytes(std::span<const Cell> cells);

// How many of these, from the first on and at least one, one Submit may hold.
std::size_t cells_of_a_message(std::span<const Cell> cells);

Result<JobSpec> job_from_json(std::string_view json);
Result<RunResult> result_from_json(std::string_view json);
Result<Message> message_from_json(std::string_view json);  // checks the protocol version first

// Sorted keys, no spaces, shortest round-trip numbers, the model's name in lower case, only the
// fields that are read: `threshold` where the method reads one, `weights_seed` of random weights,
// `quality` where it runs (mode once, repeat 0, real weights), `prompt` or else `prompt_tokens`
// with the text they come from, `warmup` of seed-report and quick. `model.path` is left out. Stable
// across platforms and releases (golden list in tests/schemas). A method that does not exist keeps
// its threshold. These five live in catalog/canonical.cpp, since they ask the method table: link
// bitsweep_catalog.
std::string canonical_json(const JobSpec& spec);

// SHA-256 of canonical_json, 64 hex digits.
std::string spec_key(const JobSpec& spec);

// The same without what differs between the repeats of one cell (quality runs in one of them only),
// and without what a speed-up compares as well: method and threshold.
std::string series_key(const JobSpec& spec);
std::string setting_key(const JobSpec& spec);

// SHA-256 over the four parts of the identity, 64 hex digits.
JobKey cell_key(const CellIdentity& identity);

}  // namespace bitsweep
