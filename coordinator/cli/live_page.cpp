#include "coordinator/cli/live_page.h"

#include <httplib.h>

#include <chrono>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "coordinator/cli/client.h"
#include "coordinator/cli/live_results.h"
#include "coordinator/cli/page/embedded_page.h"
#include "results/analysis/report.h"
#include "results/store/store.h"
#include "schemas/codec.h"

namespace bitsweep {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* host = "127.0.0.1";
constexpr Duration answer_time{2'000};
// However many pages are open, the coordinator is asked this often.
constexpr std::chrono::milliseconds freshness{900};
constexpr std::size_t threads = 3;  // a slow view must not keep the progress waiting
constexpr std::size_t most_request_bytes = 16'384;

// One question at a time to the coordinator, and its last answer.
class Source {
 public:
    Source(Access access, std::filesystem::path file)
        : access_(std::move(access)), access_file_(std::move(file)) {}

    Result<StatusReply> status() {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!reply_ || Clock::now() > asked_ + freshness) {
            reply_ = ask();
            asked_ = Clock::now();
        }
        return *reply_;
    }

 private:
    Result<StatusReply> ask() {
        if (!client_) {
            const Result<Access> now =
                access_file_.empty() ? Result<Access>(access_) : read_access(access_file_);
            access_ = now ? *now : access_;
            client_.emplace(TRY(Client::connect(access_)));
        }
        Result<StatusReply> reply = client_->ask_for<StatusReply>(StatusRequest{}, answer_time);
        if (!reply) {
            client_.reset();  // a late answer must not be taken for the next one
        }
        return reply;
    }

    Access access_;
    std::filesystem::path access_file_;
    std::mutex mutex_;
    std::optional<Client> client_;
    std::optional<Result<StatusReply>> reply_;
    Clock::time_point asked_;
};

// A page of another site that points its own name at 127.0.0.1 would read us with its own Host.
bool is_local(const httplib::Request& request) {
    const std::string given = request.get_header_value("Host");
    const std::string name = given.substr(0, given.rfind(':'));
    return name == host || name == "localhost";
}

class HttpPage final : public LivePage {
 public:
    explicit HttpPage(const LivePageOptions& options)
        : source_(options.access, options.access_file), db_(options.db), results_(options.db) {
        server_.new_task_queue = [] { return new httplib::ThreadPool(threads); };
        server_.set_payload_max_length(most_request_bytes);
        server_.set_read_timeout(std::chrono::seconds(5));
        server_.set_write_timeout(std::chrono::seconds(5));
        server_.set_keep_alive_max_count(100);
        server_.set_keep_alive_timeout(2);
        server_.set_default_headers(
            {{"Content-Security-Policy",
              "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
              "connect-src 'self'; img-src data:; frame-ancestors 'none'"},
             {"X-Content-Type-Options", "nosniff"},
             {"Referrer-Policy", "no-referrer"},
             {"Cache-Control", "no-store"}});
        server_.set_pre_routing_handler([](const auto& request, auto& response) {
            if (is_local(request) && (request.method == "GET" || request.method == "HEAD")) {
                return httplib::Server::HandlerResponse::Unhandled;
            }
            response.status = 403;
            response.set_content("only GET, and only as 127.0.0.1 or localhost\n", "text/plain");
            return httplib::Server::HandlerResponse::Handled;
        });
        give("/", embedded::dashboard_html, "text/html; charset=utf-8");
        give("/draw.js", embedded::draw_js, "text/javascript");
        give("/dashboard.js", embedded::dashboard_js, "text/javascript");
        give("/views.js", embedded::views_js, "text/javascript");
        give("/dashboard.css", embedded::dashboard_css, "text/css");
        server_.Get("/status.json", [this](const auto&, auto& response) { status(response); });
        server_.Get("/metrics", [this](const auto&, auto& response) {
            response.set_content(to_prometheus(source_.status()), "text/plain; version=0.0.4");
        });
        server_.Get("/results.json",
                    [this](const auto& request, auto& response) { results(request, response); });
        server_.Get("/windows.json", [this](const auto&, auto& response) {
            answer(results_.windows(), "application/json", response);
        });
        server_.Get("/views.json", [this](const auto&, auto& response) {
            answer(results_.views(), "application/json", response);
        });
        server_.Get("/view.json",
                    [this](const auto& request, auto& response) { view(request, response); });
        // Browsers ask for it by themselves; a 404 would be a line on their console.
        server_.Get("/favicon.ico", [](const auto&, auto& response) { response.status = 204; });
        server_.Get("/report",
                    [this](const auto& request, auto& response) { report(request, response); });
    }

    ~HttpPage() override {
        server_.stop();
        if (thread_.joinable()) {
            thread_.join();
        }
    }

    Status listen(int port) {
        // The library shares a port in use by default (SO_REUSEPORT); two pages on one port would
        // answer in turns.
        server_.set_socket_options([](auto socket) {
            const int yes = 1;
            setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        });
        const bool bound = port == 0 ? (port_ = server_.bind_to_any_port(host)) > 0
                                     : server_.bind_to_port(host, port);
        if (!bound) {
            return make_error(ErrorCode::already_exists,
                              "port " + std::to_string(port) +
                                  " of 127.0.0.1 is in use; choose another one, 0 takes any");
        }
        port_ = port == 0 ? port_ : port;
        thread_ = std::thread([this] { server_.listen_after_bind(); });
        return {};
    }

    std::string url() const override {
        return "http://" + std::string(host) + ":" + std::to_string(port_) + "/";
    }

 private:
    void give(const char* path, std::string_view text, const char* type) {
        server_.Get(path, [text, type](const auto&, auto& response) {
            response.set_content(text.data(), text.size(), type);
        });
    }

    void status(httplib::Response& response) {
        const Result<StatusReply> reply = source_.status();
        const std::string json =
            reply ? to_json(Message(*reply))
                  : nlohmann::json{{"error", reply.error().message}}.dump(
                        -1, ' ', false, nlohmann::json::error_handler_t::replace);
        response.set_content(json, "application/json");
    }

    void results(const httplib::Request& request, httplib::Response& response) {
        answer(results_.experiment(request.get_param_value("experiment")), "application/json",
               response);
    }

    void view(const httplib::Request& request, httplib::Response& response) {
        answer(
            results_.view(request.get_param_value("name"), request.get_param_value("experiment")),
            "application/json", response);
    }

    void report(const httplib::Request& request, httplib::Response& response) {
        answer(report_of({request.get_param_value("experiment")}), "text/html; charset=utf-8",
               response);
    }

    static void answer(const Result<std::string>& text, const char* type,
                       httplib::Response& response) {
        if (text) {
            response.set_content(*text, type);
            return;
        }
        response.status = text.error().code == ErrorCode::not_found ? 404 : 503;
        response.set_content(text.error().message + "\n", "text/plain; charset=utf-8");
    }

    // The page that `bitsweep report` writes: the same estimates and intervals.
    Result<std::string> report_of(const ExperimentName& experiment) const {
        const auto store = TRY(Store::open(db_, OpenMode::read_only));
        return to_html(TRY(make_report(*store, experiment)));
    }

    httplib::Server server_;
    Source source_;
    std::filesystem::path db_;
    LiveResults results_;
    std::thread thread_;
    int port_ = 0;
};

}  // namespace

Result<std::unique_ptr<LivePage>> LivePage::start(const LivePageOptions& options) {
    auto page = std::make_unique<HttpPage>(options);
    TRY(page->listen(options.port));
    return std::unique_ptr<LivePage>(std::move(page));
}

}  // namespace bitsweep
