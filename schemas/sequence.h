// Several messages in one frame, as a JSON text sequence (RFC 7464): each text stands between
// U+001E, which no JSON holds as it is, and a line feed. A frame without that mark is one message.
// What a frame costs (encryption, system calls, waking the other side) is paid once for all of
// them; each is read, counted, refused and answered as if it had come alone.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/message.h"
#include "schemas/status.h"

namespace bitsweep {

// 64 devices of a worker give 64 results, words of start, dispatches and acknowledgements at once.
inline constexpr std::size_t most_messages_in_frame = 256;
// A writer begins another frame beyond it: 100 dispatches and acknowledgements take 70 KiB. One
// message may be longer (codec.h).
inline constexpr std::size_t usual_frame_bytes = 256u << 10;

// In order, in as few frames as the bounds permit.
std::vector<std::string> frames_of(std::span<const Message> messages);

// The texts of one frame, views into it; at least one. invalid_input: more than
// most_messages_in_frame.
Result<std::vector<std::string_view>> texts_of(std::string_view frame);

}  // namespace bitsweep
