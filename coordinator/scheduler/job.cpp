#include "coordinator/scheduler/job.h"

#include <utility>

namespace bitsweep::scheduler {

namespace {

bool tells_nothing(const Job::Story& story) {
    const bool quiet =
        std::holds_alternative<Waiting>(story.state) || std::holds_alternative<Done>(story.state);
    return quiet && story.crashes == 0 && story.failures == 0 &&
           story.last_outcome == OutcomeClass::done && story.last_message.empty() &&
           story.kinds_tried.empty() && story.outgrew_bytes == 0 && story.windows_again == 0 &&
           story.refused_by.empty() && story.sentinel == nullptr;
}

}  // namespace

const Owners& Job::experiments() const {
    static const Owners nobody;
    return owners_ == nullptr ? nobody : *owners_;
}

const Job::Story& Job::story() const {
    static const Story nothing;
    return story_ ? *story_ : nothing;
}

const JobState& Job::state() const {
    static const JobState waiting = Waiting{};
    static const JobState done = Done{};
    return story_ ? story_->state : done_ ? done : waiting;
}

JobLife Job::life() const {
    if (story_) {
        return *story_;
    }
    JobLife life;
    life.state = state();
    life.attempt = attempt_;
    life.shown = shown_;
    return life;
}

JobRecord Job::record() const {
    JobRecord record;
    static_cast<JobLife&>(record) = life();
    record.key = key();
    record.sentinel = story().sentinel;
    return record;
}

JobRecord Job::with_cell() const {
    JobRecord all = record();
    all.cell = std::make_shared<const Cell>(cell_.unpack());
    return all;
}

Job::Story& Job::open() {
    if (!story_) {
        auto story = std::make_unique<Story>();
        static_cast<JobLife&>(*story) = life();
        story_ = std::move(story);
    }
    return *story_;
}

void Job::close() {
    if (story_ && tells_nothing(*story_)) {
        attempt_ = story_->attempt;
        shown_ = story_->shown;
        done_ = std::holds_alternative<Done>(story_->state);
        story_.reset();
    }
}

}  // namespace bitsweep::scheduler
