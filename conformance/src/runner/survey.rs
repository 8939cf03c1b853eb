//! Looks at the target before it is judged: which dialect answers, which model, how fast, and whether its OKs mean
//! anything. States facts; every judgement is a check's.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{Connection, End, diagnose};

use super::{
    asked::{Asked, PROMPTS},
    names::ask,
};
use crate::{
    events::Survey,
    probe::{Endpoint, Generation, Probe, Reflection, StreamItem, shortened},
};

/// Tokens: long enough to tell a talkative prompt from a silent one.
const SAMPLE: i64 = 32;
/// A target that did not answer Health in that time gets this much more, for a generation.
const SECOND_PATIENCE: Duration = Duration::from_secs(4);
/// A target that has said nothing at all by then gets this much per answer.
const SILENT_PATIENCE: Duration = Duration::from_secs(2);
/// The least patience for a target that speaks.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);

/// The longest time that one generation of the survey is read; a slower target's speed follows from what came by then.
const LONGEST_TALK: Duration = Duration::from_secs(10);
/// A target that sends so many chunks for a bound of two tokens pays no heed to it.
const BOUND: i64 = 2;
const UNBOUNDED: usize = 6;
const LONGEST_LOOK: Duration = Duration::from_secs(25);
/// Generations at a time by which the target's capacity is measured, and their bound.
const WIDEST: usize = 8;
/// So many times as long as alone they may take: waiting for each other costs less than running one after the other.
const SLOWER: f64 = 2.0;
const WIDTH_SAMPLE: i64 = 8;
/// Together in less than this, they do not disturb other requests.
const QUICK: Duration = Duration::from_millis(100);
/// Metrics and characters of each that are kept: a report must not grow with what a target says.
const MOST_METRICS: usize = 64;
const LONGEST_METRIC: usize = 200;

/// The target could not be reached at all.
#[derive(Debug, thiserror::Error)]
#[error("no connection to {address}: {why}")]
pub struct Unreachable {
    address: String,
    why: String,
    /// Whether the words say what to do about it.
    pub explained: bool,
}

/// What the survey needs to know.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// The endpoint, ready for checks.
    pub endpoint: Endpoint,
    /// The facts, for reports.
    pub facts: Survey,
    /// The models that it lists; not asked where one was wished for.
    pub listed: Vec<String>,
    /// How long a generation of 32 tokens takes here.
    pub generation: Duration,
    /// Generations that the target runs at a time without slowing down, as far as it was looked at.
    pub width: usize,
    /// Generations go on past their bound and have no end.
    pub endless: bool,
}

impl Surveyed {
    /// Turns from the first of several models to the endpoint's own, if it serves a request that names none: of servers
    /// that list the same models, that may be all the difference.
    pub async fn prefer_default(&mut self) {
        if self.listed.len() < 2 {
            return;
        }
        let unnamed = Endpoint { model: String::new(), ..self.endpoint.clone() };
        let probe = Probe::new(Arc::new(unnamed.clone()), 0);
        let answer = probe.predict_within(probe.request(1), LONGEST_TALK).await;
        if answer.is_ok_and(|answer| answer.end.is_ok() && !answer.responses.is_empty()) {
            self.facts.model.clear();
            self.endpoint = unnamed;
        }
    }
}

impl Surveyed {
    /// Measures how many generations the target runs beside each other, by the time that some of them take together.
    pub async fn measure_width(&mut self) {
        if self.facts.silent || self.endless || self.facts.ttft_ms.is_none() {
            return;
        }
        let Some((1, alone)) = together(&self.endpoint, 1).await else { return };
        let Some((served, all)) = together(&self.endpoint, WIDEST).await else { return };
        let at_a_time = if all < QUICK {
            WIDEST
        } else {
            (WIDEST as f64 * SLOWER * alone.as_secs_f64() / all.as_secs_f64()).round() as usize
        };
        self.width = at_a_time.min(served).clamp(1, WIDEST);
    }
}

/// Starts so many equal generations at once, each on a connection of its own. How many were served, and in what time all.
async fn together(endpoint: &Endpoint, count: usize) -> Option<(usize, Duration)> {
    let endpoint = Arc::new(endpoint.clone());
    let mut running = tokio::task::JoinSet::new();
    let began = Instant::now();
    for number in 0..count {
        let endpoint = Arc::clone(&endpoint);
        running.spawn(async move {
            let probe = Probe::new(endpoint, number as u64);
            let request = probe.request(WIDTH_SAMPLE);
            let mut stream = probe.stream().await.ok()?;
            stream.send(&request);
            stream.half_close();
            let generation = stream.finish_within(request, LONGEST_TALK).await;
            generation.end.is_ok().then_some(())
        });
    }
    let served = running.join_all().await.into_iter().flatten().count();
    (served > 0).then(|| (served, began.elapsed()))
}

