// `bitsweep schema`: the JSON Schemas, for editors and for peers in other languages.
#include <array>
#include <iostream>
#include <string_view>
#include <utility>

#include "coordinator/cli/command.h"
#include "coordinator/cli/options.h"
#include "schemas/codec.h"

namespace bitsweep {

namespace {

constexpr std::array<std::pair<std::string_view, Noun>, 4> nouns = {
    {{"experiment", Noun::experiment},
     {"job", Noun::job},
     {"result", Noun::result},
     {"message", Noun::message}}};

}  // namespace

int command_schema(const Arguments& arguments) {
    OptionSet options(
        "schema [experiment|job|result|message]",
        "Prints a JSON Schema (draft 7); experiment when none is named. job.schema.json "
        "and\nresult.schema.json are referred to by message.schema.json: keep them in "
        "one folder.");
    options.positional("noun", 1);
    const Parsed parsed = options.parse(arguments);
    if (parsed.stop) {
        return *parsed.stop;
    }
    const std::string wanted = parsed.get<std::string>("noun", "experiment");
    std::vector<std::string> names;
    for (const auto& [name, noun] : nouns) {
        if (name == wanted) {
            std::cout << schema_text(noun) << std::flush;
            return exit_done;
        }
        names.emplace_back(name);
    }
    const std::string near = nearest(wanted, names);
    return report(make_error(ErrorCode::invalid_input,
                             "there is no schema `" + wanted + "`" +
                                 (near.empty() ? "; known: experiment, job, result, message"
                                               : "; did you mean `" + near + "`?")));
}

}  // namespace bitsweep
