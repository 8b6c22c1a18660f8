#include "schemas/codec.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "schemas/cell_numbers.h"
#include "schemas/codec_read.h"

namespace bitsweep {

using codec::Json;

namespace {

constexpr std::size_t usual_bytes = 1'024;  // a dispatch, a short result

// ---- text to JSON

// Bounds the memory that parsing can take before it starts.
Status check_bounds(std::string_view text) {
    if (text.size() > max_json_bytes) {
        return make_error(ErrorCode::invalid_input, std::to_string(text.size()) +
                                                        " bytes of JSON; the limit is " +
                                                        std::to_string(max_json_bytes));
    }
    std::size_t values = 0;
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            i += c == '\\' ? 1 : 0;
            quoted = c != '"';
            continue;
        }
        quoted = c == '"';
        values += c == ',' || c == ':' || c == '[' || c == '{' ? 1 : 0;
        depth += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
        if (depth > max_json_depth) {
            return make_error(ErrorCode::invalid_input, "JSON nested deeper than " +
                                                            std::to_string(max_json_depth) +
                                                            " levels at byte " + std::to_string(i));
        }
    }
    if (values > max_json_values) {
        return make_error(ErrorCode::invalid_input, std::to_string(values) +
                                                        " values in one JSON text; the limit is " +
                                                        std::to_string(max_json_values));
    }
    return {};
}

// The library's own words carry an identifier of the exception in front.
std::string words_of(const std::exception& error) {
    const std::string_view text = error.what();
    const std::size_t end = text.find("] ");
    return std::string(end == std::string_view::npos ? text : text.substr(end + 2));
}

Result<Json> parse(std::string_view text) {
    TRY(check_bounds(text));
    try {
        return Json::parse(text);
    } catch (const std::exception& error) {
        return make_error(ErrorCode::corrupt, "not JSON: " + words_of(error));
    }
}

Error prefixed(std::string_view noun, Error error) {
    error.message = std::string(noun) + ": " + error.message;
    return error;
}

template <class T>
Result<T> decode_as(const Json& json) {
    try {
        T value;
        codec::decode(json, value);
        return value;
    } catch (const std::exception& error) {
        return make_error(ErrorCode::invalid_input, words_of(error));
    }
}

// The quick way; nullopt: the library is to judge it.
template <class T>
std::optional<T> read_quickly(const codec::SchemaNode* node, std::string_view text) {
    codec::Scanner in(text);
    std::optional<T> value(std::in_place);
    const bool right = text.size() <= max_json_bytes && node != nullptr &&
                       codec::read(in, *node, *value) && in.at_end() &&
                       in.marks() <= max_json_values;
    return right ? std::move(value) : std::nullopt;
}

template <class T>
Result<T> read_noun(Noun noun, std::string_view text) {
    static const codec::SchemaNode* node = codec::compiled("/" + std::string(codec::name_of(noun)));
    if (std::optional<T> quick = read_quickly<T>(node, text)) {
        return std::move(*quick);
    }
    const std::string_view name = codec::name_of(noun);
    Result<Json> json = parse(text);
    if (!json) {
        return prefixed(name, json.error());
    }
    if (Status checked = codec::check_against("/" + std::string(name), *json); !checked) {
        return prefixed(name, checked.error());
    }
    Result<T> value = decode_as<T>(*json);
    if (!value) {
        return prefixed(name, value.error());
    }
    return value;
}

// The pointer of the schema for this message; protocol first, since everything else may have
// another meaning in another version.
Result<std::string> message_schema(const Json& json) {
    if (!json.is_object()) {
        return make_error(ErrorCode::invalid_input, "a message is a JSON object");
    }
    const auto protocol = json.find("protocol");
    if (protocol == json.end() || !protocol->is_number_integer()) {
        return make_error(
            ErrorCode::unsupported,
            "no protocol version; this side speaks protocol " + std::to_string(protocol_version));
    }
    if (*protocol != protocol_version) {
        return make_error(ErrorCode::unsupported, "protocol " + protocol->dump() +
                                                      "; this side speaks protocol " +
                                                      std::to_string(protocol_version) +
                                                      ": install the same release on both");
    }
    const auto type = json.find("type");
    if (type == json.end() || !type->is_string()) {
        return make_error(ErrorCode::invalid_input, "type: a message names its type");
    }
    const std::string pointer = "/message/definitions/" + type->get<std::string>();
    for (const std::string& known : codec::message_types()) {
        if (*type == known) {
            return pointer;
        }
    }
    return make_error(ErrorCode::invalid_input,
                      "type: unknown type '" + type->get<std::string>().substr(0, 64) + "'");
}

