//! The language of the words around a run's results. Pure.
//!
//! Requirement pages, reasons and machine-readable reports stay English; the conclusion, the explanations around
//! evidence and the frame of the HTML report follow the reader.

/// A language that the reports can speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Language {
    /// English.
    #[default]
    #[value(name = "en")]
    English,
    /// Chinese, in simplified characters.
    #[value(name = "zh")]
    Chinese,
}

impl Language {
    /// The language of a locale such as `zh_CN.UTF-8`; English for every locale that is not Chinese.
    pub fn of_locale(locale: &str) -> Self {
        let language = locale.split(['_', '-', '.', '@']).next().unwrap_or_default();
        if language.eq_ignore_ascii_case("zh") { Self::Chinese } else { Self::English }
    }

    /// The text in this language.
    pub(super) fn pick(self, english: &'static str, chinese: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }

    /// The tag for HTML's attribute `lang`.
    pub(super) fn tag(self) -> &'static str {
        self.pick("en", "zh-Hans")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_names_its_language() {
        for (locale, language) in [
            ("zh_CN.UTF-8", Language::Chinese),
            ("zh-Hans", Language::Chinese),
            ("zh", Language::Chinese),
            ("en_US.UTF-8", Language::English),
            ("C", Language::English),
            ("", Language::English),
            ("zhx", Language::English),
        ] {
            assert_eq!(Language::of_locale(locale), language, "{locale}");
        }
    }
}