/// Looks at a target.
pub async fn survey(asked: Asked<'_>) -> Result<Surveyed, Unreachable> {
    let Asked { addresses, tls, documented, patience, .. } = asked;
    for address in addresses {
        if let Err(error) = Connection::open(address, tls, asked.first_patience()).await {
            let diagnosis = diagnose(address, tls).await;
            return Err(Unreachable {
                address: address.to_string(),
                explained: diagnosis.is_some(),
                why: diagnosis.unwrap_or_else(|| error.to_string()),
            });
        }
    }
    let mut endpoint = asked.endpoint();
    let mut facts = Survey::default();
    let (mut heard, mut lost, mut listed) = (false, 0, Vec::new());

    let names = Box::pin(ask(&endpoint)).await;
    for (name, health) in names.each() {
        heard |= !matches!(health.end, End::TimedOut(_));
        lost += usize::from(matches!(health.end, End::Closed(_)));
        if let Ok(answer) = health.ok() {
            facts.services.push(name.service().to_owned());
            let kept = answer.metrics.iter().take(MOST_METRICS);
            let short = |text: &String| shortened(text.clone(), LONGEST_METRIC);
            facts.metrics = kept.map(|(key, value)| (short(key), short(value))).collect();
        }
    }
    // No address answers, and every connection is closed: perhaps the two sides do not speak the same transport.
    if lost == 2
        && let Some(first) = addresses.first()
        && let Some(why) = diagnose(first, tls).await
    {
        return Err(Unreachable { address: first.to_string(), why, explained: true });
    }
    if asked.dialect.is_none()
        && let Some(there) = names.there(documented)
    {
        endpoint.dialect = there;
    }
    facts.warnings.extend(names.warning(endpoint.dialect));

    let probe = Probe::new(Arc::new(endpoint.clone()), 0);
    if heard {
        facts.warnings.extend(honesty(&probe).await);
        facts.reflection = match Box::pin(probe.reflect(endpoint.dialect.service())).await {
            Ok(Reflection::Served(reflected)) => Some(reflected.by.to_owned()),
            _ => None,
        };
        if asked.model.is_none() {
            listed = listed_models(&probe).await.unwrap_or_default();
        }
        if let Some(first) = listed.first() {
            endpoint.model.clone_from(first);
            if !takes_model(&endpoint).await {
                endpoint.model.clear(); // what is listed and not served is CONTROL-004's matter
            }
        }
        endpoint.patience = patience;
    }
    if !heard {
        endpoint.patience = SECOND_PATIENCE.min(patience);
    }
    let talked = Box::pin(talk(&mut endpoint, &mut facts, heard)).await;
    heard |= facts.ttft_ms.is_some();
    facts.silent = !heard;
    endpoint.patience = if heard {
        // Generous, and relative to what this target needed for a short generation.
        (talked.slowest * 20).clamp(LEAST_PATIENCE.min(patience), patience)
    } else {
        SILENT_PATIENCE.min(patience)
    };
    facts.dialect = endpoint.dialect.to_string();
    facts.model.clone_from(&endpoint.model);
    facts.prompts.clone_from(&endpoint.prompts);
    Ok(Surveyed { endpoint, facts, listed, generation: talked.slowest, width: 1, endless: talked.endless })
}

/// The honesty probe: a target that answers what does not exist is told so before anything else is believed.
async fn honesty(probe: &Probe) -> Option<String> {
    let path = format!("/{}.NoSuchService/NoSuchMethod", probe.dialect().service());
    let answer = probe.raw(&path, &[], "an empty message").await.ok()?;
    answer
        .end
        .is_ok()
        .then(|| format!("the target answers OK to {path}, which does not exist: its other OKs mean little"))
}

/// Whether the endpoint takes its model. Only a clear NOT_FOUND says no.
async fn takes_model(endpoint: &Endpoint) -> bool {
    let probe = Probe::new(Arc::new(endpoint.clone()), 0);
    let generation = probe.predict_within(probe.request(1), LONGEST_TALK).await;
    !generation.is_ok_and(|g| g.end.code() == Some(tonic::Code::NotFound))
}

