#include "worker/inference/bpe.h"

#include <algorithm>
#include <array>
#include <optional>
#include <queue>
#include <unordered_map>

#include "worker/inference/added_tokens.h"
#include "worker/inference/byte_characters.h"
#include "worker/inference/unicode.h"
#include "worker/inference/untrusted.h"

namespace bitsweep {
namespace {

// Ids may have gaps, but tables are indexed by id: a wild one must not cost memory.
constexpr std::int64_t ids_per_token = 4;
constexpr std::int64_t spare_ids = 1024;

struct Merge {
    std::uint32_t rank = 0;
    std::int32_t id = 0;  // of the two together
};

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
}

using MergeTable = std::unordered_map<std::uint64_t, Merge>;

// Merges one word. A heap of candidate pairs by (rank, position) and a linked list of symbols give
// O(n log n); an outdated candidate is known by the id that its pair would make now, which is how
// Hugging Face's implementation (word.rs) decides too.
class WordMerger {
 public:
    explicit WordMerger(const MergeTable& merges) : merges_(merges) {}

    // Merges `symbols` and appends the result to `out`.
    void merge(const std::vector<std::int32_t>& symbols, std::vector<std::int32_t>* out) {
        list_.clear();
        const auto size = static_cast<std::int32_t>(symbols.size());
        for (std::int32_t i = 0; i < size; ++i) {
            list_.push_back(
                {symbols[static_cast<std::size_t>(i)], i - 1, i + 1 < size ? i + 1 : -1});
        }
        for (std::int32_t i = 0; i + 1 < size; ++i) {
            push(i);
        }
        while (!queue_.empty()) {
            const Candidate top = queue_.top();
            queue_.pop();
            apply(top);
        }
        for (std::int32_t i = size > 0 ? 0 : -1; i >= 0; i = at(i).next) {
            out->push_back(at(i).id);
        }
    }

 private:
    struct Symbol {
        std::int32_t id;  // -1 once merged into its left neighbour
        std::int32_t previous;
        std::int32_t next;
    };
    struct Candidate {
        std::uint32_t rank;
        std::int32_t position;
        std::int32_t id;
        bool operator<(const Candidate& other) const {  // the queue takes the largest first
            return rank != other.rank ? rank > other.rank : position > other.position;
        }
    };

    Symbol& at(std::int32_t index) { return list_[static_cast<std::size_t>(index)]; }

    const Merge* find(std::int32_t position) {
        const Symbol& left = at(position);
        if (left.next < 0) {
            return nullptr;
        }
        const auto it = merges_.find(pair_key(left.id, at(left.next).id));
        return it == merges_.end() ? nullptr : &it->second;
    }

    void push(std::int32_t position) {
        if (const Merge* merge = find(position)) {
            queue_.push({merge->rank, position, merge->id});
        }
    }

    void apply(const Candidate& candidate) {
        Symbol& left = at(candidate.position);
        if (left.id < 0) {
            return;
        }
        const Merge* now = find(candidate.position);
        if (now == nullptr || now->id != candidate.id) {
            return;
        }
        Symbol& right = at(left.next);
        left.id = candidate.id;
        left.next = right.next;
        right.id = -1;
        if (left.next >= 0) {
            at(left.next).previous = candidate.position;
        }
        if (left.previous >= 0) {
            push(left.previous);
        }
        push(candidate.position);
    }

    const MergeTable& merges_;
    std::vector<Symbol> list_;
    std::priority_queue<Candidate> queue_;
};

struct Model {
    std::vector<std::string> token_bytes;                 // by id
    std::unordered_map<std::string, std::int32_t> id_of;  // bytes of vocabulary tokens
    std::array<std::int32_t, 256> byte_id{};              // -1: no token
    MergeTable merges;
};

class BpeTokenizer final : public Tokenizer {
 public:
    BpeTokenizer(Model model, const BpeDescription& description)
        : model_(std::move(model)),
          before_normalising_(pick(description.added, false)),
          after_normalising_(pick(description.added, true)),
          pretokenizer_(description.pretokenizer),
          ignore_merges_(description.ignore_merges),
          nfc_(description.nfc) {}

    std::vector<std::int32_t> encode(std::string_view text) const override {
        Encoding encoding(model_.merges);
        before_normalising_.split(text, [&](std::string_view piece, std::int64_t id) {
            if (id >= 0) {
                encoding.ids.push_back(static_cast<std::int32_t>(id));
            } else if (nfc_) {
                encode_normalised(to_nfc(piece), &encoding);
            } else {
                encode_normalised(piece, &encoding);
            }
        });
        return std::move(encoding.ids);
    }

