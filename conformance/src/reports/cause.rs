//! One cause behind many failures, found in their reasons. Pure.

use crate::events::{CheckResult, Verdict};

/// Fewer failures with the same words are no common cause.
const MANY: usize = 3;

/// What most failures have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    /// How many failures it explains, and of how many.
    pub(super) explained: usize,
    pub(super) of: usize,
    /// The cause, as a sentence that ends.
    pub(super) english: &'static str,
    pub(super) chinese: &'static str,
}

/// What calls ended with, as the suite's reasons say it, and the words for it in English and in Chinese.
const CAUSES: [(&str, &str, &str); 8] = [
    (
        "was answered UNAUTHENTICATED",
        "calls were answered UNAUTHENTICATED; is the token right, and still valid?",
        "调用得到 UNAUTHENTICATED；令牌是否正确，是否仍然有效？",
    ),
    (
        "was answered PERMISSION_DENIED",
        "calls were answered PERMISSION_DENIED; may the token do what is asked?",
        "调用得到 PERMISSION_DENIED；令牌是否有权执行所要求的操作？",
    ),
    (
        "was answered UNAVAILABLE",
        "calls were answered UNAVAILABLE; is the worker behind the target up?",
        "调用得到 UNAVAILABLE；目标后面的工作进程是否在运行？",
    ),
    (
        "was answered RESOURCE_EXHAUSTED",
        "calls were answered RESOURCE_EXHAUSTED; is the target busy with others' work?",
        "调用得到 RESOURCE_EXHAUSTED；目标是否正忙于处理其他请求？",
    ),
    (
        "was answered UNIMPLEMENTED",
        "calls were answered UNIMPLEMENTED; is this the service, under this name?",
        "调用得到 UNIMPLEMENTED；这是否就是该服务，名称是否正确？",
    ),
    (
        "no connection to",
        "no connection could be made; is the target still running?",
        "无法建立连接；目标是否仍在运行？",
    ),
    (
        "lost its connection",
        "connections were lost; did the target end, or something between?",
        "连接中断；目标或中间环节是否已经退出？",
    ),
    (
        "got no answer within",
        "calls got no answer; is the target busy, or does it hang?",
        "调用没有得到回答；目标是忙，还是已经挂起？",
    ),
];

/// The cause of most failures.
pub(super) fn common_cause(results: &[CheckResult]) -> Option<Cause> {
    let failed: Vec<_> = results.iter().filter(|r| r.verdict == Verdict::Fail && !r.known).collect();
    let explained = |words: &str| failed.iter().filter(|r| r.reason.contains(words)).count();
    let causes = CAUSES.iter().map(|(words, english, chinese)| Cause {
        explained: explained(words),
        of: failed.len(),
        english,
        chinese,
    });
    let cause = causes.max_by_key(|cause| cause.explained)?;
    (cause.explained >= MANY && cause.explained * 2 > failed.len()).then_some(cause)
}
