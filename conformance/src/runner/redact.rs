//! Takes secrets out of every event before it is told. Pure.

use present::secrets::Redactor;

use crate::{
    events::{Event, Survey},
    evidence::Exchange,
};

/// The event without secrets.
pub(super) fn redacted(mut event: Event, redactor: &Redactor) -> Event {
    if redactor.is_empty() {
        return event;
    }
    let redact = |text: &mut String| *text = redactor.text(text);
    match &mut event {
        Event::Surveyed(survey) => redact_survey(survey, redactor),
        Event::CheckFinished(result) => {
            redact(&mut result.reason);
            redact(&mut result.grpcurl);
            redact(&mut result.rerun);
            result.evidence.iter_mut().for_each(|Exchange { what, .. }| redact(what));
        }
        Event::RunFinished(finished) => finished.broke_off.iter_mut().for_each(redact),
        Event::RunStarted(_) | Event::CheckStarted { .. } => {}
    }
    event
}

fn redact_survey(survey: &mut Survey, redactor: &Redactor) {
    let redact = |text: &mut String| *text = redactor.text(text);
    survey.metrics =
        survey.metrics.iter().map(|(key, value)| (redactor.text(key), redactor.text(value))).collect();
    redact(&mut survey.model);
    survey.warnings.iter_mut().for_each(redact);
}
