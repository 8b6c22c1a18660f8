// Inside the codec only (codec*.cpp): one list of fields per noun that serves both directions, so
// that the writer and the reader cannot drift apart. The JSON library throws here; codec.cpp is the
// seam that catches.
//
// A field that is absent keeps the default of its struct: which fields must be present is said
// once, in the JSON Schema, and checked before decoding. That is how a later release adds a field.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "schemas/codec.h"
#include "schemas/ids.h"
#include "schemas/job.h"
#include "schemas/message.h"
#include "schemas/run_result.h"
#include "schemas/time.h"

namespace bitsweep::codec {

using Json = nlohmann::json;

// A value that the schema let through and that is still wrong; the text is for people.
struct BadValue : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Names that travel become file names and SQL values: 1 to 128 of A-Z a-z 0-9 . _ - and not
// starting with . or -
bool is_plain_name(std::string_view text);

template <class M, class T>
concept Like = std::same_as<std::remove_const_t<M>, T>;

struct Decoder;

// ---- write: text straight from the nouns; what no JSON can hold is said in codec.h

void write(std::string& out, std::string_view value);  // bad UTF-8 is replaced
void write(std::string& out, bool value);
void write(std::string& out, std::int64_t value);
void write(std::string& out, std::uint64_t value);
void write(std::string& out, double value);  // NaN and infinity: null, which is read as NaN

inline void write(std::string& out, const std::string& value) {
    write(out, std::string_view(value));
}
template <class T>
requires std::is_integral_v<T>
void write(std::string& out, T value) {
    write(out, static_cast<std::int64_t>(value));
}
inline void write(std::string& out, Attempt value) {
    write(out, value.value);
}
inline void write(std::string& out, Duration value) {
    write(out, value.ms);
}
template <class Tag>
void write(std::string& out, const StringId<Tag>& value) {
    write(out, std::string_view(value.value));
}
template <class E>
requires std::is_enum_v<E>
void write(std::string& out, E value) {
    write(out, to_string(value));
}
template <class T>
requires std::is_class_v<T>
void write(std::string& out, const T& value);

template <class T>
void write(std::string& out, const std::vector<T>& values) {
    out += '[';
    for (const T& value : values) {
        write(out, value);
        out += ',';
    }
    values.empty() ? out.push_back(']') : void(out.back() = ']');
}
void write(std::string& out, const std::vector<Cell>& cells);  // in rows: codec_cells.cpp
template <class T>
void write(std::string& out, const std::map<std::string, T>& values) {
    out += '{';
    for (const auto& [name, value] : values) {
        write(out, std::string_view(name));
        out += ':';
        write(out, value);
        out += ',';
    }
    values.empty() ? out.push_back('}') : void(out.back() = '}');
}

// ---- decode: throws Json::exception or BadValue

inline void decode(const Json& in, std::string& out) {
    out = in.get<std::string>();
}
inline void decode(const Json& in, bool& out) {
    out = in.get<bool>();
}
template <class T>
requires std::is_integral_v<T>
void decode(const Json& in, T& out) {
    out = in.get<T>();  // the schema has bounded it
}
inline void decode(const Json& in, double& out) {
    out = in.is_null() ? std::numeric_limits<double>::quiet_NaN() : in.get<double>();
}
inline void decode(const Json& in, Attempt& out) {
    out.value = in.get<std::uint32_t>();
}
inline void decode(const Json& in, Duration& out) {
    out.ms = in.get<std::int64_t>();
}
template <class Tag>
void decode(const Json& in, StringId<Tag>& out) {
    out.value = in.get<std::string>();
    if (!out.value.empty() && !is_plain_name(out.value)) {
        throw BadValue(in.dump(-1, ' ', true).substr(0, 64) +
                       " is not a name: 1 to 128 of A-Z a-z 0-9 . _ - and no leading . or -");
    }
}

inline std::optional<OutcomeClass> enum_from(std::string_view text, OutcomeClass) {
    return outcome_from_string(text);
}
inline std::optional<WeightsSource> enum_from(std::string_view text, WeightsSource) {
    return weights_source_from_string(text);
}
inline std::optional<Protocol> enum_from(std::string_view text, Protocol) {
    return protocol_from_string(text);
}
inline std::optional<QualityMode> enum_from(std::string_view text, QualityMode) {
    return quality_mode_from_string(text);
}
inline std::optional<ErrorCode> enum_from(std::string_view text, ErrorCode) {
    return error_code_from_string(text);
}
inline std::optional<ControlAction> enum_from(std::string_view text, ControlAction) {
    return control_action_from_string(text);
}
template <class E>
requires std::is_enum_v<E>
void decode(const Json& in, E& out) {
    const std::string text = in.get<std::string>();
    const std::optional<E> value = enum_from(text, E{});
    if (!value) {
        throw BadValue("unknown value " + in.dump(-1, ' ', true).substr(0, 64));
    }
    out = *value;
}
template <class T>
requires std::is_class_v<T>
void decode(const Json& in, T& out);

template <class T>
void decode(const Json& in, std::vector<T>& out) {
    out.clear();
    out.reserve(in.size());
    for (const Json& value : in) {
        decode(value, out.emplace_back());
    }
}
void decode(const Json& in, std::vector<Cell>& out);
template <class T>
void decode(const Json& in, std::map<std::string, T>& out) {
    out.clear();
    for (const auto& [name, value] : in.items()) {
        decode(value, out[name]);
    }
}

// ---- the two visitors that the field lists are called with

// Leaves a comma behind every field; close() makes it the brace.
struct Writer {
    std::string& out;
    explicit Writer(std::string& text) : out(text) { out += '{'; }
    template <std::size_t N, class T>
    void operator()(const char (&name)[N], const T& value) {
        char quoted[N + 2] = {'"'};
        std::copy(name, name + N - 1, quoted + 1);
        quoted[N] = '"';
        quoted[N + 1] = ':';
        out.append(quoted, N + 2);
        write(out, value);
        out += ',';
    }
    template <std::size_t N, class T>
    void operator()(const char (&name)[N], const std::optional<T>& value) {
        if (value) {
            (*this)(name, *value);
        }
    }
    void close() { out.back() == ',' ? void(out.back() = '}') : out.push_back('}'); }
};

struct Decoder {
    const Json& in;
    template <class T>
    void operator()(const char* name, T& value) {
        if (const auto found = in.find(name); found != in.end()) {
            decode(*found, value);
        }
    }
    template <class T>
    void operator()(const char* name, std::optional<T>& value) {
        value.reset();
        if (const auto found = in.find(name); found != in.end() && !found->is_null()) {
            decode(*found, value.emplace());
        }
    }
};

// ---- the fields of every noun

template <class F, Like<ModelRef> M>
void fields(F& f, M& m) {
    f("name", m.name);
    f("weights", m.weights);
    f("weights_seed", m.weights_seed);
    f("path", m.path);
}

template <class F, Like<QualitySpec> M>
void fields(F& f, M& m) {
    f("mode", m.mode);
    f("text", m.text);
    f("tokens", m.tokens);
    f("window", m.window);
}

template <class F, Like<CalibrationSpec> M>
void fields(F& f, M& m) {
    f("text", m.text);
    f("offset", m.offset);
    f("tokens", m.tokens);
    f("window", m.window);
    f("seed", m.seed);
}

template <class F, Like<JobSpec> M>
void fields(F& f, M& m) {
    f("model", m.model);
    f("method", m.method);
    f("threshold", m.threshold);
    f("calibration", m.calibration);
    f("alpha", m.alpha);
    f("policy", m.policy);
    f("head_bits", m.head_bits);
    f("kv", m.kv);
    f("gpu", m.gpu);
    f("batch", m.batch);
    f("prompt", m.prompt);
    f("prompt_tokens", m.prompt_tokens);
    f("new_tokens", m.new_tokens);
    f("stop_at_eos", m.stop_at_eos);
    f("warmup", m.warmup);
    f("protocol", m.protocol);
    f("quality", m.quality);
    f("threads", m.threads);
    f("seed", m.seed);
    f("repeat", m.repeat);
}

template <class F, Like<JobPolicy> M>
void fields(F& f, M& m) {
    f("priority", m.priority);
    f("timeout_ms", m.timeout);
    f("retries_crash", m.retries_crash);
    f("retries_fail", m.retries_fail);
}

template <class F, Like<CellIdentity> M>
void fields(F& f, M& m) {
    f("weights_digest", m.weights_digest);  // the spec key follows from the spec
    f("dataset_digest", m.dataset_digest);
    f("numerics_revision", m.numerics_revision);
}

template <class F, Like<Cell> M>
void fields(F& f, M& m) {
    f("spec", m.spec);
    f("identity", m.identity);
    f("policy", m.policy);
    f("yaml_line", m.yaml_line);
    f("card_condition", m.card_condition);
}

template <class F, Like<Measurement> M>
void fields(F& f, M& m) {
    f("metric", m.metric);
    f("unit", m.unit);
    f("sample", m.sample);
    f("value", m.value);
}

template <class F, Like<SampleSeries> M>
void fields(F& f, M& m) {
    f("metric", m.metric);
    f("unit", m.unit);
    f("values", m.values);
}

template <class F, Like<Outcome> M>
void fields(F& f, M& m) {
    f("class", m.outcome);
    f("message", m.message);
    f("evidence", m.evidence);
}

template <class F, Like<GeneratedText> M>
void fields(F& f, M& m) {
    f("prompt_ids", m.prompt_ids);
    f("new_ids", m.new_ids);
    f("text", m.text);
}

template <class F, Like<RunResult> M>
void fields(F& f, M& m) {
    f("key", m.key);
    f("attempt", m.attempt);
    f("outcome", m.outcome);
    f("started_unix_ms", m.started_unix_ms);
    f("finished_unix_ms", m.finished_unix_ms);
    f("weights_digest", m.weights_digest);
    f("dataset_digest", m.dataset_digest);
    f("measurements", m.measurements);
    f("samples", m.samples);
    f("generated", m.generated);
    f("provenance", m.provenance);
}

// The messages' lists stand in codec_message.cpp. They are found there by argument-dependent
// lookup through the visitor, at the point where read, write and decode are instantiated.

template <class T>
requires std::is_class_v<T>
void write(std::string& out, const T& value) {
    Writer writer(out);
    fields(writer, value);
    writer.close();
}
template <class T>
requires std::is_class_v<T>
void decode(const Json& in, T& out) {
    Decoder decoder{in};
    fields(decoder, out);
}

// ---- codec_schema.cpp

std::string_view name_of(Noun noun);
// `pointer` into the document that holds all four schemas: "/job", "/message/definitions/hello".
// invalid_input names the path inside the value. Throws only when our own schema files are wrong.
Status check_against(const std::string& pointer, const Json& json);
// Its two halves: a quick yes, and the library that judges and explains whatever gets none. A test
// holds the first to the second.
bool accepts_quickly(const std::string& pointer, const Json& json);
struct SchemaNode;
const SchemaNode* compiled(const std::string& pointer);  // nullptr: none is there
Status judge_by_library(const std::string& pointer, const Json& json);

// ---- codec_message.cpp

void write_message(std::string& out, const Message& message);
// Straight from the text; nullopt: the library is to judge it (codec_read.h).
std::optional<Message> read_message(std::string_view text);
// `in` has been validated against the schema of its type.
Message decode_message(const Json& in);
// Every type name, in the order of the variant.
const std::vector<std::string>& message_types();

}  // namespace bitsweep::codec
