//! Why TLS did not come about, in words that name the option to change. Pure.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

use crate::tls::Identity;

/// Puts words to an error of TLS, and to a lost connection where a missing certificate explains it. Others stay as they
/// are.
pub(crate) fn explain(error: io::Error, identity: &Identity) -> io::Error {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).cloned();
    let words = match &cause {
        Some(Error::InvalidCertificate(why)) => certificate(why),
        Some(Error::AlertReceived(alert)) => refused(*alert, identity),
        Some(Error::InvalidMessage(_)) => "the target does not answer in TLS".to_owned(),
        Some(other) => format!("the TLS handshake failed: {other}"),
        None if identity.is_missed() => format!("{WANTS_CERTIFICATE} (it hung up)"),
        None => return error,
    };
    io::Error::other(Explained { words, cause })
}

/// An error that needs no other explanation than `words`.
pub(crate) fn saying(words: &str) -> io::Error {
    io::Error::other(Explained { words: words.to_owned(), cause: None })
}

/// The words, if the error was explained here.
pub(crate) fn explained(error: &io::Error) -> Option<&str> {
    of(error).map(|explained| explained.words.as_str())
}

/// Whether the other side spoke TLS before it failed.
pub(crate) fn speaks_tls(error: &io::Error) -> bool {
    matches!(
        of(error).and_then(|explained| explained.cause.as_ref()),
        Some(Error::InvalidCertificate(_) | Error::AlertReceived(_) | Error::PeerIncompatible(_))
    )
}

fn of(error: &io::Error) -> Option<&Explained> {
    error.get_ref()?.downcast_ref()
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "the target's certificate is signed by no CA that is trusted here; name its CA with --tls-ca"
                .to_owned()
        }
        // What is left when a CA was made anew under its old name.
        CertificateError::BadSignature => {
            "the target's certificate is signed by another CA of the same name as the one that is trusted here; name \
             its own with --tls-ca"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the target's certificate is for another name ({why}); say which with --tls-server-name")
        }
        // What `openssl req -x509` makes by default: good for --tls-ca, and not for a server.
        why if format!("{why:?}").contains("CaUsedAsEndEntity") => {
            "the target presents a CA's certificate as its own; give it one that the CA has signed".to_owned()
        }
        why => format!("the target's certificate is no good: {why}"),
    }
}

fn refused(alert: AlertDescription, identity: &Identity) -> String {
    match alert {
        AlertDescription::NoApplicationProtocol => {
            "the target speaks TLS, but not HTTP/2 (h2 by ALPN), which gRPC needs".to_owned()
        }
        AlertDescription::UnrecognisedName => {
            "the target does not know the name it is asked for; say another with --tls-server-name".to_owned()
        }
        AlertDescription::ProtocolVersion => "the target speaks no TLS 1.2 or newer".to_owned(),
        alert if identity.is_missed() => format!("{WANTS_CERTIFICATE} (alert {alert:?})"),
        alert if identity.is_given() => {
            format!("the target refused the handshake (alert {alert:?}); does it know the CA of --tls-cert?")
        }
        alert => format!("the target refused the handshake (alert {alert:?})"),
    }
}

const WANTS_CERTIFICATE: &str =
    "the target asks for a client certificate; name one with --tls-cert and --tls-key";

/// An error with better words, and what they were made from.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct Explained {
    words: String,
    cause: Option<Error>,
}
