#include "worker/inference/added_tokens.h"

#include <algorithm>

#include "worker/inference/unicode.h"

namespace bitsweep {
namespace {

bool is_word(char32_t code) {
    const CharClass kind = char_class(code);
    return kind == CharClass::letter || kind == CharClass::number || kind == CharClass::word;
}

// Where the character before `at` begins.
std::size_t before(std::string_view text, std::size_t at) {
    std::size_t begin = at - 1;
    while (begin > 0 && at - begin < 4 &&
           (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) {
        --begin;
    }
    return character_at(text, begin).bytes == at - begin ? begin : at - 1;
}

bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
    return (begin > 0 && is_word(character_at(text, before(text, begin)).code)) ||
           (end < text.size() && is_word(character_at(text, end).code));
}

std::size_t spaces_before(std::string_view text, std::size_t at, std::size_t limit) {
    while (at > limit) {
        const std::size_t begin = before(text, at);
        if (char_class(character_at(text, begin).code) != CharClass::space) {
            break;
        }
        at = begin;
    }
    return std::max(at, limit);
}

std::size_t spaces_after(std::string_view text, std::size_t at) {
    while (at < text.size()) {
        const Character character = character_at(text, at);
        if (char_class(character.code) != CharClass::space) {
            break;
        }
        at += character.bytes;
    }
    return at;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
    std::stable_sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
        return a.content.size() > b.content.size();
    });
    for (std::uint32_t i = 0; i < tokens_.size(); ++i) {
        by_first_byte_[static_cast<unsigned char>(tokens_[i].content[0])].push_back(i);
    }
}

const AddedToken* AddedTokenMatcher::longest_at(std::string_view text, std::size_t at) const {
    for (const std::uint32_t index : by_first_byte_[static_cast<unsigned char>(text[at])]) {
        const std::string& content = tokens_[index].content;
        if (text.substr(at, content.size()) == content) {
            return &tokens_[index];
        }
    }
    return nullptr;
}

void AddedTokenMatcher::split(std::string_view text, const PieceSink& sink) const {
    std::size_t done = 0;
    for (std::size_t at = 0; !tokens_.empty() && at < text.size();) {
        const AddedToken* token = longest_at(text, at);
        if (token == nullptr) {
            ++at;
            continue;
        }
        std::size_t begin = at;
        std::size_t end = at + token->content.size();
        at = end;
        // A token that begins inside white space which the one before took along is passed by.
        if (begin < done || (token->single_word && touches_word(text, begin, end))) {
            continue;
        }
        begin = token->lstrip ? spaces_before(text, begin, done) : begin;
        end = token->rstrip ? spaces_after(text, end) : end;
        if (begin > done) {
            sink(text.substr(done, begin - done), -1);
        }
        sink(text.substr(begin, end - begin), token->id);
        done = end;
        at = std::max(at, done);
    }
    if (done < text.size()) {
        sink(text.substr(done), -1);
    }
}

}  // namespace bitsweep
