//! The conclusion in Chinese. Requirement ids, levels and option names stay as they are. Pure.

use super::{Case, Tally, named};

pub(super) fn sentence(case: Case, tally: &Tally<'_>) -> String {
    let must_hold = format!("{} 条 MUST 要求成立", tally.held);
    let cut_short = format!("运行中断：{} 项检查只完成 {} 项", tally.planned, tally.results);
    let main = match case {
        Case::BrokeOff => {
            let why = tally.broke_off.unwrap_or_default();
            let so_far = match tally.failed.len() {
                0 => String::new(),
                failed => format!(
                    "（此前 {} 条 MUST 要求中有 {failed} 条失败：{}）",
                    tally.asked_must,
                    list(&tally.failed)
                ),
            };
            format!("没有结论：目标在运行中途消失，其余未能判断：{why}{so_far}")
        }
        Case::MustFailed => {
            let so_far = if tally.cut_short { format!("({cut_short})") } else { String::new() };
            let (failed, judged, ids) = (tally.failed.len(), tally.judged, list(&tally.failed));
            let shared = tally.cause.map_or_else(String::new, |cause| {
                format!("{} 项失败中有 {} 项出于同一原因：{}", cause.of, cause.explained, cause.chinese)
            });
            format!("{shared}不符合：{judged} 条 MUST 要求中有 {failed} 条失败：{ids}{so_far}")
        }
        Case::CutShort => format!("没有结论：{cut_short}"),
        Case::SuiteBroke => {
            format!("没有结论：测试套件自身在 {} 项检查中出错：{}", tally.broken.len(), list(&tally.broken))
        }
        Case::StaleKnownFailure => format!("与清单不符：这些已知失败现在通过了：{}", list(&tally.stale)),
        Case::NotStrictly => format!("按 --strict 不符合：{}", strictly(tally).join("；")),
        Case::NoMustAsked => format!(
            "没有结论：没有检查任何 MUST 要求；其他要求 {} 条中有 {} 条成立",
            tally.results, tally.held_of_any_level
        ),
        Case::NothingHeld => "没有结论：没有观察到任何 MUST 要求成立".to_owned(),
        Case::PartlyUnseen => format!(
            "在可观察的范围内符合：{must_hold}，{} 条无法判定：{}",
            tally.unseen_must.len(),
            list(&tally.unseen_must)
        ),
        Case::ConformantButForKnown => {
            return format!("除{}外符合：{must_hold}", known(tally).join("和"));
        }
        Case::Conformant => format!("符合：全部 {} 条 MUST 要求成立", tally.held),
    };
    let mut parts = vec![main];
    if case == Case::MustFailed && !tally.broken.is_empty() {
        let (count, ids) = (tally.broken.len(), list(&tally.broken));
        parts.push(format!("测试套件自身在 {count} 项检查中出错：{ids}"));
    }
    if case == Case::MustFailed && !tally.stale.is_empty() {
        parts.push(format!("这些已知失败现在通过了：{}", list(&tally.stale)));
    }
    let known = known(tally);
    if !known.is_empty() {
        parts.push(format!("已容许：{}", known.join("和")));
    }
    parts.join("；")
}

fn strictly(tally: &Tally<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    if !tally.warned.is_empty() {
        parts.push(format!("{} 条 SHOULD 或 MAY 要求失败：{}", tally.warned.len(), list(&tally.warned)));
    }
    if !tally.unseen.is_empty() {
        parts.push(format!("{} 项检查无法判定：{}", tally.unseen.len(), list(&tally.unseen)));
    }
    parts
}

fn known(tally: &Tally<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    if !tally.known.is_empty() {
        parts.push(format!(" {} 项已知失败（{}）", tally.known.len(), list(&tally.known)));
    }
    if !tally.known_unseen.is_empty() {
        let (count, ids) = (tally.known_unseen.len(), list(&tally.known_unseen));
        parts.push(format!(" {count} 项已知无法判定（{ids}）"));
    }
    parts
}

fn list(ids: &[&str]) -> String {
    let (ids, more) = named(ids);
    let ids = ids.join("、");
    if more == 0 { ids } else { format!("{ids} 等（另有 {more} 项）") }
}