pub(super) async fn listed_models(probe: &Probe) -> Option<Vec<String>> {
    let answer = probe.control("conformance-survey", "list_models", &[]).await.ok()?;
    let models = answer.ok().ok()?.payload.get("models")?;
    let named = models.split(',').map(str::trim).filter(|model| (1..=LONGEST_METRIC).contains(&model.len()));
    Some(named.take(MOST_METRICS).map(str::to_owned).collect())
}

/// What letting the target talk has shown.
#[derive(Default)]
struct Talked {
    /// The longest time that one generation takes.
    slowest: Duration,
    /// Generations go on past their bound.
    endless: bool,
}

/// Lets the target talk on each prompt until one gives a full sample; sorts the prompts by what they gave.
async fn talk(endpoint: &mut Endpoint, facts: &mut Survey, heard: bool) -> Talked {
    let mut talked = Talked::default();
    let mut given: Vec<(usize, String)> = Vec::new();
    for prompt in PROMPTS {
        let probe = Probe::new(Arc::new(endpoint.clone()), 0);
        let mut request = probe.request(SAMPLE);
        prompt.clone_into(&mut request.prompt);
        let Ok(generation) = probe.predict_within(request, LONGEST_TALK).await else { break };
        let text = generation.text().chars().count();
        given.push((text, prompt.to_owned()));
        if let Some(pace) = Pace::of(&generation) {
            talked.slowest = talked.slowest.max(pace.whole);
            facts.ttft_ms.get_or_insert(pace.ttft_ms);
            facts.chunks_per_second.get_or_insert(pace.chunks_per_second);
            if matches!(generation.end, End::TimedOut(_)) {
                talked.endless = unbounded(endpoint, &pace).await;
                if talked.endless {
                    let warning =
                        format!("a generation of {BOUND} tokens had no end after {UNBOUNDED} chunks");
                    facts.warnings.push(warning);
                }
                break; // so slow that other prompts would cost too much
            }
        }
        let enough = usize::try_from(SAMPLE).unwrap_or_default() * 2;
        if text >= enough || (given.len() > 1 && facts.ttft_ms.is_none()) || !heard {
            break;
        }
    }
    given.sort_by_key(|(text, _)| std::cmp::Reverse(*text));
    let tried: Vec<String> = given.into_iter().map(|(_, prompt)| prompt).collect();
    let rest = endpoint.prompts.iter().filter(|p| !tried.contains(p)).cloned();
    endpoint.prompts = tried.iter().cloned().chain(rest).collect();
    talked
}

/// Whether a slow target goes on where a smaller bound should have ended it.
async fn unbounded(endpoint: &Endpoint, pace: &Pace) -> bool {
    let probe = Probe::new(Arc::new(endpoint.clone()), 0);
    let chunk = Duration::from_secs_f64(1.0 / pace.chunks_per_second.max(0.1));
    let first = Duration::from_secs_f64(pace.ttft_ms / 1e3);
    let most = (chunk * 8 + first * 2 + LEAST_PATIENCE).min(LONGEST_LOOK);
    let began = Instant::now();
    let Ok(mut stream) = probe.stream().await else { return false };
    stream.send(&probe.request(BOUND));
    stream.half_close();
    for _ in 0..UNBOUNDED {
        match stream.next_within(most.saturating_sub(began.elapsed())).await {
            StreamItem::Response(_) => {}
            StreamItem::Undecodable(_) | StreamItem::End(_) => return false,
        }
    }
    true
}

struct Pace {
    ttft_ms: f64,
    chunks_per_second: f64,
    whole: Duration,
}

impl Pace {
    fn of(generation: &Generation) -> Option<Self> {
        let mut texts = generation.text_bearing();
        let first = texts.next()?.at;
        let last = generation.responses.last()?.at;
        let more = texts.count() as f64;
        let chunks_per_second = more / (last.saturating_sub(first)).as_secs_f64().max(1e-6);
        // What was cut short would have taken as long as its tokens need at this pace.
        let whole = match generation.end {
            End::TimedOut(waited) if more < 1.0 => waited.max(last) * 4,
            End::TimedOut(_) => {
                first + Duration::from_secs_f64((SAMPLE as f64 / chunks_per_second).min(3600.0))
            }
            _ => last,
        };
        Some(Self { ttft_ms: first.as_secs_f64() * 1e3, chunks_per_second, whole })
    }
}