    std::string decode(std::span<const std::int32_t> ids) const override {
        std::string bytes;
        for (const std::int32_t id : ids) {
            const bool is_known =
                id >= 0 && static_cast<std::size_t>(id) < model_.token_bytes.size();
            bytes += is_known ? model_.token_bytes[static_cast<std::size_t>(id)] : "\xFF";
        }
        return with_valid_utf8(bytes);
    }

    std::int64_t vocabulary() const override {
        return static_cast<std::int64_t>(model_.token_bytes.size());
    }

 private:
    // What one call of encode() works on. Words repeat, so each is merged once: the cache holds
    // [begin, end) of `cached` for a word, and never more words than the text has.
    struct Encoding {
        explicit Encoding(const MergeTable& merges) : merger(merges) {}
        std::vector<std::int32_t> ids;
        std::unordered_map<std::string, std::pair<std::size_t, std::size_t>> words;
        std::vector<std::int32_t> cached;
        std::vector<std::int32_t> symbols;
        std::string word;  // the key, reused so that looking up allocates nothing
        WordMerger merger;
    };

    static std::vector<AddedToken> pick(const std::vector<AddedToken>& tokens, bool normalized) {
        std::vector<AddedToken> out;
        for (const AddedToken& token : tokens) {
            if (token.normalized == normalized) {
                out.push_back(token);
            }
        }
        return out;
    }

    void encode_normalised(std::string_view text, Encoding* encoding) const {
        after_normalising_.split(text, [&](std::string_view piece, std::int64_t id) {
            if (id >= 0) {
                encoding->ids.push_back(static_cast<std::int32_t>(id));
                return;
            }
            pretokenize(pretokenizer_, piece,
                        [&](std::string_view word) { encode_word(word, encoding); });
        });
    }

    void encode_word(std::string_view word, Encoding* encoding) const {
        encoding->word.assign(word);
        auto it = encoding->words.find(encoding->word);
        if (it == encoding->words.end()) {
            const std::size_t begin = encoding->cached.size();
            merge_word(encoding->word, encoding);
            it = encoding->words.emplace(encoding->word, std::pair(begin, encoding->cached.size()))
                     .first;
        }
        const auto [begin, end] = it->second;
        encoding->ids.insert(encoding->ids.end(),
                             encoding->cached.begin() + static_cast<std::ptrdiff_t>(begin),
                             encoding->cached.begin() + static_cast<std::ptrdiff_t>(end));
    }

    // Appends the ids of a word to encoding->cached.
    void merge_word(const std::string& word, Encoding* encoding) const {
        if (ignore_merges_) {
            const auto whole = model_.id_of.find(word);
            if (whole != model_.id_of.end()) {
                encoding->cached.push_back(whole->second);
                return;
            }
        }
        encoding->symbols.clear();
        for (const char c : word) {
            const std::int32_t id = model_.byte_id[static_cast<unsigned char>(c)];
            if (id >= 0) {
                encoding->symbols.push_back(id);
            }
        }
        encoding->merger.merge(encoding->symbols, &encoding->cached);
    }

    Model model_;
    AddedTokenMatcher before_normalising_;
    AddedTokenMatcher after_normalising_;
    PretokenizerOptions pretokenizer_;
    bool ignore_merges_;
    bool nfc_;
};

// Builds the tables of a description, checking it on the way.
class Builder {
 public:
    explicit Builder(const BpeDescription& description)
        : description_(description),
          max_id_(spare_ids +
                  ids_per_token * static_cast<std::int64_t>(description.vocabulary.size() +
                                                            description.added.size())) {}

    Result<Model> build() {
        TRY(add_vocabulary());
        TRY(add_added_tokens());
        TRY(check_bytes());
        TRY(add_merges());
        return std::move(model_);
    }

 private:
    Error corrupt(const std::string& what) const {
        return make_error(ErrorCode::corrupt, description_.label + ": " + what);
    }