// Never cuts inside a UTF-8 sequence: continuation bytes at the cut go too.
std::string head_of(std::string_view text, std::size_t most) {
    if (text.size() <= most) {
        return std::string(text);
    }
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) {
        --most;
    }
    return std::string(text.substr(0, most));
}
std::string tail_of(std::string_view text, std::size_t most) {
    if (text.size() <= most) {
        return std::string(text);
    }
    std::size_t start = text.size() - most;
    while (start < text.size() && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) {
        ++start;
    }
    return std::string(text.substr(start));
}

// Writes all fields but the numbers of a cell; a noun inside has its own writer.
struct MarkingWriter {
    codec::Writer plain;

    template <std::size_t N, class T>
    void operator()(const char (&name)[N], const T& value) {
        const auto number = std::ranges::find(cell_number_names, std::string_view(name));
        if (number == cell_number_names.end()) {
            plain(name, value);
            return;
        }
        plain.out += '"';
        plain.out += name;
        plain.out += "\":";
        plain.out += mark_of(static_cast<CellNumber>(number - cell_number_names.begin()));
        plain.out += ',';
    }
};

bool is_bounded(const Outcome& outcome) {
    return outcome.evidence.size() <= max_evidence_bytes &&
           outcome.message.size() <= max_line_bytes;
}

RunResult bounded(RunResult result) {
    result.outcome.evidence = tail_of(result.outcome.evidence, max_evidence_bytes);
    result.outcome.message = head_of(result.outcome.message, max_line_bytes);
    return result;
}

}  // namespace

Status validate(Noun noun, std::string_view text) {
    const Json json = TRY(parse(text));
    if (noun == Noun::message) {
        const std::string pointer = TRY(message_schema(json));
        return codec::check_against(pointer, json);
    }
    return codec::check_against("/" + std::string(codec::name_of(noun)), json);
}

std::string to_json(const JobSpec& spec) {
    std::string out;
    out.reserve(usual_bytes);
    codec::write(out, spec);
    return out;
}

std::string to_marked_json(const JobSpec& spec) {
    std::string out;
    out.reserve(usual_bytes);
    MarkingWriter writer{codec::Writer(out)};
    codec::fields(writer, spec);
    writer.plain.close();
    return out;
}

std::string to_json(const RunResult& result) {
    if (!is_bounded(result.outcome)) {
        return to_json(bounded(result));
    }
    std::string out;
    out.reserve(usual_bytes);
    codec::write(out, result);
    return out;
}

std::string to_json(const Message& message) {
    std::string out;
    out.reserve(usual_bytes);
    append_json(out, message);
    return out;
}

void append_json(std::string& out, const Message& message) {
    const auto* delivery = std::get_if<ResultDelivery>(&message);
    if (delivery != nullptr && !is_bounded(delivery->result.outcome)) {
        codec::write_message(out, ResultDelivery{delivery->session, bounded(delivery->result)});
    } else {
        codec::write_message(out, message);
    }
}

Result<JobSpec> job_from_json(std::string_view json) {
    return read_noun<JobSpec>(Noun::job, json);
}

Result<RunResult> result_from_json(std::string_view json) {
    return read_noun<RunResult>(Noun::result, json);
}

Result<Message> message_from_json(std::string_view text) {
    if (std::optional<Message> quick = codec::read_message(text)) {
        return std::move(*quick);
    }
    Result<Json> json = parse(text);
    if (!json) {
        return prefixed("message", json.error());
    }
    const Result<std::string> pointer = message_schema(*json);
    if (!pointer) {
        return prefixed("message", pointer.error());
    }
    const std::string name = "message " + json->at("type").get<std::string>();
    if (Status checked = codec::check_against(*pointer, *json); !checked) {
        return prefixed(name, checked.error());
    }
    try {
        return codec::decode_message(*json);
    } catch (const std::exception& error) {
        return prefixed(name, make_error(ErrorCode::invalid_input, words_of(error)));
    }
}

}  // namespace bitsweep
