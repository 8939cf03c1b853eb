//! Under which of its two names the service answers. Only UNIMPLEMENTED says that a name is not there.

use std::sync::Arc;

use ai_inference_proto::{Dialect, HealthAnswer};
use tonic::Code;
use wire::End;

use crate::probe::{Endpoint, Probe, Unary};

/// How Health was answered under each name.
pub(super) struct Names {
    answers: [(Dialect, Unary<HealthAnswer>); 2],
}

/// Asks both names at once: a target that answers neither costs one patience, not two.
pub(super) async fn ask(endpoint: &Endpoint) -> Names {
    let (contract, deployed) =
        tokio::join!(health(endpoint, Dialect::Contract), health(endpoint, Dialect::CyLlm));
    Names { answers: [(Dialect::Contract, contract), (Dialect::CyLlm, deployed)] }
}

async fn health(endpoint: &Endpoint, dialect: Dialect) -> Unary<HealthAnswer> {
    let probe = Probe::new(Arc::new(Endpoint { dialect, ..endpoint.clone() }), 0);
    probe.health("conformance-survey").await.unwrap_or_else(|_| Unary {
        answer: None,
        end: End::Closed("no second connection could be made".to_owned()),
        took: std::time::Duration::ZERO,
        asked: "Health".to_owned(),
    })
}

impl Names {
    /// Each name's answer.
    pub(super) fn each(&self) -> impl Iterator<Item = (Dialect, &Unary<HealthAnswer>)> {
        self.answers.iter().map(|(dialect, answer)| (*dialect, answer))
    }

    /// How each call ended.
    pub(super) fn ends(&self) -> [&End; 2] {
        let [(_, first), (_, second)] = &self.answers;
        [&first.end, &second.end]
    }

    /// The target says that it has no service of this name.
    pub(super) fn is_unimplemented(&self, dialect: Dialect) -> bool {
        self.each().any(|(d, answer)| d == dialect && answer.end.code() == Some(Code::Unimplemented))
    }

    /// The name to use: one that answers OK, else one that answers anything of gRPC but UNIMPLEMENTED, else one that does
    /// not say UNIMPLEMENTED where the other one does. Of two, the documented one.
    pub(super) fn there(&self, documented: Dialect) -> Option<Dialect> {
        let [first, second] = self.ends();
        let ends = [(Dialect::Contract, first), (Dialect::CyLlm, second)];
        choose(documented, ends)
    }

    /// What a reader must know of the chosen name, where its Health did not answer OK.
    pub(super) fn warning(&self, chosen: Dialect) -> Option<String> {
        let (_, answer) = self.each().find(|(dialect, _)| *dialect == chosen)?;
        let status = answer.end.code()?;
        (!matches!(status, Code::Ok | Code::Unimplemented)).then(|| {
            format!(
                "Health of {} was answered {}: the name is there, and the checks use it",
                chosen.service(),
                answer.end
            )
        })
    }
}

fn choose(documented: Dialect, ends: [(Dialect, &End); 2]) -> Option<Dialect> {
    let in_order = || {
        let documented_first = ends.iter().filter(move |(dialect, _)| *dialect == documented);
        documented_first.chain(ends.iter().filter(move |(dialect, _)| *dialect != documented))
    };
    let unimplemented = |end: &End| end.code() == Some(Code::Unimplemented);
    let one_is_not_there = ends.iter().any(|(_, end)| unimplemented(end));
    let ok = in_order().find(|(_, end)| end.is_ok());
    let status = || in_order().find(|(_, end)| end.code().is_some() && !unimplemented(end));
    let other = || in_order().find(|(_, end)| one_is_not_there && !unimplemented(end));
    ok.or_else(status).or_else(other).map(|(dialect, _)| *dialect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: Code) -> End {
        End::Status(wire::Status { code, message: String::new(), metadata: Vec::new() })
    }

    #[test]
    fn only_unimplemented_means_that_a_name_is_not_there() {
        let (ok, none, unknown) = (status(Code::Ok), status(Code::Unimplemented), status(Code::Unknown));
        let late = End::TimedOut(std::time::Duration::from_secs(8));
        for (contract, deployed, chosen) in [
            (&ok, &none, Some(Dialect::Contract)),
            (&none, &ok, Some(Dialect::CyLlm)),
            (&ok, &ok, Some(Dialect::Contract)),
            (&none, &unknown, Some(Dialect::CyLlm)),
            (&unknown, &none, Some(Dialect::Contract)),
            (&unknown, &ok, Some(Dialect::CyLlm)),
            (&none, &late, Some(Dialect::CyLlm)),
            (&none, &none, None),
            (&late, &late, None),
        ] {
            let ends = [(Dialect::Contract, contract), (Dialect::CyLlm, deployed)];
            assert_eq!(choose(Dialect::Contract, ends), chosen, "{contract} {deployed}");
        }
    }
}
