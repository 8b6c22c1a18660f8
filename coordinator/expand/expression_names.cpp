// The visible table of what expressions can read besides the fields.
#include "coordinator/expand/expression_names.h"

#include <array>

#include "coordinator/expand/fields.h"

namespace bitsweep {
namespace {

constexpr std::array model_fields = {Field::model};
constexpr std::array weight_fields = {Field::model, Field::method, Field::head};
constexpr std::array cache_fields = {Field::model,         Field::batch,  Field::kv,
                                     Field::prompt_tokens, Field::method, Field::new_tokens};
constexpr std::array memory_fields = {Field::model,     Field::method, Field::head,
                                      Field::batch,     Field::kv,     Field::prompt_tokens,
                                      Field::new_tokens};
constexpr std::array card_fields = {Field::gpu};

constexpr std::array<FactRow, 17> table = {{
    {"params", Fact::params, ExprType::number, model_fields, "parameters, tied tensors once"},
    {"params_b", Fact::params_b, ExprType::number, model_fields, "parameters in billions"},
    {"family", Fact::family, ExprType::text, model_fields, "gpt2, opt, llama, qwen2, mistral"},
    {"layers", Fact::layers, ExprType::number, model_fields, "blocks"},
    {"width", Fact::width, ExprType::number, model_fields, "hidden size"},
    {"heads", Fact::heads, ExprType::number, model_fields, "query heads"},
    {"kv_heads", Fact::kv_heads, ExprType::number, model_fields, "key and value heads"},
    {"head_dim", Fact::head_dim, ExprType::number, model_fields, "width of one head"},
    {"ffn", Fact::ffn, ExprType::number, model_fields, "intermediate size"},
    {"vocabulary", Fact::vocabulary, ExprType::number, model_fields, "tokens in the vocabulary"},
    {"positions", Fact::positions, ExprType::number, model_fields, "longest context"},
    {"weight_gib", Fact::weight_gib, ExprType::number, weight_fields,
     "packed weights, embeddings and head"},
    {"kv_gib", Fact::kv_gib, ExprType::number, cache_fields, "KV cache of the whole context"},
    {"memory_gib", Fact::memory_gib, ExprType::number, memory_fields,
     "all that the job will allocate"},
    {"vram_gib", Fact::vram_gib, ExprType::number, card_fields, "memory of the card"},
    {"bandwidth_gbs", Fact::bandwidth_gbs, ExprType::number, card_fields,
     "its memory bandwidth, GB/s, by the data sheet"},
    {"sm", Fact::sm, ExprType::number, card_fields, "compute capability, 75 to 120"},
}};

}  // namespace

std::span<const FactRow> fact_table() {
    return table;
}

std::optional<ExprType> expression_type(Field field) {
    switch (field_row(field).type) {
        case FieldType::integer:
        case FieldType::number:
            return ExprType::number;
        case FieldType::boolean:
            return ExprType::truth;
        case FieldType::eval:
            return std::nullopt;
        case FieldType::word:
        case FieldType::text:
        case FieldType::method:
        case FieldType::model:
        case FieldType::gpu:
            break;
    }
    return ExprType::text;
}

std::span<const Field> fields_behind(const Name& name) {
    // Spans of one field, for as long as the program lives.
    static const std::array<Field, field_count> every = [] {
        std::array<Field, field_count> out{};
        for (std::size_t i = 0; i < field_count; ++i) {
            out[i] = static_cast<Field>(i);
        }
        return out;
    }();
    if (name.fact == Fact::field) {
        return std::span(every).subspan(static_cast<std::size_t>(name.field), 1);
    }
    for (const FactRow& row : table) {
        if (row.fact == name.fact) {
            return row.fields;
        }
    }
    return {};
}

std::vector<std::string_view> expression_names() {
    std::vector<std::string_view> out;
    for (const FieldRow& row : field_table()) {
        if (expression_type(row.field)) {
            out.push_back(row.name);
        }
    }
    for (const FactRow& row : table) {
        out.push_back(row.name);
    }
    return out;
}

}  // namespace bitsweep
