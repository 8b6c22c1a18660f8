#include "coordinator/cli/client.h"

#include <chrono>
#include <iterator>
#include <span>
#include <utility>

#include "schemas/codec.h"

namespace bitsweep {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr Duration glance{20};

}  // namespace

fs::path default_keys_folder(const fs::path& db) {
    return db.string() + ".keys";
}

fs::path run_folder(const fs::path& db) {
    return db.string() + ".state";
}

fs::path access_file_of(const SharedOptions& shared, std::string_view who) {
    if (!shared.access.empty()) {
        return shared.access;
    }
    for (const fs::path& keys : {default_keys_folder(shared.db), run_folder(shared.db) / "keys"}) {
        const fs::path file = keys / "access" / (std::string(who) + ".json");
        if (std::error_code code; fs::exists(file, code)) {
            return file;
        }
    }
    return {};
}

fs::path address_file_of(const SharedOptions& shared, std::string_view who) {
    return shared.coordinator.empty() ? access_file_of(shared, who) : fs::path();
}

Result<Access> find_access(const SharedOptions& shared, std::string_view who) {
    const fs::path file = access_file_of(shared, who);
    if (file.empty() && shared.coordinator.empty()) {
        return make_error(ErrorCode::unavailable,
                          "no coordinator: there is no access file " +
                              (default_keys_folder(shared.db) / "access" / who).string() +
                              ".json; start one with `bitsweep serve --db " + shared.db.string() +
                              "`, or give --access FILE");
    }
    Access access;
    if (!file.empty()) {
        access = TRY(read_access(file));
    }
    if (!shared.coordinator.empty()) {
        access.coordinator = shared.coordinator;
    }
    return access;
}

Result<Client> Client::connect(const Access& access, Duration patience) {
    Client client(TRY(Dealer::connect(access)), access.coordinator);
    const Clock::time_point deadline = Clock::now() + std::chrono::milliseconds(patience.ms);
    for (;;) {
        const Link link = client.dealer_->link();
        if (link.state == LinkState::connected) {
            return client;
        }
        if (link.state == LinkState::rejected) {
            return make_error(ErrorCode::refused,
                              client.dealer_->last_failure() +
                                  "; `bitsweep keys new NAME --role submit` there makes an access "
                                  "file");
        }
        if (Clock::now() >= deadline) {
            return make_error(ErrorCode::unavailable,
                              "no coordinator answers at " + access.coordinator +
                                  "; start one with `bitsweep serve`, or give --coordinator URL");
        }
        (void)client.dealer_->receive(glance);
    }
}

Result<Client> Client::attach(const SharedOptions& shared, Duration patience) {
    Client client = TRY(connect(TRY(find_access(shared, "client")), patience));
    client.access_file_ = address_file_of(shared, "client");
    return client;
}

Result<Message> Client::ask(const Message& question, Duration patience) {
    Result<Message> answer = ask_there(question, patience);
    if (!answer && answer.error().code == ErrorCode::unavailable) {
        look_for_another_address();  // the next question goes there
    }
    return answer;
}

void Client::look_for_another_address() {
    if (access_file_.empty()) {
        return;
    }
    const Result<Access> access = read_access(access_file_);
    if (!access || access->coordinator == where_) {
        return;
    }
    if (Result<std::unique_ptr<Dealer>> dealer = Dealer::connect(*access)) {
        dealer_ = std::move(*dealer);
        where_ = access->coordinator;
    }
}

Result<Message> Client::ask_there(const Message& question, Duration patience) {
    TRY(dealer_->send(question));
    const Clock::time_point deadline = Clock::now() + std::chrono::milliseconds(patience.ms);
    do {
        std::optional<Message> answer = TRY(dealer_->receive({100}));
        if (answer) {
            if (const auto* refusal = std::get_if<Refusal>(&*answer)) {
                return make_error(refusal->code, "the coordinator refused: " + refusal->reason);
            }
            return std::move(*answer);
        }
        const std::string failure = dealer_->last_failure();
        if (!failure.empty()) {
            return make_error(ErrorCode::unavailable, failure);
        }
    } while (Clock::now() < deadline);
    return make_error(ErrorCode::unavailable, "the coordinator at " + where_ + " gave no answer");
}

Result<Submitted> Client::submit(Submit whole, Duration patience) {
    // Every piece is the whole but for what is too long to be sent with each.
    std::vector<Cell> cells = std::move(whole.cells);
    const std::string yaml = std::move(whole.yaml);
    Message message = std::move(whole);
    auto& piece = std::get<Submit>(message);
    for (std::size_t first = 0;; ++piece.piece) {
        const std::size_t end = first + cells_of_a_message(std::span(cells).subspan(first));
        const auto at = [&](std::size_t i) {
            return std::make_move_iterator(cells.begin() + static_cast<std::ptrdiff_t>(i));
        };
        piece.cells.assign(at(first), at(end));
        piece.continues = end < cells.size();
        piece.yaml = piece.continues ? "" : yaml;
        const Submitted answer = TRY(ask_for<Submitted>(message, patience));
        if (!piece.continues) {
            return answer;
        }
        first = end;
    }
}

}  // namespace bitsweep
