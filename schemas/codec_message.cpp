// The fields of every message. Names are those of schemas/message.schema.json.
#include <algorithm>
#include <array>
#include <utility>

#include "schemas/codec_read.h"

namespace bitsweep::codec {

template <class F, Like<DeviceInfo> M>
void fields(F& f, M& m) {
    f("id", m.id);
    f("kind", m.kind);
    f("name", m.name);
    f("memory_bytes", m.memory_bytes);
    f("free_bytes", m.free_bytes);
    f("facts", m.facts);
}

template <class F, Like<DeviceState> M>
void fields(F& f, M& m) {
    f("id", m.id);
    f("free_bytes", m.free_bytes);
    f("foreign", m.foreign);
}

template <class F, Like<RunningJob> M>
void fields(F& f, M& m) {
    f("key", m.key);
    f("attempt", m.attempt);
}

template <class F, Like<Hello> M>
void fields(F& f, M& m) {
    f("worker", m.worker);
    f("session", m.session);
    f("host", m.host);
    f("version", m.version);
    f("devices", m.devices);
    f("models", m.models);
    f("running", m.running);
    f("remaining_ms", m.remaining);
    f("clear", m.clear);
    f("database", m.database);
}

template <class F, Like<Heartbeat> M>
void fields(F& f, M& m) {
    f("session", m.session);
    f("running", m.running);
    f("devices", m.devices);
}

template <class F, Like<Started> M>
void fields(F& f, M& m) {
    f("session", m.session);
    f("key", m.key);
    f("attempt", m.attempt);
    f("device", m.device);
}

template <class F, Like<ResultDelivery> M>
void fields(F& f, M& m) {
    f("session", m.session);
    f("result", m.result);
}

template <class F, Like<Goodbye> M>
void fields(F& f, M& m) {
    f("session", m.session);
}

template <class F, Like<Welcome> M>
void fields(F& f, M& m) {
    f("heartbeat_ms", m.heartbeat);
    f("lease_ms", m.lease);
    f("database", m.database);
}

template <class F, Like<Dispatch> M>
void fields(F& f, M& m) {
    f("key", m.key);
    f("attempt", m.attempt);
    f("device", m.device);
    f("timeout_ms", m.timeout);
    f("spec", m.spec);
    f("weights_digest", m.weights_digest);
    f("dataset_digest", m.dataset_digest);
}

template <class F, Like<Cancel> M>
void fields(F& f, M& m) {
    f("key", m.key);
    f("attempt", m.attempt);
    f("reason", m.reason);
}

template <class F, Like<ResultAck> M>
void fields(F& f, M& m) {
    f("key", m.key);
    f("attempt", m.attempt);
}

template <class F, Like<Drain> M>
void fields(F&, M&) {}

template <class F, Like<Submit> M>
void fields(F& f, M& m) {
    f("experiment", m.experiment);
    f("yaml", m.yaml);
    f("cells", m.cells);
    f("force", m.force);
    f("retry_failed", m.retry_failed);
    f("tags", m.tags);
    f("max_fails", m.max_fails);
    f("piece", m.piece);
    f("continues", m.continues);
}

template <class F, Like<StatusRequest> M>
void fields(F& f, M& m) {
    f("experiment", m.experiment);
}

template <class F, Like<Shutdown> M>
void fields(F&, M&) {}

template <class F, Like<Submitted> M>
void fields(F& f, M& m) {
    f("experiment", m.experiment);
    f("cells", m.cells);
    f("new_cells", m.new_cells);
    f("done", m.done);
    f("running", m.running);
    f("failed_before", m.failed_before);
    f("impossible", m.impossible);
    f("former", m.former);
}

template <class F, Like<WorkerStatus> M>
void fields(F& f, M& m) {
    f("worker", m.worker);
    f("host", m.host);
    f("state", m.state);
    f("devices", m.devices);
    f("running", m.running);
    f("silent_ms", m.silent_ms);
    f("loads", m.loads);
    f("loads_saved", m.loads_saved);
}

template <class F, Like<ExperimentStatus> M>
void fields(F& f, M& m) {
    f("experiment", m.experiment);
    f("jobs", m.jobs);
    f("failures", m.failures);
    f("retries", m.retries);
    f("reasons", m.reasons);
    f("eta_ms", m.eta_ms);
    f("state", m.state);
}

template <class F, Like<StatusReply> M>
void fields(F& f, M& m) {
    f("experiments", m.experiments);
    f("workers", m.workers);
    f("state", m.state);
}

template <class F, Like<Refusal> M>
void fields(F& f, M& m) {
    f("code", m.code);
    f("reason", m.reason);
    f("protocol_wanted", m.protocol_wanted);
}

template <class F, Like<Control> M>
void fields(F& f, M& m) {
    f("action", m.action);
    f("target", m.target);
    f("device", m.device);
    f("reason", m.reason);
}

template <class F, Like<Controlled> M>
void fields(F& f, M& m) {
    f("jobs", m.jobs);
    f("words", m.words);
}

template <class F, Like<ExplainRequest> M>
void fields(F& f, M& m) {
    f("job", m.job);
}

template <class F, Like<Explanation> M>
void fields(F& f, M& m) {
    f("key", m.key);
    f("state", m.state);
    f("lines", m.lines);
}

const std::vector<std::string>& message_types() {
    static const std::vector<std::string> types = {
        "hello",   "heartbeat",      "started",    "result",          "goodbye",
        "welcome", "dispatch",       "cancel",     "result_ack",      "drain",
        "submit",  "status_request", "shutdown",   "submitted",       "status_reply",
        "refusal", "control",        "controlled", "explain_request", "explanation"};
    static_assert(std::variant_size_v<Message> == 20, "name the new message here");
    return types;
}

void write_message(std::string& out, const Message& message) {
    Writer writer(out);
    writer("protocol", protocol_version);
    writer("type", message_types()[message.index()]);
    std::visit([&](const auto& value) { fields(writer, value); }, message);
    writer.close();
}

namespace {

template <std::size_t I>
Message decode_as(const Json& in) {
    std::variant_alternative_t<I, Message> value;
    decode(in, value);
    return value;
}

template <std::size_t... I>
Message decode_at(std::size_t index, const Json& in, std::index_sequence<I...>) {
    using Decode = Message (*)(const Json&);
    static constexpr std::array<Decode, sizeof...(I)> table = {decode_as<I>...};
    return table.at(index)(in);
}

// Behind the type of the message. `seen`: the members protocol and type.
template <std::size_t I>
bool read_as(Scanner& in, const SchemaNode& node, std::uint64_t seen, Message& out) {
    auto& value = out.emplace<I>();
    return in.take(',') ? read_members(in, node, value, seen)
                        : in.take('}') && (node.required & ~seen) == 0;
}

template <std::size_t... I>
bool read_at(std::size_t index, Scanner& in, const SchemaNode& node, std::uint64_t seen,
             Message& out, std::index_sequence<I...>) {
    using Read = bool (*)(Scanner&, const SchemaNode&, std::uint64_t, Message&);
    static constexpr std::array<Read, sizeof...(I)> table = {read_as<I>...};
    return table.at(index)(in, node, seen, out);
}

// The schemas of the messages, in the order of the variant.
const std::vector<const SchemaNode*>& message_nodes() {
    static const std::vector<const SchemaNode*> nodes = [] {
        std::vector<const SchemaNode*> all;
        for (const std::string& type : message_types()) {
            all.push_back(compiled("/message/definitions/" + type));
        }
        return all;
    }();
    return nodes;
}

// {"protocol":4,"type":"..." at the start, as write_message() puts it. The type's position, or the
// number of types.
std::size_t read_type(Scanner& in) {
    const std::vector<std::string>& types = message_types();
    std::string_view name;
    std::string_view type;
    std::int64_t version = 0;
    const bool begins = in.take('{') && in.name(name) && name == "protocol" && in.take(':') &&
                        in.integer(version) && version == protocol_version && in.take(',') &&
                        in.name(name) && name == "type" && in.take(':') && in.name(type);
    return begins ? static_cast<std::size_t>(std::find(types.begin(), types.end(), type) -
                                             types.begin())
                  : types.size();
}

}  // namespace

std::optional<Message> read_message(std::string_view text) {
    Scanner in(text);
    const std::size_t index = read_type(in);
    const SchemaNode* node = index < message_nodes().size() ? message_nodes()[index] : nullptr;
    if (text.size() > max_json_bytes || node == nullptr || !node->understood) {
        return std::nullopt;
    }
    std::uint64_t seen = 0;
    for (const std::string_view name : {"protocol", "type"}) {
        const std::size_t member = node->find(name);
        if (member == node->members.size()) {
            return std::nullopt;
        }
        seen |= std::uint64_t{1} << member;
    }
    std::optional<Message> message(std::in_place);
    const bool right = read_at(index, in, *node, seen, *message,
                               std::make_index_sequence<std::variant_size_v<Message>>{}) &&
                       in.at_end() && in.marks() <= max_json_values;
    return right ? std::move(message) : std::nullopt;
}

Message decode_message(const Json& in) {
    const std::string type = in.at("type").get<std::string>();
    const std::vector<std::string>& types = message_types();
    for (std::size_t i = 0; i < types.size(); ++i) {
        if (types[i] == type) {
            return decode_at(i, in, std::make_index_sequence<std::variant_size_v<Message>>{});
        }
    }
    throw BadValue("unknown message type '" + type.substr(0, 64) + "'");
}

}  // namespace bitsweep::codec
