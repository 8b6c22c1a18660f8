#include "worker/runner/text_tokens.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>

namespace bitsweep {
namespace {

// Ids near the end of a cut text may differ from those of the whole text; a pre-token is never
// this many ids long in prose.
constexpr std::int64_t margin_tokens = 256;
constexpr std::size_t most_split = 8;  // tokens that one character may be split over

Result<std::string> read_prefix(const std::filesystem::path& file, std::size_t bytes) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
        return make_error(ErrorCode::not_found, file.string() + ": " + std::strerror(errno));
    }
    std::string text(bytes, '\0');
    in.read(text.data(), static_cast<std::streamsize>(bytes));
    if (in.bad()) {
        return make_error(ErrorCode::io, file.string() + ": " + std::strerror(errno));
    }
    text.resize(static_cast<std::size_t>(in.gcount()));
    return text;
}

bool starts_at(std::string_view text, std::size_t position, std::string_view piece) {
    return !piece.empty() && text.substr(position, piece.size()) == piece;
}

}  // namespace

std::vector<std::int32_t> token_bytes(const Tokenizer& tokenizer, std::string_view text,
                                      const std::vector<std::int32_t>& ids) {
    std::vector<std::int32_t> bytes;
    bytes.reserve(ids.size());
    std::size_t position = 0;
    const std::span<const std::int32_t> all(ids);
    while (bytes.size() < ids.size()) {
        const std::size_t first = bytes.size();
        std::size_t count = 1;
        std::string piece = tokenizer.decode(all.subspan(first, count));
        while (!starts_at(text, position, piece)) {
            ++count;
            if (first + count > ids.size()) {
                return bytes;  // the ids end inside a character
            }
            if (count > most_split) {
                return {};
            }
            piece = tokenizer.decode(all.subspan(first, count));
        }
        if (piece.size() < count) {
            return {};
        }
        bytes.insert(bytes.end(), count - 1, 1);
        bytes.push_back(static_cast<std::int32_t>(piece.size() - (count - 1)));
        position += piece.size();
    }
    return bytes;
}

Result<TextTokens> first_tokens(const Tokenizer& tokenizer, const std::filesystem::path& file,
                                std::int64_t tokens) {
    std::error_code failed;
    const std::uintmax_t size = std::filesystem::file_size(file, failed);
    if (failed) {
        return make_error(ErrorCode::not_found, file.string() + ": " + failed.message());
    }
    const auto wanted = static_cast<std::uintmax_t>(std::max<std::int64_t>(tokens, 0));
    // English takes four to five bytes a token; the loop doubles where a text takes more.
    std::uintmax_t prefix = std::min<std::uintmax_t>(size, wanted * 6 + 16384);
    TextTokens result;
    std::string text;
    while (true) {
        text = TRY(read_prefix(file, prefix));
        const bool whole = prefix >= size;
        if (!whole) {
            const std::size_t line_end = text.rfind('\n');
            text.resize(line_end == std::string::npos ? text.size() : line_end + 1);
        }
        result.ids = tokenizer.encode(text);
        if (whole || static_cast<std::int64_t>(result.ids.size()) >= tokens + margin_tokens) {
            break;
        }
        prefix = std::min(size, prefix * 2);
    }
    // A few more ids than wanted, so that the last wanted one may end inside a character.
    result.ids.resize(std::min<std::size_t>(result.ids.size(), wanted + most_split));
    result.bytes = token_bytes(tokenizer, text, result.ids);
    result.ids.resize(std::min<std::size_t>(result.ids.size(), wanted));
    if (result.bytes.size() < result.ids.size()) {
        result.bytes.clear();
    } else {
        result.bytes.resize(result.ids.size());
    }
    return result;
}

}  // namespace bitsweep
