// What a command says to a coordinator, and its answer.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "coordinator/cli/options.h"
#include "schemas/message.h"
#include "schemas/status.h"
#include "schemas/time.h"
#include "worker/agent/dealer.h"

namespace bitsweep {

// The access file that find_access() reads; empty: there is none.
std::filesystem::path access_file_of(const SharedOptions& shared, std::string_view who);

// The same where the coordinator's address is that of the file too; empty: it was given.
std::filesystem::path address_file_of(const SharedOptions& shared, std::string_view who);

// --access or BITSWEEP_ACCESS, else DB.keys/access/`who`.json when it exists, else --coordinator
// without keys. --coordinator replaces the address of the file. unavailable: none of them, with
// what to do.
Result<Access> find_access(const SharedOptions& shared, std::string_view who);

// Where `serve` keeps the keys of a database.
std::filesystem::path default_keys_folder(const std::filesystem::path& db);
// Keys, models, outboxes and logs of `bitsweep run` on this database; private.
std::filesystem::path run_folder(const std::filesystem::path& db);

inline constexpr std::string_view default_listen = "tcp://127.0.0.1:7420";

class Client {
 public:
    // Waits for the handshake. unavailable: nobody answers there; refused: the key is not known.
    static Result<Client> connect(const Access& access, Duration patience = {2'000});

    // With the access that find_access() finds. A client that finds it in a file reads the file
    // again when nobody answers: a coordinator that starts again may listen elsewhere.
    static Result<Client> attach(const SharedOptions& shared, Duration patience = {2'000});

    // One question, one answer. A Refusal comes back as its Error; unavailable after `patience`.
    Result<Message> ask(const Message& question, Duration patience);

    // A submission, in as many messages as it needs; `patience` for each of them.
    Result<Submitted> submit(Submit whole, Duration patience);

    // One question and its answer where only one type of answer makes sense.
    template <class Answer>
    Result<Answer> ask_for(const Message& question, Duration patience) {
        Message answer = TRY(ask(question, patience));
        if (auto* wanted = std::get_if<Answer>(&answer)) {
            return std::move(*wanted);
        }
        return make_error(ErrorCode::corrupt, "the coordinator answered something else");
    }

 private:
    explicit Client(std::unique_ptr<Dealer> dealer, std::string where)
        : dealer_(std::move(dealer)), where_(std::move(where)) {}

    Result<Message> ask_there(const Message& question, Duration patience);
    void look_for_another_address();

    std::unique_ptr<Dealer> dealer_;
    std::string where_;
    std::filesystem::path access_file_;  // empty: the address does not stand in a file
};

}  // namespace bitsweep