    Status claim_id(std::int64_t id, const std::string& token) {
        if (id < 0 || id >= max_id_) {
            return corrupt("token " + show_name(token) + " has id " + std::to_string(id) +
                           "; wanted 0 to " + std::to_string(max_id_ - 1));
        }
        const auto index = static_cast<std::size_t>(id);
        if (index >= owner_.size()) {
            owner_.resize(index + 1);
            model_.token_bytes.resize(index + 1);
        }
        if (owner_[index] != nullptr) {
            return corrupt("id " + std::to_string(id) + " belongs to both " +
                           show_name(*owner_[index]) + " and " + show_name(token));
        }
        owner_[index] = &token;
        return {};
    }

    Status add_vocabulary() {
        for (const auto& [token, id] : description_.vocabulary) {
            TRY(claim_id(id, token));
            if (!id_of_token_.emplace(token, static_cast<std::int32_t>(id)).second) {
                return corrupt("token " + show_name(token) + " appears twice");
            }
            // A token that is not written in byte characters can only be an added one: merges never
            // reach it, and it stands for its own text.
            const auto bytes = bytes_of_token(token);
            model_.token_bytes[static_cast<std::size_t>(id)] = bytes.value_or(token);
            if (bytes) {
                model_.id_of.emplace(*bytes, static_cast<std::int32_t>(id));
            }
        }
        return {};
    }

    Status add_added_tokens() {
        for (const AddedToken& added : description_.added) {
            if (added.content.empty()) {
                return corrupt("the added token " + std::to_string(added.id) + " is empty");
            }
            const auto it = id_of_token_.find(added.content);
            if (it == id_of_token_.end()) {
                TRY(claim_id(added.id, added.content));
                id_of_token_.emplace(added.content, static_cast<std::int32_t>(added.id));
            } else if (it->second != added.id) {
                return corrupt("the added token " + show_name(added.content) + " has id " +
                               std::to_string(added.id) + " but is also listed with id " +
                               std::to_string(it->second));
            }
            model_.token_bytes[static_cast<std::size_t>(added.id)] = added.content;
        }
        return {};
    }

    Status check_bytes() {
        for (int byte = 0; byte < 256; ++byte) {
            const auto it = model_.id_of.find(std::string(1, static_cast<char>(byte)));
            const bool is_found = it != model_.id_of.end();
            model_.byte_id[static_cast<std::size_t>(byte)] = is_found ? it->second : -1;
            const bool is_printable = byte == '\n' || (byte >= 0x20 && byte < 0x7F);
            if (is_printable && !is_found) {
                return corrupt("no token for the byte " + std::to_string(byte) +
                               "; a byte-level vocabulary has all printable ASCII");
            }
        }
        return {};
    }

    Status add_merges() {
        std::uint32_t rank = 0;
        for (const auto& [left, right] : description_.merges) {
            const auto a = id_of_token_.find(left);
            const auto b = id_of_token_.find(right);
            const auto both = id_of_token_.find(left + right);
            if (a == id_of_token_.end() || b == id_of_token_.end() || both == id_of_token_.end()) {
                return corrupt("merge " + std::to_string(rank) + ", " + show_name(left) + " " +
                               show_name(right) + ", names a token that is not in the vocabulary");
            }
            if (!model_.merges.emplace(pair_key(a->second, b->second), Merge{rank, both->second})
                     .second) {
                return corrupt("merge " + std::to_string(rank) + ", " + show_name(left) + " " +
                               show_name(right) + ", appears twice");
            }
            ++rank;
        }
        return {};
    }

    const BpeDescription& description_;
    std::int64_t max_id_;
    std::vector<const std::string*> owner_;  // of each id, in description_; null: free
    std::unordered_map<std::string, std::int32_t> id_of_token_;  // as written
    Model model_;
};

}  // namespace

Result<std::pair<std::string, std::string>> split_merge(std::string_view text, std::size_t index,
                                                        const std::string& label) {
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == text.size() ||
        text.find(' ', space + 1) != std::string_view::npos) {
        return make_error(ErrorCode::corrupt, label + ": merge " + std::to_string(index) + ", " +
                                                  show_name(text) +
                                                  ", is not two tokens with a space between");
    }
    return std::pair(std::string(text.substr(0, space)), std::string(text.substr(space + 1)));
}

Result<std::unique_ptr<Tokenizer>> make_bpe_tokenizer(BpeDescription description) {
    Model model = TRY(Builder(description).build());
    for (AddedToken& added : description.added) {
        if (added.normalized && description.nfc) {
            added.content = to_nfc(added.content);
        }
    }
    return std::unique_ptr<Tokenizer>(
        std::make_unique<BpeTokenizer>(std::move(model), description));
}

}  // namespace bitsweep
