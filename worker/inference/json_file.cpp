#include "worker/inference/json_file.h"

#include <vector>

#include "worker/inference/mapped_file.h"
#include "worker/inference/untrusted.h"

namespace bitsweep {
namespace {

constexpr std::size_t max_depth = 64;  // tokenizer.json, the deepest of these files, has about 8

// Builds a document from parser events, because the library's own builder accepts duplicate keys
// and reports errors by exception only.
class DocumentBuilder final : public nlohmann::json_sax<Json> {
 public:
    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t value, const string_t&) override { return add(value); }
    bool string(string_t& value) override { return add(std::move(value)); }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override { return open(Json::object()); }
    bool start_array(std::size_t) override { return open(Json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }

    bool key(string_t& value) override {
        if (open_.back()->contains(value)) {
            problem_ = "the key " + show_name(value) + " appears twice";
            return false;
        }
        slot_ = &(*open_.back())[value];
        return true;
    }

    bool parse_error(std::size_t position, const std::string& last_token,
                     const nlohmann::detail::exception&) override {
        problem_ = "not JSON at byte " + std::to_string(position) +
                   (last_token.empty() ? "" : ", near " + show_name(last_token.substr(0, 40)));
        return false;
    }

    Json take_root() { return std::move(root_); }
    const std::string& problem() const { return problem_; }

 private:
    bool add(Json value) {
        place(std::move(value));
        return true;
    }

    Json* place(Json value) {
        if (open_.empty()) {
            root_ = std::move(value);
            return &root_;
        }
        if (open_.back()->is_array()) {
            open_.back()->push_back(std::move(value));
            return &open_.back()->back();
        }
        *slot_ = std::move(value);
        return slot_;
    }

    bool open(Json container) {
        if (open_.size() == max_depth) {
            problem_ = "nested deeper than " + std::to_string(max_depth) + " levels";
            return false;
        }
        open_.push_back(place(std::move(container)));
        return true;
    }

    bool close() {
        open_.pop_back();
        return true;
    }

    Json root_;
    // The containers on the way to the current value. Pointers stay valid: a container grows only
    // while it is the innermost open one.
    std::vector<Json*> open_;
    Json* slot_ = nullptr;
    std::string problem_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& label) {
    DocumentBuilder builder;
    if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
        return make_error(ErrorCode::corrupt, label + ": " + builder.problem());
    }
    return builder.take_root();
}

Result<std::string> read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
    const auto file = TRY(MappedFile::open(path));
    const auto bytes = file->bytes();
    if (bytes.size() > max_bytes) {
        return make_error(ErrorCode::corrupt,
                          path.string() + ": has " + std::to_string(bytes.size()) +
                              " bytes, at most " + std::to_string(max_bytes) + " were expected");
    }
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<Json> read_json_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
    const std::string text = TRY(read_text_file(path, max_bytes));
    return parse_json(text, path.string());
}

}  // namespace bitsweep
