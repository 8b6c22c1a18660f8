#include "tests/sim/transcript.h"

#include "schemas/codec.h"

namespace bitsweep::sim {

namespace {

std::string attempt(const JobKey& key, Attempt number) {
    return key.value.substr(0, 8) + "#" + std::to_string(number.value);
}

std::string list(const std::vector<RunningJob>& running) {
    std::string words = ", runs [";
    for (const RunningJob& job : running) {
        words += (words.back() == '[' ? "" : " ") + attempt(job.key, job.attempt);
    }
    return words + "]";
}

struct Words {
    std::string operator()(const Hello& m) const { return "hello" + list(m.running); }
    std::string operator()(const Heartbeat& m) const { return "heartbeat" + list(m.running); }
    std::string operator()(const Started& m) const {
        return "started " + attempt(m.key, m.attempt);
    }
    std::string operator()(const ResultDelivery& m) const {
        return "result of " + attempt(m.result.key, m.result.attempt) + ": " +
               std::string(to_string(m.result.outcome.outcome));
    }
    std::string operator()(const Goodbye&) const { return "goodbye"; }
    std::string operator()(const Welcome&) const { return "welcome"; }
    std::string operator()(const Dispatch& m) const {
        return "dispatch " + attempt(m.key, m.attempt) + " on " + m.device;
    }
    std::string operator()(const Cancel& m) const {
        return "cancel " + attempt(m.key, m.attempt) + ": " + m.reason;
    }
    std::string operator()(const ResultAck& m) const {
        return "acknowledges " + attempt(m.key, m.attempt);
    }
    std::string operator()(const Drain&) const { return "drain"; }
    std::string operator()(const Submit& m) const {
        return "submit " + m.experiment.value + ", " + std::to_string(m.cells.size()) + " cells";
    }
    std::string operator()(const Submitted& m) const {
        return "submitted: " + std::to_string(m.new_cells) + " new cells";
    }
    std::string operator()(const Control& m) const {
        return "order: " + std::string(to_string(m.action)) + " " + m.target;
    }
    std::string operator()(const Controlled& m) const { return m.words; }
    std::string operator()(const Refusal& m) const { return "refused: " + m.reason; }
    template <class Other>
    std::string operator()(const Other& m) const {
        return to_json(Message(m));
    }
};

}  // namespace

std::string in_words(const Message& message) {
    return std::visit(Words{}, message);
}

}  // namespace bitsweep::sim
