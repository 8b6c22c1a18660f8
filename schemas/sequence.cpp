#include "schemas/sequence.h"

#include <algorithm>

#include "schemas/codec.h"

namespace bitsweep {

namespace {

constexpr char mark = '\x1e';

}  // namespace

std::vector<std::string> frames_of(std::span<const Message> messages) {
    if (messages.size() == 1) {
        return {to_json(messages.front())};  // the plain form, which also tells other versions
    }
    std::vector<std::string> frames;
    std::size_t in_frame = most_messages_in_frame;
    for (const Message& message : messages) {
        if (in_frame == most_messages_in_frame || frames.back().size() >= usual_frame_bytes) {
            frames.emplace_back();
            in_frame = 0;
        }
        std::string& frame = frames.back();
        frame += mark;
        append_json(frame, message);
        frame += '\n';
        ++in_frame;
    }
    return frames;
}

Result<std::vector<std::string_view>> texts_of(std::string_view frame) {
    std::vector<std::string_view> texts;
    if (frame.empty() || frame.front() != mark) {
        texts.push_back(frame);
        return texts;
    }
    const auto count = static_cast<std::size_t>(std::count(frame.begin(), frame.end(), mark));
    if (count > most_messages_in_frame) {
        return make_error(ErrorCode::invalid_input, "a frame of " + std::to_string(count) +
                                                        " messages; the limit is " +
                                                        std::to_string(most_messages_in_frame));
    }
    texts.reserve(count);
    while (!frame.empty()) {
        frame.remove_prefix(1);
        const std::size_t end = std::min(frame.find(mark), frame.size());
        texts.push_back(frame.substr(0, end));
        frame.remove_prefix(end);
    }
    return texts;
}

}  // namespace bitsweep
