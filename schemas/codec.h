// JSON for every noun; validated against schemas/*.schema.json where data enters.
// Exceptions of the JSON library stop in codec.cpp.
#pragma once

#include <string>
#include <string_view>

#include "schemas/job.h"
#include "schemas/message.h"
#include "schemas/run_result.h"
#include "schemas/status.h"

namespace bitsweep {

// The nouns that have a schema of their own.
enum class Noun { experiment, job, result, message };

// The schema's text, as embedded at build time.
std::string_view schema_text(Noun noun);

// corrupt: not JSON; invalid_input: JSON that the schema refuses (the message names the path).
Status validate(Noun noun, std::string_view json);

std::string to_json(const JobSpec& spec);
std::string to_json(const RunResult& result);
std::string to_json(const Message& message);

Result<JobSpec> job_from_json(std::string_view json);
Result<RunResult> result_from_json(std::string_view json);
Result<Message> message_from_json(std::string_view json);  // checks the protocol version first

// Sorted keys, no spaces, shortest round-trip numbers, only the fields that the method reads;
// `model.path` is left out. Stable across platforms and releases (golden list in tests/schemas).
std::string canonical_json(const JobSpec& spec);

// SHA-256 of canonical_json, 64 hex digits.
std::string spec_key(const JobSpec& spec);

// SHA-256 over the four parts of the identity, 64 hex digits.
JobKey cell_key(const CellIdentity& identity);

}  // namespace bitsweep
