#include "coordinator/expand/cell_facts.h"

#include "schemas/catalog/cards.h"
#include "schemas/catalog/memory.h"
#include "schemas/catalog/methods.h"
#include "schemas/catalog/shapes.h"

namespace bitsweep {
namespace {

constexpr double gib = 1024.0 * 1024.0 * 1024.0;

double real(std::int64_t number) {
    return static_cast<double>(number);
}

std::int64_t whole(const Draft& draft, Field field, std::int64_t otherwise) {
    const Value* value = draft[field];
    const auto* number = value != nullptr ? std::get_if<std::int64_t>(&value->data) : nullptr;
    return number != nullptr ? *number : otherwise;
}

const ModelShape* shape_of(const Draft& draft) {
    const Value* model = draft[Field::model];
    return model != nullptr ? find_shape(std::get<ModelValue>(model->data).name) : nullptr;
}

}  // namespace

ExprValue CellFacts::value(const Name& name) const {
    switch (name.fact) {
        case Fact::field:
            return field(name.field);
        case Fact::derived:
            return draft_.derived != nullptr && name.derived < draft_.derived->size()
                       ? (*draft_.derived)[name.derived]
                       : ExprValue(Unknown{});
        case Fact::weight_gib:
        case Fact::kv_gib:
        case Fact::memory_gib:
            return size(name.fact);
        case Fact::vram_gib:
        case Fact::bandwidth_gbs:
        case Fact::sm:
            return of_card(name.fact);
        default:
            return of_model(name.fact);
    }
}

ExprValue CellFacts::field(Field field) const {
    if (field == Field::repeat) {
        return real(draft_.repeat);
    }
    const Value* value = draft_[field];
    if (field == Field::bits && value == nullptr && draft_[Field::method] != nullptr) {
        const Result<MethodId> method = parse_method(draft_[Field::method]->key);
        return method ? ExprValue(real(method->weight_bits)) : ExprValue(Unknown{});
    }
    // A template of `{each: any}` has no kind yet.
    if (value == nullptr || (field == Field::gpu && value->key == "*")) {
        return Unknown{};
    }
    if (const auto* number = std::get_if<std::int64_t>(&value->data)) {
        return real(*number);
    }
    if (const auto* number = std::get_if<double>(&value->data)) {
        return *number;
    }
    if (const auto* truth = std::get_if<bool>(&value->data)) {
        return *truth;
    }
    if (const auto* model = std::get_if<ModelValue>(&value->data)) {
        return model->name;
    }
    return value->key;
}

ExprValue CellFacts::of_model(Fact fact) const {
    const ModelShape* shape = shape_of(draft_);
    if (shape == nullptr) {
        return Unknown{};
    }
    switch (fact) {
        case Fact::params:
            return real(shape->parameters);
        case Fact::params_b:
            return real(shape->parameters) / 1e9;
        case Fact::family:
            return std::string(to_string(shape->family));
        case Fact::layers:
            return real(shape->layers);
        case Fact::width:
            return real(shape->width);
        case Fact::heads:
            return real(shape->heads);
        case Fact::kv_heads:
            return real(shape->kv_heads);
        case Fact::head_dim:
            return real(shape->head_dim);
        case Fact::ffn:
            return real(shape->ffn);
        case Fact::vocabulary:
            return real(shape->vocabulary);
        case Fact::positions:
            return real(shape->positions);
        default:
            return Unknown{};
    }
}

ExprValue CellFacts::size(Fact fact) const {
    const Value* method = draft_[Field::method];
    const Result<MethodId> id = parse_method(method != nullptr ? method->key : "");
    MemoryQuestion question;
    question.shape = shape_of(draft_);
    if (question.shape == nullptr || !id) {
        return Unknown{};
    }
    question.method = *id;
    const Value* threshold = draft_[Field::threshold];
    const auto* number = threshold != nullptr ? std::get_if<double>(&threshold->data) : nullptr;
    question.decomposes = number == nullptr || *number > 0;
    question.head_bits = static_cast<int>(whole(draft_, Field::head, 16));
    const Value* kv = draft_[Field::kv];
    question.kv = kv_from_string(kv != nullptr ? kv->key : "16").value_or(KvFormat::bits16);
    question.batch = whole(draft_, Field::batch, 1);
    question.context =
        whole(draft_, Field::prompt_tokens, 0) + whole(draft_, Field::new_tokens, 128);
    const MemoryBytes bytes = estimate_memory(question);
    const std::uint64_t weights =
        bytes.weight_codes + bytes.weight_scales + bytes.embeddings + bytes.other_weights;
    const std::uint64_t asked = fact == Fact::weight_gib ? weights
                                : fact == Fact::kv_gib   ? bytes.kv_cache
                                                         : bytes.total();
    return static_cast<double>(asked) / gib;
}

ExprValue CellFacts::of_card(Fact fact) const {
    const Value* gpu = draft_[Field::gpu];
    const Card* card = gpu != nullptr ? find_card(gpu->key) : nullptr;
    if (card == nullptr) {
        return Unknown{};
    }
    return fact == Fact::vram_gib        ? card->vram_gib
           : fact == Fact::bandwidth_gbs ? card->bandwidth_gbs
                                         : static_cast<double>(card->sm);
}

}  // namespace bitsweep
