// A fixed summary as text and as a page. BITSWEEP_REWRITE_GOLDEN=1 writes the files anew: look at
// the difference before committing it.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>

#include "results/analysis/answer.h"
#include "results/analysis/summary.h"
#include "results/analysis/text_width.h"

namespace bitsweep {
namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

SummaryRow make_row(const std::string& model, const std::string& method, double rate,
                    double speedup, double half, double mib, double ratio) {
    SummaryRow row;
    row.model = model;
    row.method = method;
    row.device = "cpu";
    row.repeats = row.pairs = 3;
    row.decode_tokens_per_s = rate;
    row.decode_low = rate * 0.98;
    row.decode_high = rate * 1.02;
    row.speedup = speedup;
    row.speedup_low = speedup - half;
    row.speedup_high = speedup + half;
    row.baseline = "fp16";
    row.is_baseline = method == "fp16";
    row.weights_mib = mib;
    row.weights_ratio = ratio;
    row.perplexity = 33.17701;
    row.kl_mean = 1.234e-5;
    row.top1 = 0.9987;
    row.text = "identical";
    return row;
}

Summary fixed() {
    Summary summary;
    summary.experiment = "golden";
    summary.question = "At which bit width should these models run on this CPU, & is <8> enough?";
    summary.rows = {make_row("llama-nano", "fp16", 5123.4, 1, 0, 1.5, 1),
                    make_row("llama-nano", "int8", 6200, 1.01, 0.03, 0.94, 0.6265),
                    make_row("smollm2-135m", "fp16", 62.5, 1, 0, 256.58, 1),
                    make_row("smollm2-135m", "int8", 101.2, 1.62, 0.04, 155.3, 0.6053),
                    make_row("smollm2-135m", "llmint8-bnb T=6", 40.1, 0.641, 0.02, 155.3, 0.6053),
                    make_row("smollm2-135m", "nf4", 90, 1.44, 0.5, 112.9, 0.44)};
    summary.rows[4].rounds_activations = true;
    summary.rows[4].text = "diverges at token 7";
    SummaryRow& last = summary.rows[5];
    last.perplexity = last.kl_mean = last.top1 = nan_value;
    last.text = "";
    summary.notes = {"*: activations are rounded to 8 bits as well, not only weights"};
    summary.failures = {"llama-nano nf4 repeat 1: timeout: no progress for 600 s \x1b[31m"};
    summary.answer = answer_of(summary);
    return summary;
}

// The reviewed file; with BITSWEEP_REWRITE_GOLDEN, first made equal to `actual`.
std::string golden(const std::string& name, const std::string& actual) {
    const std::string file = BITSWEEP_SOURCE_DIR "/tests/analysis/golden/" + name;
    if (std::getenv("BITSWEEP_REWRITE_GOLDEN") != nullptr) {
        std::ofstream(file, std::ios::binary) << actual;
    }
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(Golden, theTextOfAFixedSummaryStaysAsReviewed) {
    const std::string wide = to_text(fixed(), 160, false);
    EXPECT_EQ(wide, golden("summary_wide.txt", wide));
    const std::string narrow = to_text(fixed(), 80, false);
    EXPECT_EQ(narrow, golden("summary_narrow.txt", narrow));
}

TEST(Golden, thePageOfAFixedSummaryStaysAsReviewed) {
    const std::string page = to_html(fixed());
    EXPECT_EQ(page, golden("summary.html", page));
}

TEST(Text, keepsWithinTheWidthAndHoldsEveryRow) {
    for (const int width : {80, 100, 160}) {
        const std::string text = to_text(fixed(), width, false);
        std::size_t start = 0;
        while (start < text.size()) {
            const std::size_t end = text.find('\n', start);
            EXPECT_LE(display_width(text.substr(start, end - start)), width);
            start = end + 1;
        }
        for (const char* word : {"llmint8-bnb T=6 *", "diverges at token 7", "155.30", "0.605",
                                 "33.177", "1.2e-05", "99.87"}) {
            EXPECT_NE(text.find(word), std::string::npos) << word << " at width " << width;
        }
    }
}

TEST(Text, hasEscapesOnlyWhenColoursAreWanted) {
    EXPECT_EQ(to_text(fixed(), 100, false).find('\x1b'), std::string::npos);
    EXPECT_NE(to_text(fixed(), 100, true).find("\x1b[32m"), std::string::npos);
    EXPECT_EQ(to_text(fixed(), 100, true).find("\x1b[31m\n"), std::string::npos);
}

TEST(Html, isOneFileWithoutScriptOrNetworkAndEscapesWhatItShows) {
    const std::string html = to_html(fixed());
    for (const char* banned :
         {"<script", "http://", "https://", "src=", "<link", "@import", "url("}) {
        EXPECT_EQ(html.find(banned), std::string::npos) << banned;
    }
    EXPECT_NE(html.find("&amp; is &lt;8&gt; enough?"), std::string::npos);
    EXPECT_NE(html.find("prefers-color-scheme: dark"), std::string::npos);
}

}  // namespace
}  // namespace bitsweep
